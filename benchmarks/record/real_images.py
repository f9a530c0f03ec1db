"""Images of two real data sets: solar cells (ELPV) by several labels, and scikit-learn's handwritten digits."""

from functools import cache

import numpy as np
from sklearn.datasets import load_digits

from benchmarks.record.image_sets import ImageSet, Pictures, divided
from resomap.data.decode import decode, resize
from resomap.data.elpv import CLASSES, LabelledCell, elpv_root, labelled_cells

SEVERITIES = {0.0: 0, 1 / 3: 1, 2 / 3: 2, 1.0: 3}  # defect probability -> class
CELL_SIDE = 100  # pixels, in place of the 300 of the files, from which several grids are scaled further
DIGIT_SIDE = 32  # pixels: the 8 x 8 originals, four times as large, so that each resolution is scaled alike


def solar_cells() -> ImageSet:
    """All 2,624 solar cells, defective or functional."""
    cells = _cells()
    labels = [CLASSES.index(cell.label) for cell in cells]
    return divided(tuple(CLASSES), _read(cells, labels), seed=1, train=600, val=400)


def monocrystalline_cells() -> ImageSet:
    """The 1,074 monocrystalline cells alone, defective or functional: a small set."""
    cells = [cell for cell in _cells() if cell.material == "mono"]
    labels = [CLASSES.index(cell.label) for cell in cells]
    return divided(tuple(CLASSES), _read(cells, labels), seed=2, train=300, val=250)


def materials() -> ImageSet:
    """All solar cells by another label: monocrystalline or polycrystalline."""
    cells = _cells()
    labels = [int(cell.material == "poly") for cell in cells]
    return divided(("mono", "poly"), _read(cells, labels), seed=3, train=160, val=400)


def severities() -> ImageSet:
    """All solar cells in four classes by the probability of a defect; 106 of them have two thirds."""
    cells = _cells()
    labels = [min(SEVERITIES.items(), key=lambda pair: abs(pair[0] - cell.probability))[1] for cell in cells]
    return divided(("0", "1/3", "2/3", "1"), _read(cells, labels), seed=4, train=600, val=400)


def digits() -> ImageSet:
    """The 1,797 handwritten digits, in ten classes."""
    pixels, labels = _digits()
    return divided(tuple("0123456789"), Pictures(pixels, labels), seed=5, train=300, val=400)


def eights() -> ImageSet:
    """The handwritten digits as a search for a rare class: an eight (one in ten) or another digit."""
    pixels, labels = _digits()
    return divided(("other", "eight"), Pictures(pixels, (labels == 8).astype(np.int64)), seed=6, train=250, val=400)


def _cells() -> list[LabelledCell]:
    return labelled_cells(elpv_root())


def _read(cells: list[LabelledCell], labels: list[int]) -> Pictures:
    return Pictures(np.stack([_picture(cell.name) for cell in cells]), np.array(labels, dtype=np.int64))


@cache
def _picture(name: str) -> np.ndarray:
    return resize(decode(elpv_root() / name), CELL_SIDE, "squash")


def _digits() -> tuple[np.ndarray, np.ndarray]:
    bunch = load_digits()
    originals = (bunch.images * (255 / 16)).astype(np.uint8)
    times = DIGIT_SIDE // originals.shape[1]
    pixels = originals.repeat(times, axis=1).repeat(times, axis=2)[..., None]
    return pixels, bunch.target.astype(np.int64)
