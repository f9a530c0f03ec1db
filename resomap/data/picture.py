"""One image on its way to pixels: the file as it was checked, decoded and scaled to one size."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resomap.core.errors import PermanentFailure
from resomap.data.damage import DamagedImage
from resomap.data.decode import decode_bytes, read_bytes, resize
from resomap.data.pixels import WhiteLevel


@dataclass(frozen=True)
class Picture:
    """An image file, its digest when the images were checked, and the form that its pixels are to have."""

    file: Path
    sha256: str
    size: int  # pixels
    channels: int
    fit: str
    white_level: WhiteLevel

    def pixels(self) -> np.ndarray:
        """Decode and scale: uint8 [size, size, channels]. Raises PermanentFailure where the file is another by now."""
        try:
            content = read_bytes(self.file)
            if hashlib.sha256(content).hexdigest() != self.sha256:
                raise DamagedImage("changed", "its content is another one")
            pixels = resize(decode_bytes(content, self.white_level).pixels, self.size, self.fit)
        except DamagedImage as damage:
            raise PermanentFailure(
                f"{self.file} was fine when the images were checked and now is {damage}; remove manifest.json "
                "beside the prepared images and run the same snakemake command again, which checks them anew"
            ) from None
        return np.ascontiguousarray(np.broadcast_to(pixels, (self.size, self.size, self.channels)))
