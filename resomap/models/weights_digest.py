"""Identity of a cell's starting weights, as one short text for its fingerprint."""

from pathlib import Path

from resomap.core.errors import ResomapError
from resomap.core.files import file_digest


def weights_identity(weights: str | None) -> str | None:
    """Return None (random), "default" (the library's own), or "sha256:<hex>" of the file's bytes, wherever it lies.

    Raises ResomapError: the file does not exist or cannot be read.
    """
    if weights is None or weights == "default":
        return weights
    try:
        return f"sha256:{file_digest(Path(weights).expanduser())}"
    except OSError as error:
        raise unreadable(weights, error) from None


def unreadable(weights: str, error: OSError) -> ResomapError:
    """Return the error for a weights file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return ResomapError(
            f"training.weights names '{weights}', and there is no such file; give `default`, null or a path "
            "(a relative one starts at the working directory)"
        )
    return ResomapError(f"training.weights names '{weights}', which cannot be read: {error.strerror}")
