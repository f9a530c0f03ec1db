"""Test images of the measurements: the ELPV images as they are, grey PNG, and the same as colour JPEG of any size."""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from resomap.cells.study import CURRENT, Study
from resomap.data import DATA_DIRECTORY
from resomap.data.elpv import LabelledCell, elpv_root, labelled_cells
from resomap.data.manifest import make_manifest
from resomap.data.prepare import prepare_images
from resomap.data.store import Store

COUNT = 600  # images: enough for dozens of batches, few enough to be prepared in seconds
QUALITY = 90  # of JPEG
WORKERS = 2  # processes that prepare images, unless `data.workers` says so


@dataclass(frozen=True)
class Material:
    """One kind of test images, written as class folders."""

    name: str
    folder: Path

    @property
    def files(self) -> list[Path]:
        """Sorted paths of the images."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


def write_grey(folder: Path, count: int = COUNT) -> Material:
    """Link the package's PNG files into class folders. Raises ResomapError where the package is missing."""
    root = elpv_root()
    for cell in _spread(count):
        place = folder / cell.label
        place.mkdir(parents=True, exist_ok=True)
        (place / Path(cell.name).name).symlink_to(root / cell.name)
    return Material("grey PNG", folder)


def write_colour(folder: Path, count: int = COUNT, side: int | None = None) -> Material:
    """Write JPEG files whose three channels are three different cells: real textures, real decoding.

    With `side` they are scaled to that many pixels, as many as a camera's pictures have.
    """
    root, cells = elpv_root(), _spread(count)
    for index, cell in enumerate(cells):
        place = folder / cell.label
        place.mkdir(parents=True, exist_ok=True)
        three = [Image.open(root / cells[(index + step) % len(cells)].name).convert("L") for step in range(3)]
        size = (side, side) if side else (min(one.width for one in three), min(one.height for one in three))
        colour = Image.merge("RGB", [one.resize(size) for one in three])
        colour.save(place / f"{Path(cell.name).stem}.jpg", quality=QUALITY)
    return Material(f"colour JPEG of {side} px" if side else "colour JPEG", folder)


def study_of(
    material: Material,
    directory: Path,
    model: str,
    resolutions: list[int],
    checkpoints: dict[str, object] | None = None,
    **training: object,
) -> Study:
    """Return a study of one model on these images in a directory, its images prepared; the caller works there."""
    config = {
        "models": [model],
        "resolutions": resolutions,
        "data": {"source": str(material.folder), "problems": "skip"},
        "training": {"early_stopping": {"enabled": False}, **training},
        "checkpoints": checkpoints or {},
        "tracking": {"drain_seconds": 0},
    }
    return prepare_study(directory, config)


def prepare_study(directory: Path, config: dict[str, Any]) -> Study:
    """Return the study of a configuration in a directory, its images prepared."""
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(directory), contextlib.redirect_stdout(sys.stderr):
        study = Study.open(config)
        study.save(CURRENT)
        workers = study.config.data.workers or WORKERS
        make_manifest(study.config.data, DATA_DIRECTORY, workers)
        for size in study.stored_sizes(*study.cells()):
            prepare_images(DATA_DIRECTORY, size, workers)
    return study


def open_store(directory: Path, resolution: int) -> Store:
    """Open the prepared images in a study's directory."""
    return Store.open(directory / DATA_DIRECTORY, resolution)


def _spread(count: int) -> list[LabelledCell]:
    """Return so many cells of the package, of both classes."""
    cells = labelled_cells(elpv_root())
    step = max(1, len(cells) // count)
    return cells[::step][:count]
