"""Bands: what `data.channels` says of all images, and the scaling of stored numbers of any depth to 8 bits.

A study that names its channels has TIFF and `.npy` read as arrays of numbers, each channel as the file holds it; no
channel is transparency, and none is left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from resomap.config.schema import Data
from resomap.data.damage import DamagedImage

MOST_VALUES = 179_000_000  # of one image, all channels together: as many pixels as Pillow decodes of other formats
MOST_CHANNELS = 16
OTHER_CHANNELS = "another number of channels"
AXES = (2, 3)  # dimensions of an array that is an image


@dataclass(frozen=True)
class Bands:
    """Number of channels of every image of a study, and the stored values that become 0 and 255."""

    channels: int
    value_range: tuple[float, float] | None = None  # None: the range of 8 or 16 bits, and 0 to 1 of floats

    @classmethod
    def of(cls, data: Data) -> "Bands | None":
        """Return what the configuration says; None where it names no number of channels."""
        return None if data.channels is None else cls(data.channels, data.value_range)

    @classmethod
    def from_json(cls, content: dict[str, Any] | None) -> "Bands | None":
        """Return what `as_json` gave. Raises KeyError and TypeError for anything else."""
        if content is None:
            return None
        ends = content["value_range"]
        return cls(int(content["channels"]), None if ends is None else (float(ends[0]), float(ends[1])))

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as manifest, store and weights keep them."""
        return {"channels": self.channels, "value_range": None if self.value_range is None else list(self.value_range)}

    def axis(self, shape: tuple[int, ...]) -> int | None:
        """Return the axis of the channels in an array of an image; None for one of two dimensions, of one channel.

        The last axis where it is as long as `channels`, else the first. Raises DamagedImage where neither is.
        """
        if len(shape) == 2:
            self.require(1)
            return None
        for axis in (2, 0):
            if shape[axis] == self.channels:
                return axis
        self.require(min(shape[0], shape[2]))
        raise AssertionError("neither axis is of that length, so the shorter one is not")

    def require(self, channels: int) -> None:
        """Raise DamagedImage unless an image has as many channels as the study."""
        if channels != self.channels:
            raise DamagedImage(OTHER_CHANNELS, f"{channels}, and data.channels is {self.channels}")

    def to_uint8(self, values: np.ndarray, bits: int | None = None) -> np.ndarray:
        """Scale stored numbers [H, W, C] linearly to uint8 [H, W, C]; `bits` are those of whole numbers, if fewer.

        Raises DamagedImage: NaN or infinity, floats outside 0 to 1 and other numbers without a scale where the study
        names no `value_range`.
        """
        kind, found = values.dtype.kind, np.empty(values.shape, dtype=np.uint8)
        is_float, has_scale = kind == "f", kind == "f" or (kind == "u" and values.itemsize <= 2)
        if self.value_range is None and not has_scale:
            raise DamagedImage("unsupported pixels", f"{_words(values.dtype)} have no scale; set data.value_range")
        for channel in range(values.shape[2]):  # one after the other, so that doubles take little memory
            one = values[:, :, channel]
            if is_float and not np.isfinite(one).all():
                what = "NaN" if np.isnan(one).any() else "infinity"
                raise DamagedImage("unsupported pixels", f"{what} in channel {channel + 1}; fill it with a number")
            found[:, :, channel] = self._scaled(one, bits)
        return found

    def _scaled(self, values: np.ndarray, bits: int | None) -> np.ndarray:
        if self.value_range is not None:
            low, high = self.value_range
            shares = (values.astype(np.float64) - low) / (high - low)
            return (shares.clip(0, 1) * 255).round().astype(np.uint8)
        if values.dtype.kind == "f":
            if values.min() < 0 or values.max() > 1:
                ends = f"{float(values.min()):g} to {float(values.max()):g}"
                raise DamagedImage("unsupported pixels", f"floats from {ends}, not 0 to 1; set data.value_range")
            return (values.astype(np.float64) * 255).round().astype(np.uint8)
        white = (1 << (bits or values.dtype.itemsize * 8)) - 1
        if white == 255:
            return values.astype(np.uint8)
        return ((values.clip(0, white).astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def require_bounded(shape: tuple[int, ...]) -> None:
    """Raise DamagedImage for the shape of an image that has no values, or too many; nothing of it was decoded yet."""
    count = 1
    for side in shape:
        count *= side
    if min(shape, default=0) < 1:
        raise DamagedImage("truncated or damaged", f"an array of the shape {shape} holds no image")
    if count > MOST_VALUES:
        raise DamagedImage("too many pixels", "more than 179 million values; scale the image down")


def mode_of(values: np.ndarray) -> str:
    """Return the mode of an image by the numbers that its file holds: `5 x uint16`."""
    return f"{values.shape[2]} x {values.dtype.newbyteorder('=').name}"


def _words(kind: np.dtype[Any]) -> str:
    signed = "signed " if kind.kind == "i" else ""
    return f"{signed}whole numbers of {kind.itemsize * 8} bits"


def shown_channels(pixels: np.ndarray) -> np.ndarray:
    """Return the channels of pixels [H, W, C] that a picture shows: of more than three the first three, of two one."""
    return pixels[:, :, : 1 if pixels.shape[2] < 3 else 3]
