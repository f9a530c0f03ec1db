"""WebDataset shards: uncompressed tar archives in which the members of one sample share their name up to the first dot.

`cat/0001.jpg` and `cat/0001.cls` are one sample; the label is the text of `.cls`, or a key of `.json`. The headers of
all members are walked once; images are read in place.
"""

import hashlib
import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.data.clutter import HIDDEN, kind_of_clutter
from resomap.data.columns import AUTO, GROUPS, LABELS, SPLITS, Chosen, usual
from resomap.data.image_formats import suffixes
from resomap.data.lines import Line, Listing, label_of, text_of, weight_of
from resomap.data.location import InTar
from resomap.data.source_kind import SourceFiles, unreadable

_MEMBER = "cls"  # that holds the label
_HEAD, _TAIL = 512, 65536  # bytes that stand for a footer, which tar has none of
_LARGEST_TEXT = 1 << 20  # bytes of a .cls or .json
_KEPT_HEADERS = 1000


@dataclass(slots=True)
class _Sample:
    images: list[tuple[str, int, int]] = field(default_factory=list)  # (member, offset, bytes)
    texts: dict[str, bytes] = field(default_factory=dict)  # {extension: content}
    values: dict[str, Any] = field(default_factory=dict)  # of its .json


@dataclass(frozen=True)
class _Walked:
    samples: dict[str, _Sample]  # {key: sample}
    clutter: Counter[str]
    damage: str | None  # why the walk ended before the end


def read_tar_shards(found: SourceFiles, data: Data, is_labelled: bool = True) -> Listing:
    """Return the listing of tar shards, without `is_labelled` of their images alone.

    Raises ResomapError: a file that is no tar, no sample, no label in any.
    """
    walked = [_walk(str(shard), *_stamp(shard), data.channels is not None) for shard in found.files]
    keys = list(dict.fromkeys(key for one in walked for sample in one.samples.values() for key in sample.values))
    members = {ending for one in walked for sample in one.samples.values() for ending in sample.texts} - {"json"}
    chosen = _choose(found, data, keys, members) if is_labelled else Chosen("image", None, None, None, None)
    lines: list[Line] = []
    problems: list[tuple[str, str]] = []
    clutter: Counter[str] = Counter()
    for index, (shard, one) in enumerate(zip(found.files, walked, strict=True)):
        clutter += one.clutter
        if one.damage:
            problems.append((found.name(shard), one.damage))
        for number, (key, sample) in enumerate(one.samples.items()):
            line = _line(index, number, key, sample, shard, chosen, members)
            if line is None:
                problems.append((f"{found.name(shard)}/{key}", "a sample without an image, or with several"))
            else:
                lines.append(line)
    if not lines:
        raise ResomapError(f"{found.files[0]} holds no sample of an image, such as 0001.jpg beside 0001.cls")
    if len({line.name for line in lines}) < len(lines):
        for line in lines:
            line.name = f"{found.name(found.files[line.table])}/{line.name}"
    return Listing(
        root=found.root,
        tables=tuple(str(shard) for shard in found.files),
        unit="sample",
        chosen=chosen,
        lines=lines,
        shards=found.files,
        clutter=dict(clutter.most_common()),
        problems=problems,
    )


def end_digest(shard: Path) -> str:
    """Return the digest of the first and last bytes of a tar. Raises ResomapError where it cannot be read."""
    try:
        with shard.open("rb") as stream:
            head = stream.read(_HEAD)
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL))
            return hashlib.sha256(head + stream.read()).hexdigest()
    except OSError as error:
        raise unreadable(shard, error) from None


def _choose(found: SourceFiles, data: Data, keys: list[str], members: set[str]) -> Chosen:
    """Return where label, split, group and weight stand: a member's extension, or a key of `.json`."""
    columns = data.columns
    if columns.path != AUTO:
        raise ResomapError("`data.columns.path` has no meaning for tar shards, whose images are members; leave it out")
    label: str | None = columns.label
    if label == AUTO:
        label = _MEMBER if _MEMBER in members else usual(LABELS, keys)
    if label is None or (label not in members and label not in keys):
        raise ResomapError(
            f"no sample of {found.files[0]} has its class in {label if columns.label != AUTO else '.cls'!r}; beside "
            f"the images are {', '.join([*(f'.{one}' for one in sorted(members)), *keys]) or 'no labels'}; name it: "
            "--config 'data={columns: {label: NAME}}'"
        )

    def optional(wanted: str | None, of: tuple[str, ...], key: str) -> str | None:
        if wanted in (None, AUTO):
            return usual(of, keys) if wanted else None
        if wanted not in keys and wanted not in members:
            raise ResomapError(f"no sample of {found.files[0]} has {wanted!r}, which `data.columns.{key}` names")
        return wanted

    return Chosen(
        "image",
        label,
        optional(columns.split, SPLITS, "split"),
        optional(columns.group, GROUPS, "group"),
        optional(columns.weight, (), "weight"),
    )


def _line(
    index: int, number: int, key: str, sample: _Sample, shard: Path, chosen: Chosen, members: set[str]
) -> Line | None:
    if len(sample.images) != 1:
        return None
    member, offset, size = sample.images[0]

    def value(name: str | None) -> Any:
        if name is None:
            return None
        return sample.texts.get(name) if name in members else sample.values.get(name)

    weight = None
    if chosen.weight:
        weight = weight_of(text_of(value(chosen.weight)), f"sample {key} of {shard}", chosen.weight)
    return Line(
        index,
        number,
        member,
        InTar(shard, offset, size),
        label_of(value(chosen.label)),
        text_of(value(chosen.split)),
        text_of(value(chosen.group)),
        weight,
    )


def _stamp(shard: Path) -> tuple[int, int]:
    try:
        status = shard.stat()
    except OSError as error:
        raise unreadable(shard, error) from None
    return status.st_size, status.st_mtime_ns


@cache
def _walk(shard: str, _size: int, _modified: int, arrays: bool) -> _Walked:
    """Walk the headers of an archive; once a process and file, as it stands."""
    samples: dict[str, _Sample] = defaultdict(_Sample)
    clutter: Counter[str] = Counter()
    damage = None
    try:
        with tarfile.open(shard, "r:") as archive:
            try:
                for member in _members(archive):
                    _add(member, archive, samples, clutter, suffixes(arrays))
                damage = _after_the_end(Path(shard), archive.offset)
            except (tarfile.TarError, OSError, EOFError) as error:
                damage = f"the archive is damaged: {error or type(error).__name__}"
    except (tarfile.TarError, EOFError):
        raise ResomapError(f"{shard} is no uncompressed tar; `gunzip` it, or mend `data.source`") from None
    except OSError as error:
        raise unreadable(Path(shard), error) from None
    return _Walked(dict(samples), clutter, damage)


def _members(archive: Any) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        yield member
        if len(archive.members) > _KEPT_HEADERS:
            archive.members = []  # a million of them take a gigabyte


def _after_the_end(shard: Path, offset: int) -> str | None:
    """Return why the walk ended before the archive does; None where it ended at the mark of its end.

    tarfile takes a cut or damaged header for the end, and says nothing.
    """
    with shard.open("rb") as stream:
        stream.seek(offset)
        mark = stream.read(tarfile.BLOCKSIZE)
        if len(mark) < tarfile.BLOCKSIZE:
            return "the archive is cut off"
        if any(mark):
            return f"the archive is damaged at byte {offset:,}; what follows is not read"
        while content := stream.read(1 << 20):
            if any(content):
                return "another archive follows behind its end, and is not read; keep each as a shard of its own"
    return None


def _add(
    member: tarfile.TarInfo,
    archive: tarfile.TarFile,
    samples: dict[str, _Sample],
    clutter: Counter[str],
    of_images: frozenset[str],
) -> None:
    if not member.isreg() or member.issparse():
        return
    name = str(PurePosixPath(member.name)).lstrip("/")
    parts = name.split("/")
    if any(kind_of_clutter(part, is_folder=place < len(parts) - 1) for place, part in enumerate(parts)):
        clutter[kind_of_clutter(parts[-1], is_folder=False) or HIDDEN] += 1
        return
    stem, _, ending = parts[-1].partition(".")
    key, ending = "/".join([*parts[:-1], stem]), ending.lower()
    if f".{ending.rpartition('.')[2]}" in of_images:
        if f".{ending}" in of_images:
            samples[key].images.append((name, member.offset_data, member.size))
        return  # `0001.mask.png` is no image of its own
    sample = samples[key]
    if member.size <= _LARGEST_TEXT:
        stream = archive.extractfile(member)
        assert stream is not None
        sample.texts[ending] = stream.read()
        if ending == "json":
            sample.values = _values(sample.texts[ending])


def _values(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {str(key): value for key, value in values.items() if isinstance(value, str | int | float | bool)}
