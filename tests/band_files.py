"""Images of any number of channels as files: `.npy` and TIFF, and class folders of them."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile


def npy(values: Any, **options: Any) -> bytes:
    stream = BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


def multiband(values: np.ndarray, **options: Any) -> bytes:
    stream = BytesIO()
    options = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None, **options}
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def draw_bands(folder: Path, count: int, channels: int = 5, size: int = 24, suffix: str = ".npy") -> None:
    """Two classes that only the last channel tells apart."""
    random = np.random.default_rng(channels)
    for label, level in (("dry", 60), ("wet", 180)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            values = random.integers(0, 256, (size, size + 3, channels), dtype=np.uint8)
            values[:, :, -1] = np.clip(level + random.normal(0, 20, (size, size + 3)), 0, 255)
            content = npy(values) if suffix == ".npy" else multiband(values)
            (folder / label / f"{number:03}{suffix}").write_bytes(content)
