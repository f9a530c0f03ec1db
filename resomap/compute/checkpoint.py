"""Checkpoint files: written atomically with their own checksum, verified on loading, with one to fall back to.

A file is torch's zip format followed by a fixed-length seal, `resomap-sha256:<hex>` and a line feed, over all bytes
before it. torch.load ignores what follows the archive, so a sealed file is an ordinary checkpoint to every other tool.
It also reads deflated archives, so a compressed file is an ordinary one too.
"""

import errno
import hashlib
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from resomap.core.files import replace_atomically
from resomap.core.seal import SEAL, SEAL_LENGTH
from resomap.core.temporary import temporary_beside
from resomap.core.text import first_few

FORMAT = 1


class DamagedCheckpoint(Exception):
    """A checkpoint file that is torn, altered, or no checkpoint at all."""


class _Sealing:
    """A stream that hashes what passes through; torch.save writes front to back, so one pass is enough."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        try:
            return self._stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._stream.flush()

    def seal(self) -> None:
        self._stream.write(SEAL + self._digest.hexdigest().encode() + b"\n")


def save_sealed(path: Path, content: Mapping[str, Any], *, keep_previous: bool = False, compress: bool = False) -> None:
    """Write a checkpoint with its checksum; with `keep_previous` the file it replaces stays beside it as previous.pt.

    `compress` deflates it without loss: weights become about 7 % smaller, for ten times the time.
    Raises OSError (disk full, no permission); the old file then stands and no temporary file is left.
    """
    _require_space(path, content)

    def write(stream: IO[bytes]) -> None:
        sealing = _Sealing(stream)
        if compress:
            plain = temporary_beside(path.with_name(f"{path.name}.plain"))
            try:
                with plain.open("wb") as whole:
                    _save(content, _Sealing(whole))
                _deflate(plain, sealing)
            finally:
                plain.unlink(missing_ok=True)
        else:
            _save(content, sealing)
        sealing.seal()

    if keep_previous and path.exists():
        # A link, not a rename: at no moment is there no last.pt.
        link = temporary_beside(path.with_name("previous.pt"))
        try:
            os.link(path, link)
            os.replace(link, path.with_name("previous.pt"))
        finally:
            # After a kill between this rename and the next one both names are of one file already, and POSIX has a
            # rename of one of its names to another do nothing: the link would stay, with a whole last.pt behind it.
            link.unlink(missing_ok=True)
    replace_atomically(path, write)


def _save(content: Mapping[str, Any], sealing: _Sealing) -> None:
    try:
        torch.save(dict(content), sealing)  # type: ignore[arg-type]
    except RuntimeError:
        if sealing.error is not None:  # torch's writer hides it behind an error of its own
            raise sealing.error from None
        raise


def _deflate(plain: Path, sealing: _Sealing) -> None:
    """Write torch's archive once more with its entries deflated, front to back."""
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(sealing, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as into:  # type: ignore[call-overload]
        for entry in source.infolist():
            with source.open(entry) as packed, into.open(entry.filename, "w", force_zip64=True) as target:
                shutil.copyfileobj(packed, target, 1 << 22)


def _require_space(path: Path, content: Mapping[str, Any]) -> None:
    """Raise OSError(ENOSPC) where the file will not fit.

    A save that fills the disk to its last byte before it fails takes the space from everybody who writes beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(path.parent).free < sum(tensor.nbytes for tensor in tensors(content)):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield every tensor in a nested state."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


def load_sealed(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Verify and load a checkpoint with weights_only=True. Tensors on the CPU are views of the file: do not keep them.

    Raises FileNotFoundError, or DamagedCheckpoint for whatever is not exactly what was once written.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size <= SEAL_LENGTH:
            raise DamagedCheckpoint(f"{path} is torn ({size} bytes)")
        # A block that stays in the processor's cache: with blocks of megabytes this takes half as long again.
        digest, left, block = hashlib.sha256(), size - SEAL_LENGTH, memoryview(bytearray(1 << 18))
        while left > 0 and (count := stream.readinto(block[: min(left, len(block))])):
            digest.update(block[:count])
            left -= count
        if stream.read() != SEAL + digest.hexdigest().encode() + b"\n":
            raise DamagedCheckpoint(f"{path} is torn or altered (its checksum does not fit)")
    try:
        # Mapped, not read: verification has just brought the pages into memory, and whoever uses a tensor copies it.
        content = torch.load(path, map_location=device, weights_only=True, mmap=not _is_deflated(path))
    except Exception as error:  # torch raises many kinds for a file that is no plain checkpoint
        raise DamagedCheckpoint(f"{path} cannot be loaded ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise DamagedCheckpoint(f"{path} holds no checkpoint")
    return content


def _is_deflated(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())


def load_last(directory: Path, fits: Callable[[Mapping[str, Any]], bool], say: Callable[[str], None]) -> Any:
    """Return the content of last.pt, of previous.pt where that is damaged, or None where neither can be used.

    `fits` tells whether a content belongs to this training and version. Every file that is passed over gets its
    sentence; a damaged one is renamed, never deleted.
    """
    passed_over = False
    for name in ("last.pt", "previous.pt"):
        path = directory / name
        try:
            content = load_sealed(path)
        except FileNotFoundError:
            continue
        except DamagedCheckpoint as error:
            aside = path.with_name(f"damaged-{name}")
            os.replace(path, aside)
            passed_over = True
            say(f"{error}; it is set aside as {aside.name}")
            continue
        if content.get("format") == FORMAT and fits(content):
            if name != "last.pt":
                say(f"going on from {path}")
            return content
        aside = path.with_name(f"foreign-{name}")
        os.replace(path, aside)
        passed_over = True
        say(f"{path} is of another training or version of ResoMap; it is set aside as {aside.name}")
    if passed_over:
        say("no checkpoint is left: the training starts from the beginning")
    return None


def on_cpu(value: Any) -> Any:
    """Return a copy of nested state with all tensors in main memory: what a save may write while training goes on."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: on_cpu(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        items = [on_cpu(item) for item in value]
        # An optimizer may hold the state of a random generator (timm's kron), which takes no list for a tuple.
        return tuple(items) if isinstance(value, tuple) else items
    return value


class BackgroundSaver:
    """Writer of last.pt in a background thread, beside the training, one save at a time."""

    def __init__(self, path: Path, say: Callable[[str], None], compress: bool = False) -> None:
        self._path = path
        self._say = say
        self._compress = compress
        self._thread: threading.Thread | None = None
        self.failed = False  # whether the newest save did

    @property
    def is_busy(self) -> bool:
        """True while a save is under way."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, content: Mapping[str, Any]) -> None:
        """Start writing `content`, which must not change any more; wait first for a save that is under way."""
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(content,), name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing is being written, or for the given time; return True if all is written."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.is_busy

    def _write(self, content: Mapping[str, Any]) -> None:
        # A daemon thread: a process whose grace is over must not be held up by a save that cannot end in time.
        try:
            save_sealed(self._path, content, keep_previous=True, compress=self._compress)
            self.failed = False
        except OSError as error:
            self.failed = True
            self._say(f"{self._path} could not be saved ({error.strerror}); training goes on, the one before stands")


def structure_difference(saved: Mapping[str, Tensor], built: Mapping[str, Tensor]) -> str | None:
    """Return in one clause how a checkpoint's tensors differ from a network's, by name or shape; None: not at all."""
    clauses = []
    for words, names in (("it lacks", built.keys() - saved.keys()), ("it has also", saved.keys() - built.keys())):
        if names:
            clauses.append(f"{words} {first_few(sorted(names), 3)}")
    reshaped = [name for name in built if name in saved and saved[name].shape != built[name].shape]
    if reshaped:
        shapes = [f"{name} {list(saved[name].shape)} in place of {list(built[name].shape)}" for name in reshaped]
        clauses.append(f"of another shape {first_few(shapes, 3)}")
    return "; ".join(clauses) or None
