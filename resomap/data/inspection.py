"""Inspection of the image files: one look at each tells its size, mode and digests, or its damage."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resomap.data.decode import DamagedImage, decode_bytes, read_bytes
from resomap.data.pool import in_order
from resomap.data.source import Item


@dataclass(frozen=True)
class Seen:
    """An image file, read and decoded once. `damage` is None where it gave its pixels."""

    name: str
    damage: str | None = None  # the kind, such as `truncated or damaged`
    detail: str = ""
    sha256: str = ""  # of the file
    content: str = ""  # of the upright pixels: the same picture saved twice has one content and two files
    width: int = 0  # pixels, upright
    height: int = 0
    channels: int = 0  # 1 or 3
    mode: str = ""  # Pillow's name
    brightest: int = 0  # 0 to 255, after scaling

    @property
    def deep(self) -> bool:
        """True if the file holds more than 8 bits a pixel."""
        return self.mode.startswith("I;16") or self.mode in ("I", "F")


def inspect_all(items: Sequence[Item], workers: int) -> dict[str, Seen]:
    """Read and decode all items in `workers` processes; return {name: what was seen}."""
    tasks = [(item.path, item.name) for item in items]
    return {seen.name: seen for seen in in_order(_inspect, tasks, workers, "checked")}


def _inspect(task: tuple[Path, str]) -> Seen:
    path, name = task
    try:
        file = read_bytes(path)
        pixels, mode = decode_bytes(file)
    except DamagedImage as damage:
        return Seen(name, damage.kind, damage.detail)
    height, width, channels = pixels.shape
    content = hashlib.sha256(b"%d %d %d " % pixels.shape + pixels.tobytes())
    return Seen(
        name,
        sha256=hashlib.sha256(file).hexdigest(),
        content=content.hexdigest(),
        width=width,
        height=height,
        channels=channels,
        mode=mode,
        brightest=int(pixels.max()),
    )
