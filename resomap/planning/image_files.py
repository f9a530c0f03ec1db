"""Files of the prepared images: where they lie, and whether they are whole; sizes are compared, no array is read."""

import math
import struct
from pathlib import Path

from resomap.core.files import read_json
from resomap.data import DATA_DIRECTORY

PREAMBLE = 10  # bytes of a .npy file before its header: magic, version, the header's length


def store_file(resolution: int) -> Path:
    """The file that says that the images of a resolution are there: they lie beside it."""
    return DATA_DIRECTORY / str(resolution) / "store.json"


def ready_file(resolutions: str) -> Path:
    """Path of the ready file for several resolutions, `224-320` in one file's name."""
    return DATA_DIRECTORY / f"{resolutions}.ready"


def broken_file(place: Path, splits: tuple[str, ...]) -> Path | None:
    """An array that is missing, or has another size than store.json says; None where all is well or nothing there."""
    content = read_json(place / "store.json")
    if not isinstance(content, dict) or not content.get("is_stored", True):
        return None
    for split in splits:
        path = place / f"{split}.npy"
        try:
            expected = math.prod(content["splits"][split]["shape"])
            with path.open("rb") as stream:
                preamble = stream.read(PREAMBLE)
            header = struct.unpack("<8xH", preamble)[0]
            if path.stat().st_size != PREAMBLE + header + expected:
                return path
        except (OSError, KeyError, TypeError, struct.error):
            return path
    return None
