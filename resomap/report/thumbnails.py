"""Thumbnails of the study's images, as data that stands in the page itself."""

import base64
import io
from functools import cache

import numpy as np
from PIL import Image

from resomap.core.errors import ResomapError
from resomap.data.bands import Bands, shown_channels
from resomap.data.decode import decode_bytes, resize
from resomap.data.location import loads
from resomap.data.manifest import Manifest

LARGEST = 144  # pixels a side
JPEG_QUALITY = 82
LOSSLESS_UP_TO = 64  # pixels a side: there JPEG's blocks would be seen, and a PNG is small


class Thumbnails:
    """Small copies of the study's images, by name. `reason` says why there are none, or is empty."""

    def __init__(self, manifest: Manifest | None) -> None:
        self._manifest = manifest
        self.reason = "" if manifest else "The list of the images (results/data/manifest.json) is not here."
        self.of = cache(self._of)
        if manifest is not None:
            try:
                self._locations = manifest.locations(manifest.entries)
            except ResomapError as error:
                self._manifest, self.reason = None, f"The images cannot be shown: {error}."

    def _of(self, name: str, resolution: int = LARGEST) -> str | None:
        """Return `data:image/...` of an image as a network of that resolution sees it; None where it cannot be read."""
        if self._manifest is None:
            return None
        try:
            content = next(loads([self._locations[name]]))()
            bands = Bands.from_json(self._manifest.bands)
            pixels = shown_channels(decode_bytes(content, self._manifest.white_level, bands).pixels)
            pixels = resize(pixels, resolution, self._manifest.fit)
        except Exception:  # a picture that cannot be shown costs its place on the page, never the report
            return None
        image = Image.fromarray(np.asarray(pixels).squeeze())
        image.thumbnail((LARGEST, LARGEST), Image.Resampling.BICUBIC)
        stream = io.BytesIO()
        if image.width <= LOSSLESS_UP_TO:
            image.save(stream, "PNG", optimize=True)
            kind = "png"
        else:
            image.save(stream, "JPEG", quality=JPEG_QUALITY)
            kind = "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
