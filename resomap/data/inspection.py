"""Inspection of the image files: one look at each tells its size, mode and digests, or its damage."""

import codecs
import hashlib
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from resomap.data.bands import Bands
from resomap.data.changes import Stamp, stamp_of
from resomap.data.damage import DamagedImage
from resomap.data.decode import decode_bytes
from resomap.data.location import InFile, Load, Location
from resomap.data.pixels import WhiteLevel
from resomap.data.sketch import Sketch, sketch
from resomap.data.source import Item
from resomap.data.streamed import streamed

UNREADABLE = "unreadable"
_TEXT_START = 2048  # bytes
_DEEPEST: Final = 65535
_Task = tuple[Path | None, str, WhiteLevel, Bands | None]  # the file that is the image, its name, its scale


@dataclass(frozen=True)
class Seen:
    """An image file, read and decoded once. `damage` is None where it gave its pixels."""

    name: str
    damage: str | None = None  # the kind, such as `truncated or damaged`
    detail: str = ""
    sha256: str = ""  # of the file; empty where it could not be read
    stamp: Stamp | None = None  # size, times and inode of the file that was read
    content: str = ""  # of the upright pixels: the same picture saved twice has one content and two files
    sketch: Sketch | None = None  # by which near-duplicates are found
    width: int = 0  # pixels, upright
    height: int = 0
    channels: int = 0  # 1 or 3, or what `data.channels` says
    mode: str = ""  # Pillow's name, or that of `mode_of` in bands.py
    brightest: int = 0  # 0 to 255, after scaling
    peak: int | None = None  # largest stored value, where the file does not tell how deep its values are
    correction: str = ""  # how it is read, where earlier versions read the same file to other pixels
    losses: tuple[str, ...] = ()  # what the file holds besides its pixels

    @property
    def deep(self) -> bool:
        """True if the file holds more than 8 bits a pixel."""
        return self.mode.startswith("I;16") or self.mode in ("I", "F") or self.mode.endswith("uint16")


def inspect_all(items: Sequence[Item], workers: int, bands: Bands | None = None) -> dict[str, Seen]:
    """Read and decode all items in `workers` processes; return {name: what was seen}.

    Files that do not tell how deep their values are have one scale for the whole set: `white_level` of all. Where it
    turns out to be 255, they are read once more.
    """
    tasks = [_task(item, _DEEPEST, bands) for item in items]
    found = {seen.name: seen for seen in streamed(_inspect, tasks, workers, "checked")}
    level = white_level(found.values())
    if level not in (None, _DEEPEST):
        again = [_task(item, level, bands) for item in items if found[item.name].peak is not None]
        found |= {seen.name: seen for seen in streamed(_inspect, again, workers, "scaled")}
    return found


def _task(item: Item, level: WhiteLevel, bands: Bands | None) -> tuple[Location, _Task]:
    path = item.location.path if isinstance(item.location, InFile) else None
    return item.location, (path, item.name, level, bands)


def white_level(seen: Iterable[Seen]) -> Literal[255, 65535] | None:
    """Return the value that becomes 255 in files that do not tell: by the largest of all; None without such a file."""
    peaks = [one.peak for one in seen if one.peak is not None]
    if not peaks:
        return None
    return 255 if max(peaks) <= 255 else _DEEPEST


def is_text(path: Path) -> bool:
    """Return True if a file begins like text in UTF-8 or UTF-16: no picture does. Raises OSError."""
    if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would be waited for
        return False
    with path.open("rb") as stream:
        start = stream.read(_TEXT_START)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return bool(text) and not any(character < " " and character not in "\t\n\r\f\x1a" for character in text)


def _inspect(task: _Task, load: Load) -> Seen:
    path, name, level, bands = task
    stamp = stamp_of(path) if path else None  # before the content, so that a change in between is seen the next time
    digest = ""
    try:
        file = load()
        digest = hashlib.sha256(file).hexdigest()
        pixels, mode, peak, correction, losses = decode_bytes(file, level, bands)
    except DamagedImage as damage:
        return Seen(name, damage.kind, damage.detail, sha256=digest, stamp=stamp)
    except OSError as error:  # a folder that may be listed and not entered
        return Seen(name, UNREADABLE, error.strerror or str(error), stamp=stamp)
    height, width, channels = pixels.shape
    return Seen(
        name,
        sha256=digest,
        stamp=stamp,
        content=_content_digest(pixels),
        sketch=sketch(pixels),
        width=width,
        height=height,
        channels=channels,
        mode=mode,
        brightest=int(pixels.max()),
        peak=peak,
        correction=correction,
        losses=losses,
    )


def _content_digest(pixels: np.ndarray) -> str:
    """Return 64 hex digits over pixels [H, W, C]; a grey picture that is stored in colour counts as the grey one."""
    if pixels.shape[2] > 1 and (pixels == pixels[:, :, :1]).all():
        pixels = pixels[:, :, :1]
    return hashlib.sha256(b"%d %d %d " % pixels.shape + pixels.tobytes()).hexdigest()
