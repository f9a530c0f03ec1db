"""One image on its way to pixels: the file as it was checked, decoded and scaled to one size."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resomap.core.errors import PermanentFailure
from resomap.data.bands import Bands
from resomap.data.damage import DamagedImage
from resomap.data.decode import decode_bytes, resize
from resomap.data.location import InFile, InParquet, InTar, Load, Location
from resomap.data.pixels import WhiteLevel


@dataclass(frozen=True)
class Picture:
    """An image, its digest when the images were checked, and the form that its pixels are to have."""

    location: Location
    image: str  # its name in the manifest
    sha256: str
    size: int  # pixels
    channels: int
    fit: str
    white_level: WhiteLevel
    bands: Bands | None = None  # where the study names its channels

    @property
    def name(self) -> str:
        """Its file, or its name and shard, for people."""
        if isinstance(self.location, InFile):
            return str(self.location.path)
        shard = self.location.archive if isinstance(self.location, InTar) else self.location.file
        return f"{self.image} in {shard}"

    def pixels(self) -> np.ndarray:
        """Read, decode and scale: uint8 [size, size, channels].

        Raises PermanentFailure where the file is another by now. Rows of Parquet are not read one by one.
        """
        assert not isinstance(self.location, InParquet)
        return self.pixels_of(self.location.read)

    def pixels_of(self, load: Load) -> np.ndarray:
        """Decode and scale what `load` reads of this image: as `pixels`, wherever the image lies."""
        return self.pixels_at((self.size,), load)[0]

    def pixels_at(self, sizes: Sequence[int], load: Load) -> list[np.ndarray]:
        """Decode once what `load` reads of this image, and scale it to each size in pixels; raises as `pixels`."""
        try:
            content = load()
            if hashlib.sha256(content).hexdigest() != self.sha256:
                raise DamagedImage("changed", "its content is another one")
            decoded = decode_bytes(content, self.white_level, self.bands).pixels
            scaled = [resize(decoded, size, self.fit) for size in sizes]
        except DamagedImage as damage:
            raise PermanentFailure(
                f"{self.name} was fine when the images were checked and now is {damage}; remove manifest.json "
                "beside the prepared images and run the same snakemake command again, which checks them anew"
            ) from None
        shapes = [(size, size, self.channels) for size in sizes]
        return [
            np.ascontiguousarray(np.broadcast_to(pixels, shape)) for pixels, shape in zip(scaled, shapes, strict=True)
        ]
