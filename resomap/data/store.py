"""Store of the prepared images of one resolution, as a training reads them: a mapped array a split and store.json.

Where store.json says that nothing is stored, the same pixels come from the image files at each access.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.core.sealed_json import break_seal
from resomap.data import SPLITS
from resomap.data.bands import Bands
from resomap.data.changes import MANIFEST
from resomap.data.chosen_rows import ChosenRows
from resomap.data.image_blocks import block_indices
from resomap.data.joined_pixels import JoinedPixels
from resomap.data.manifest import Manifest
from resomap.data.ondemand import OnDemand
from resomap.data.picture import Picture
from resomap.data.pixels import WhiteLevel
from resomap.data.verified_pixels import Summary, VerifiedPixels, joint_digest, mean_and_std, row_digest, verified

FILE = "store.json"
SCHEMA = 1
# OnDemand: decoded at each access.
Pixels: TypeAlias = np.ndarray | VerifiedPixels | OnDemand | ChosenRows | JoinedPixels


def store_directory(directory: Path, resolution: int) -> Path:
    """Return the folder of the images of a resolution under the data directory."""
    return directory / str(resolution)


def array_file(place: Path, split: str) -> Path:
    """Return the path of the array of one split."""
    return place / f"{split}.npy"


@dataclass(frozen=True)
class Images:
    """One split. Image i has pixels[i], labels[i] and names[i]."""

    pixels: Pixels  # uint8 [N, H, W, C], read-only
    labels: np.ndarray  # int64 [N]
    names: list[str]
    weights: np.ndarray | None = None  # float64 [N], of each image in the loss, as given; None: all weigh the same

    @classmethod
    def joined(cls, parts: "Sequence[Images]") -> "Images":
        """Return the images of several splits as one, in their order."""
        labels = np.concatenate([part.labels for part in parts])
        names = [name for part in parts for name in part.names]
        weights = [part.weights for part in parts if part.weights is not None]
        joined = np.concatenate(weights) if len(weights) == len(parts) else None
        return cls(JoinedPixels([part.pixels for part in parts]), labels, names, joined)


@dataclass(frozen=True, kw_only=True)
class Store:
    """The prepared images of one resolution. `mean` and `std` are those of train, per channel, in 0..1.

    In a study with folds there is one array of all images outside the test split. A store that is opened for a `fold`
    shows that fold's images as val and those of the others as train; one that is opened for none shows all as train.
    """

    place: Path
    resolution: int  # pixels
    classes: list[str]
    channels: int  # 1 or 3, or what `data.channels` says
    mean: list[float]
    std: list[float]
    content_digest: str
    native_size: int  # pixels: median short side of the image files
    fit: str
    white_level: WhiteLevel  # of grey images whose files do not tell it
    is_stored: bool  # false: no arrays, images are decoded at each access
    folds: list[int] | None = field(default=None, repr=False)  # of each image outside the test split
    fold: int | None = None  # that it was opened for
    _splits: dict[str, Any] = field(repr=False)

    @cached_property
    def _manifest(self) -> Manifest:
        return Manifest.load(self.place.parent)

    @classmethod
    def open(
        cls, directory: Path, resolution: int, splits: tuple[str, ...] = SPLITS, fold: int | None = None
    ) -> "Store":
        """Open a store; verify its seal and each byte of its arrays (large ones when read: see verified_pixels.py).

        `splits` are those that must be there; `fold` is the one that judges, in a study with folds. Raises
        ResomapError: not prepared, half written, damaged, or without that fold.
        """
        place = store_directory(directory, resolution)
        values: Any = read_json(place / FILE)
        if values is None:
            unfinished = any(array_file(place, split).exists() for split in SPLITS)
            raise _unusable(place, "is unfinished" if unfinished else "holds no prepared images")
        try:
            is_sealed = break_seal(values)
            if values.pop("schema") != SCHEMA or values["resolution"] != resolution:
                raise ValueError
            values = {"is_stored": True, "white_level": "each"} | values  # written before there was a choice
            of_folds = values.pop("statistics_of_folds", {})
            if fold is not None:
                if str(fold) not in of_folds:
                    raise _unusable(place, f"was prepared without fold {fold}")
                values |= of_folds[str(fold)]
            store = cls(place=place, fold=fold, _splits=values.pop("splits"), **values)
            for split in splits:
                store._map(store._array(split))
            if not is_sealed:
                store._require_as_made(splits)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _unusable(place, f"has a damaged {FILE}") from None
        return store

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have an array of their own."""
        return tuple(split for split in SPLITS if split in self._splits)

    def split(self, name: str) -> Images:
        """Return the images of `train`, `val` or `test`, in the order of their names."""
        array = self._array(name)
        rows = self._rows(name)
        labels, names, weights = self._listed(array)
        if rows is None:
            return Images(self._map(array), labels, names, weights)
        chosen = None if weights is None else weights[rows]
        return Images(ChosenRows(self._map(array), rows), labels[rows], [names[row] for row in rows], chosen)

    def outside_test(self) -> Images:
        """Return all images outside the test split: train, then val; with folds all of them in the order of names."""
        if self.folds is not None:
            return Images(self._map("train"), *self._listed("train"))
        return Images.joined([self.split("train"), self.split("val")])

    def _listed(self, array: str) -> tuple[np.ndarray, list[str], np.ndarray | None]:
        """Return the labels int64 [N], names, and weights float64 [N] if there are any, of an array's images."""
        listed = self._splits[array]
        weights = listed.get("weights")
        labels = np.array(listed["labels"], dtype=np.int64)
        return labels, list(listed["names"]), None if weights is None else np.array(weights, dtype=np.float64)

    def _array(self, split: str) -> str:
        """Return the split whose array holds the images of a split: with folds val is a part of train."""
        return "train" if split == "val" and self.folds is not None else split

    def _rows(self, split: str) -> np.ndarray | None:
        """Return the rows int [N] of a split in its array; None: all of them."""
        if self.fold is None or split == "test":
            return None
        judged = np.array(self.folds) == self.fold
        return np.flatnonzero(judged if split == "val" else ~judged)

    def verify(self, splits: tuple[str, ...] = SPLITS) -> None:
        """Read every byte that was not read yet and compare digests. Raises ResomapError where one differs."""
        for split in dict.fromkeys(map(self._array, splits)):
            pixels = self._map(split)
            if isinstance(pixels, VerifiedPixels):
                pixels.verify()
            elif not self.is_stored and joint_digest(map(row_digest, pixels)) != self._splits[split]["digest"]:
                raise self._damaged(split)

    def _require_as_made(self, splits: tuple[str, ...]) -> None:
        """Compare a store.json of an earlier version, which has no seal, with what it was made of.

        Raises ValueError where they differ. Mean and deviation are of train, and only a training uses them.
        """
        manifest = self._manifest
        if (self.classes, self.channels, self.content_digest) != (
            manifest.classes,
            manifest.channels,
            manifest.content_digest,
        ):
            raise ValueError
        for split in splits:
            listed, entries = self._splits[split], manifest.of(split)
            if (listed["names"], listed["labels"]) != ([one.name for one in entries], [one.label for one in entries]):
                raise ValueError
        if "train" in splits:
            made = mean_and_std([Summary.of(pixels) for pixels in self._map("train")], self.resolution)
            if made != {"mean": self.mean, "std": self.std}:
                raise ValueError

    def _damaged(self, split: str) -> ResomapError:
        return _unusable(self.place, f"has a damaged {split}.npy (its content is not what was written)")

    def blocks(self, split: str) -> np.ndarray | None:
        """Return the block int64 [N] of each image of a split; None where each is a block of its own, or none is known.

        Statistics count images of one block (a patient's, copies of one picture) as belonging together. Raises
        ResomapError where the list of images is damaged.
        """
        if not (self.place.parent / MANIFEST).exists():
            return None
        array, rows = self._array(split), self._rows(split)
        entries = self._manifest.of(array)
        if [entry.name for entry in entries] != self._splits[array]["names"]:
            return None
        if rows is not None:
            entries = [entries[row] for row in rows]
        found = block_indices(entries)
        return found if len(np.unique(found)) < len(found) else None

    def _map(self, split: str) -> np.ndarray | VerifiedPixels | OnDemand:
        path, listed = array_file(self.place, split), self._splits[split]
        shape = tuple(listed["shape"])
        if not self.is_stored:
            if [entry.name for entry in self._manifest.of(split)] != listed["names"]:
                raise _unusable(self.place, "was prepared from another list of images")
            digests = listed["blocks"]["digests"] if "blocks" in listed else None
            return OnDemand(pictures_of(self._manifest, split, self.resolution), shape, digests)
        try:
            pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise _unusable(self.place, f"lacks {path.name}") from None
        except (ValueError, OSError, EOFError):
            raise _unusable(self.place, f"has a damaged {path.name}") from None
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise _unusable(self.place, f"has a {path.name} of another shape than its {FILE} says")
        return verified(path, pixels, listed, lambda: self._damaged(split))


def pictures_of(manifest: Manifest, split: str, resolution: int) -> list[Picture]:
    """Return the images of a split, to be scaled to a resolution in pixels, in the order of their names."""
    entries = manifest.of(split)
    locations = manifest.locations(entries)
    size, channels, bands = resolution, manifest.channels, Bands.from_json(manifest.bands)
    return [
        Picture(locations[one.name], one.name, one.sha256, size, channels, manifest.fit, manifest.white_level, bands)
        for one in entries
    ]


def _unusable(place: Path, what: str) -> ResomapError:
    return ResomapError(
        f"{place} {what}; remove that folder and run the same snakemake command again, which prepares it anew"
    )
