"""Layout of a source folder by the names in it: split folders, class folders, or something that is neither.

Split folders go by many names (`Training/`, `test_set/`, `seg_train/`, `dev/`). A folder of such a name that holds its
images directly, without class folders, is a class.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resomap.core.errors import ResomapError

Layout = Literal["auto", "classes"]
AS_CLASSES = "--config 'data={layout: classes}'"  # the way out where the folders are classes after all

OWN_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_WORDS = OWN_NAMES | {
    **dict.fromkeys(("training", "trn", "trainval", "trainvalid"), "train"),
    **dict.fromkeys(("validate", "validating", "dev", "development"), "val"),
    **dict.fromkeys(("testing", "tst", "eval", "evaluation", "holdout"), "test"),
}
# Words that stand beside the split's in a folder's name, and mean nothing there.
_FILLERS = ("dataset", "images", "image", "photos", "imgs", "data", "img", "set", "seg", "split", "folder", "samples")
_FOLD = re.compile(r"(?:cv|k)?[\s_-]*(?:fold|split|cv)[\s_-]*\d+", re.IGNORECASE)
_NAMED = 4  # folders in a sentence


@dataclass(frozen=True)
class Candidate:
    """A folder below the source's root whose name stands for a split."""

    name: str
    split: str
    has_folders: bool  # sub-folders
    has_images: bool  # directly in it

    @property
    def has_own_name(self) -> bool:
        """True for `train`, `val`, `valid`, `validation` and `test`; False for likenesses."""
        return self.name.lower() in OWN_NAMES


def split_of_name(name: str) -> str | None:
    """Return the split that a folder's name stands for: `seg_train` and `TrainingSet` for train; None for none.

    Numbers count for nothing (`train2017`); any other word (`train_station`) makes it another name.
    """
    found = _words(name)
    return _WORDS.get(found[0]) if len(found) == 1 else None


def split_within(path: str) -> str | None:
    """Return the split that the name of a shard holds among other words (`set-train-0.tar`); None for none or two."""
    found = {_WORDS[word] for word in _words(path) if word in _WORDS}
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, without numbers and fillers."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+", name)
    return [word for word in map(_without_filler, words) if word]


def _without_filler(word: str) -> str:
    lower = word.lower()
    if lower in _WORDS:
        return lower
    for filler in _FILLERS:
        if lower.endswith(filler) and (lower == filler or lower.removesuffix(filler) in _WORDS):
            return lower.removesuffix(filler)
    return lower


def split_folders(root: Path, candidates: Sequence[Candidate], has_other_images: Callable[[], bool]) -> dict[str, str]:
    """Return {split: folder} where the source comes with its own split; empty where its folders are classes.

    `has_other_images` tells if a folder that is no candidate holds an image. Raises ResomapError: two folders for one
    split, train without test, a split's folder without class folders.
    """
    holding = [one for one in candidates if one.has_folders or not one.has_images]
    flat = [one for one in candidates if one not in holding]
    if not holding:
        are_several = len({one.split for one in flat}) != 1 or len(flat) == 1  # `Test 1/ Test 2/` are no splits
        if flat and are_several and not has_other_images():
            raise ResomapError(
                f"{root} holds images directly in {_list(one.name for one in flat)}, and no class folders; sort them "
                f"into a folder for each class, or, where these are the classes themselves, use {AS_CLASSES}"
            )
        return {}
    chosen: dict[str, Candidate] = {}
    # A split's own name goes before a likeness: `test/` before `test_images/`, which is left beside.
    for one in sorted(holding, key=lambda one: (not one.has_own_name, one.name)):
        held = chosen.setdefault(one.split, one)
        if held != one and held.has_own_name == one.has_own_name:
            raise ResomapError(f"{root} holds both {held.name}/ and {one.name}/; keep one of them")
    splits = {split: one.name for split, one in chosen.items()}
    missing = {"train", "test"} - splits.keys()
    unlabelled = [one.name for one in flat if one.split not in splits and (one.has_own_name or one.split in missing)]
    if unlabelled:
        raise ResomapError(
            f"{root} holds class folders in {_list(splits.values())}, and images without class folders in "
            f"{_list(unlabelled)}; sort those into class folders, move them elsewhere, or, where the folders of "
            f"{root} are the classes, use {AS_CLASSES}"
        )
    if missing:
        raise ResomapError(
            f"{root} holds {' and '.join(f'{name}/' for name in splits.values())} but no "
            f"{' and no '.join(f'{name}/' for name in sorted(missing))}; add what is missing, set "
            "`data.source` to a folder of class folders, which is split here, or, where these folders are the classes, "
            f"use {AS_CLASSES}"
        )
    return splits


def refuse_parts(root: Path, prefix: str, labels: Sequence[str], names: Iterable[str]) -> None:
    """Raise ResomapError where "classes" are parts of one set: folds, or folders that all hold the same sub-folders.

    So is a single folder of folders, as archives unpack. `names` are the images' names below `root`, which begin with
    `prefix` and a label.
    """
    if len(labels) > 1 and (all(map(_FOLD.fullmatch, labels)) or _name_several_splits(labels)):
        raise _parts(root / prefix, labels, "by their names")
    inner: dict[str, set[str]] = {}
    classes = set()  # a folder with images directly in it is a class
    for name in names:
        label, *below = name.removeprefix(prefix).split("/", 2)
        if len(below) == 1:
            classes.add(label)
        else:
            inner.setdefault(label, set()).add(below[0])
    nested = {label: folders for label, folders in inner.items() if label in labels and label not in classes}
    if len(nested) == 1 and not classes and not prefix:
        ((label, folders),) = nested.items()
        if len(folders) > 1:
            raise ResomapError(
                f"{root} has one folder with images, {label}/, whose sub-folders look like classes or splits "
                f"({_list(sorted(folders))}); set `data.source` to {root / label}"
            )
    if len(nested) > len(classes) and (shared := _shared(nested)):
        raise _parts(root / prefix, labels, f"as they hold the same sub-folders ({_list(shared)})")


def _name_several_splits(labels: Iterable[str]) -> bool:
    """Return True if every label names a split among other words, and not all the same: `x_train` and `x_test`."""
    named = [{_WORDS[word] for word in _words(label) if word in _WORDS} for label in labels]
    return all(named) and len(frozenset().union(*named)) > 1


def _shared(inner: Mapping[str, Set[str]]) -> list[str]:
    """Return the sub-folders that all folders hold, where those are two or more and at least half of all."""
    if len(inner) < 2:
        return []
    common, every = frozenset.intersection(*map(frozenset, inner.values())), frozenset().union(*inner.values())
    return sorted(common) if len(common) >= 2 and 2 * len(common) >= len(every) else []


def _parts(place: Path, labels: Sequence[str], why: str) -> ResomapError:
    return ResomapError(
        f"the folders {_list(labels)} of {place} look like parts of one set and not like classes, {why}; sort the "
        "images into class folders, or into train/ val/ test/ of class folders; where these folders are the classes, "
        f"use {AS_CLASSES}"
    )


def _list(names: Iterable[str]) -> str:
    folders = [f"{name}/" for name in names]
    return ", ".join(folders[:_NAMED]) + (", ..." if len(folders) > _NAMED else "")
