"""Changes of image files in place: the times and inodes of when they were checked, and what is read again for them.

The data's identity knows names and sizes alone. A BMP, a PPM or an uncompressed TIFF that is edited keeps its size, so
beside the manifest stands `files.jsonl`: size, times, inode and digest of each file. Light: planning compares them.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.core.files import NotRegular, file_digest, open_regular, read_json, regular_bytes, write_json, write_text
from resomap.core.sealed_json import break_seal, sealed
from resomap.data import DATA_DIRECTORY
from resomap.machine.cpus import available_cores

FILE = "files.jsonl"
MANIFEST = "manifest.json"
SCHEMA = 1
_HEAD_BYTES = 1 << 20  # of the manifest: more than all that stands before its list of images
_READERS = 8  # threads; reading and hashing run outside Python's lock

Stamp = tuple[int, int, int, int]  # size in bytes, modification and status change in nanoseconds, inode


@dataclass(frozen=True)
class FileRecord:
    """A file of the source as it was when it was read."""

    name: str  # relative to the source's root
    stamp: Stamp | None  # None: it could not be asked for
    sha256: str  # empty where it could not be read


def stamp_of(path: Path) -> Stamp | None:
    """Return size, times and inode of a file; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def write_records(directory: Path, identity: str, content_digest: str, records: Iterable[FileRecord]) -> None:
    """Write files.jsonl beside the manifest that has these digests."""
    lines = [json.dumps(_head(identity, content_digest))]
    lines += [json.dumps([record.name, record.stamp, record.sha256]) for record in records]
    write_text(directory / FILE, "\n".join(lines) + "\n")


def records_of(root: Path, stamps: Mapping[Path, Stamp | None]) -> list[FileRecord]:
    """Return the records of files below `root`, each read whole, with the times and inodes of before they were used."""
    with ThreadPoolExecutor(min(_READERS, available_cores())) as pool:
        digests = list(pool.map(digest_or_empty, stamps))
    return [
        FileRecord(path.relative_to(root).as_posix(), stamp, digest)
        for (path, stamp), digest in zip(stamps.items(), digests, strict=True)
    ]


def prepared_digest(data_identity: str, directory: Path = DATA_DIRECTORY) -> str | None:
    """Return the content digest of the images checked in this directory; None where they are not, or are others.

    Reads the head of manifest.json only: its list of images can be a million entries long.
    """
    try:
        with open_regular(directory / MANIFEST) as stream:
            head = stream.read(_HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotRegular):
        return None
    found = dict(re.findall(rb'^ {2}"(identity|content_digest)": "([0-9a-f]+)"', head, re.MULTILINE))
    digest = found.get(b"content_digest")
    return digest.decode() if digest and found.get(b"identity") == data_identity.encode() else None


def checked_digest(data_identity: str, directory: Path = DATA_DIRECTORY) -> str | None:
    """Return the content digest of the images when they were last checked here with success; None: they never were.

    It outlives the manifest, which a check that fails takes away.
    """
    if known := prepared_digest(data_identity, directory):
        return known
    try:
        with open_regular(directory / FILE) as stream:
            head = json.loads(stream.readline())
        return str(head["content_digest"]) if head["identity"] == data_identity else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def follow_source(source: str, directory: Path = DATA_DIRECTORY, folder: str | None = None) -> None:
    """Write into the manifest where the same files lie now. Its time stays: nothing is to be prepared anew for that.

    `folder` is where the paths of a table start (`data.columns.folder`).
    """
    path = directory / MANIFEST
    try:
        with open_regular(path) as stream:
            head = stream.read(_HEAD_BYTES)
        is_there = b'\n  "source": %s,' % json.dumps(source).encode() in head
        if folder is not None or b'\n  "folder": "' in head:
            is_there &= b'\n  "folder": %s,' % json.dumps(folder).encode() in head
        content = None if is_there else read_json(path)
        if isinstance(content, dict):
            status = path.stat()
            with suppress(ValueError):  # a damaged one is not made to look whole: who reads it says so
                is_sealed = break_seal(content)
                followed = {**content, "source": source, "folder": folder}
                write_json(path, sealed(followed) if is_sealed else followed)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    except (FileNotFoundError, IsADirectoryError, NotRegular):
        return


def _head(identity: str, content_digest: str) -> dict[str, Any]:
    return {"schema": SCHEMA, "identity": identity, "content_digest": content_digest}


class CheckedFiles:
    """The files behind the manifest of a directory, as they were checked and as they are now."""

    def __init__(self, root: Path, identity: str, content_digest: str, directory: Path = DATA_DIRECTORY) -> None:
        self._root, self._directory = root, directory
        self._identity, self._content_digest = identity, content_digest
        self._is_recorded = True
        self._records = self._read() or self._of_earlier_version()

    def to_read_again(self) -> list[FileRecord]:
        """Return the files whose size, times or inode differ from when they were read; none of them is opened."""
        return [record for record in self._records if stamp_of(self._root / record.name) != record.stamp]

    def all(self) -> list[FileRecord]:
        """Return all files."""
        return self._records

    def changed(self, records: Iterable[FileRecord], say: Callable[[str], None] = lambda _: None) -> list[str]:
        """Read these files again; return the names of those that have another content than when they were checked.

        Where none has, their new times and inodes are recorded, so that they are not read a second time.
        """
        records = list(records)
        if records:
            say(f"reading {len(records):,} files again")
        now = {record.name: record for record in self._as_they_are(records)}
        changed = [record.name for record in records if now[record.name].sha256 != record.sha256]
        if not changed and (now or not self._is_recorded):
            self._records = [now.get(record.name, record) for record in self._records]
            with suppress(OSError):  # a study that may only be read, which `resomap doctor` looks at, is read again
                write_records(self._directory, self._identity, self._content_digest, self._records)
                self._is_recorded = True
        return changed

    def _as_they_are(self, records: list[FileRecord]) -> Iterator[FileRecord]:
        def read(record: FileRecord) -> FileRecord:
            path = self._root / record.name
            stamp = stamp_of(path)  # before the content, so that a change in between is seen the next time
            return FileRecord(record.name, stamp, digest_or_empty(path))

        with ThreadPoolExecutor(min(_READERS, available_cores())) as pool:
            yield from pool.map(read, records)

    def _read(self) -> list[FileRecord]:
        """Return the records that were written with this manifest; none where others, or none, are there."""
        try:
            head, *lines = regular_bytes(self._directory / FILE).decode().splitlines()
            if json.loads(head) != _head(self._identity, self._content_digest):
                return []
            parts = map(json.loads, lines)
            return [FileRecord(name, tuple(stamp) if stamp else None, digest) for name, stamp, digest in parts]
        except (OSError, ValueError, TypeError, RecursionError):
            return []

    def _of_earlier_version(self) -> list[FileRecord]:
        """Return records from a manifest that has none beside it: what is younger than the manifest is read again."""
        self._is_recorded = False
        path = self._directory / MANIFEST
        content, made = read_json(path), stamp_of(path)
        try:
            entries = [(str(entry["name"]), str(entry["sha256"])) for entry in content["entries"]]
        except (KeyError, TypeError):
            return []  # a damaged manifest: whoever needs it says so
        records = []
        for name, digest in entries:
            stamp = stamp_of(self._root / name)
            is_older = stamp is not None and made is not None and stamp[1] <= made[1]
            records.append(FileRecord(name, stamp if is_older else None, digest))
        return records


def digest_or_empty(path: Path) -> str:
    """Return the SHA-256 of a file's content; an empty string where it cannot be read."""
    try:
        return file_digest(path)
    except OSError:
        return ""


def named(names: list[str], shown: int = 3) -> str:
    """Return the first names of a list, for a sentence."""
    return ", ".join(os.fsencode(name).decode(errors="replace") for name in names[:shown]) + (
        ", ..." if len(names) > shown else ""
    )
