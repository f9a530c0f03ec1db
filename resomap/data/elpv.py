"""Bundled data source: 2,624 electroluminescence images of solar cells (ELPV), 300 x 300 pixels, grey.

Deitsch et al., "Automatic classification of defective photovoltaic module cells in electroluminescence
images", Solar Energy 185 (2019). The package that carries them is found, not imported: importing it loads
numpy and Pillow, which the process that plans the grid does without.
"""

import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from resomap.core.errors import ResomapError

LICENCE = "CC BY-NC-SA 4.0 (Deitsch et al. 2019)"
CLASSES = ["defective", "functional"]
THRESHOLD = 0.5  # of the defect probability, which is 0, 1/3, 2/3 or 1


@dataclass(frozen=True)
class LabelledCell:
    """A labelled solar cell: one line of the package's labels.csv."""

    name: str  # `images/cell0001.png`, relative to the package's data folder
    probability: float
    material: str  # `mono` or `poly`

    @property
    def label(self) -> str:
        """Class of the cell: `defective` from a probability of 0.5 on, which makes 821 of 2,624."""
        return "defective" if self.probability >= THRESHOLD else "functional"


def elpv_root() -> Path:
    """Return the folder of labels.csv. Raises ResomapError where the package, or its data, is not there."""
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise ResomapError(
            "`data.source: elpv` needs the package elpv-dataset; run `pip install elpv-dataset`, "
            "or set `data.source` to a folder of your own"
        )
    root = Path(spec.submodule_search_locations[0], "data")
    if not (root / "labels.csv").is_file():
        raise ResomapError(
            f"the package elpv-dataset has no {root / 'labels.csv'}; run `pip install --force-reinstall elpv-dataset`"
        )
    return root


def elpv_identity() -> dict[str, str | float]:
    """Return the facts that decide the source's content: package version, digest of labels, threshold of classes."""
    labels = (elpv_root() / "labels.csv").read_bytes()
    try:
        version = importlib.metadata.version("elpv-dataset")
    except importlib.metadata.PackageNotFoundError:  # copied onto the path, not installed: the labels still tell
        version = "not installed by pip"
    return {"version": version, "labels": hashlib.sha256(labels).hexdigest(), "threshold": THRESHOLD}


def labelled_cells(root: Path) -> list[LabelledCell]:
    """Return all lines of labels.csv, sorted by name. Raises ResomapError where one has another form."""
    cells = []
    for number, line in enumerate((root / "labels.csv").read_text().splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        try:
            name, probability, material = parts
            cells.append(LabelledCell(name, float(probability), material))
        except ValueError:
            raise ResomapError(
                f"{root / 'labels.csv'}, line {number} is not `path probability mono|poly`; "
                "run `pip install --force-reinstall elpv-dataset`"
            ) from None
    return sorted(cells, key=lambda cell: cell.name)
