"""End-to-end pass: from the bytes of a JPEG to a class, decoded and resized as for the training, on one core."""

import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from resomap.core.errors import ResomapError
from resomap.cost.timing import Run
from resomap.data.decode import decode_bytes, resize
from resomap.data.manifest import Manifest
from resomap.export.runtimes import as_input

# Of a photograph as ImageNet has them, where the images are not checked yet: a measurement of costs waits for none.
USUAL = (500, 375)
QUALITY = 90  # of the JPEG
# A photograph's detail is mostly coarse: noise, enlarged so many times, with a little of its own in each pixel.
_COARSE, _FINE = 8, 6


@dataclass(frozen=True)
class EndToEnd:
    """A JPEG of the width and height (pixels) that are usual in the images, and `data.fit` by which it is resized."""

    width: int
    height: int
    fit: str

    @classmethod
    def of(cls, directory: Path, fit: str) -> "EndToEnd":
        """Return that of the images whose list lies in a directory: their median width and height."""
        try:
            entries = Manifest.load(directory).entries
        except ResomapError:
            return cls(*USUAL, fit)
        sides = [[one.width for one in entries], [one.height for one in entries]]
        width, height = (max(1, round(statistics.median(of_all))) for of_all in sides)
        return cls(width, height, fit)

    @property
    def image(self) -> str:
        """Size of the image for people: `500 x 375`."""
        return f"{self.width} x {self.height}"

    def on(self, resolution: int, classify: Callable[[np.ndarray], np.ndarray]) -> Run:
        """Return a pass from bytes to a class; `classify` gives logits [N, classes] of float32 [N, 3, R, R]."""
        content = jpeg(self.width, self.height)

        def run() -> int:
            pixels = resize(decode_bytes(content).pixels, resolution, self.fit)
            return int(classify(as_input(pixels[None], 0.5, 0.5)).argmax())

        return run


@functools.lru_cache(maxsize=1)
def jpeg(width: int, height: int) -> bytes:
    """Return the bytes of a coloured JPEG with detail as a photograph has it."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (max(1, height // _COARSE), max(1, width // _COARSE), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    pixels = np.clip(smooth + random.normal(0, _FINE, smooth.shape), 0, 255).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
