"""Seal of a checkpoint file: its last bytes, a SHA-256 over all bytes before them. Light: no torch."""

import os
from pathlib import Path

SEAL = b"resomap-sha256:"
SEAL_LENGTH = len(SEAL) + 64 + 1


def read_seal(path: Path) -> str | None:
    """Return the digest that a sealed file says it has, without reading the rest; None where there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - SEAL_LENGTH))
            seal = stream.read()
    except OSError:
        return None
    is_whole = len(seal) == SEAL_LENGTH and seal.startswith(SEAL)
    return seal[len(SEAL) : -1].decode("ascii", "replace") if is_whole else None
