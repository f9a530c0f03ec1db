"""Snapshot of a study's folder: all paths, and each file's content without what may differ between undisturbed runs."""

import fnmatch
import hashlib
import json
import re
import sqlite3
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from resomap.compute.checkpoint import load_sealed, tensors
from resomap.core.files import file_digest

VOLATILE = tomllib.loads(Path(__file__).with_name("volatile.toml").read_text())["volatile"]
RUN_ID = re.compile(r"[0-9a-f]{32}")
METRICS = """select m.key, m.step, m.value, m.is_nan, r.name from metrics m join runs r using (run_uuid)"""
PARAMS = """select p.key, p.value, r.name from params p join runs r using (run_uuid)"""


def snapshot(folder: Path) -> Counter[tuple[str, str]]:
    """Return (path, digest of what is compared) of each file, and (path, "folder") of each empty folder.

    The ids of runs in paths are left out; so a run that is there twice counts twice.
    """
    found: Counter[tuple[str, str]] = Counter()
    for path in sorted(folder.rglob("*")):
        name = RUN_ID.sub("#", str(path.relative_to(folder)))
        if path.is_dir():
            found[name, "folder"] += not any(path.iterdir())
        else:
            found[name, _digest(path, name)] += 1
    return +found


def differences(undisturbed: Mapping[tuple[str, str], int], other: Mapping[tuple[str, str], int]) -> list[str]:
    """Return one clause for each path that only one of two snapshots has, or whose content differs."""
    paths, others = _paths(undisturbed), _paths(other)
    clauses = [f"left behind: {path}" for path in sorted((others - paths).elements())]
    clauses += [f"missing: {path}" for path in sorted((paths - others).elements())]
    changed = {path for path, _ in Counter(undisturbed) - Counter(other)} & paths.keys() & others.keys()
    return clauses + [f"other content: {path}" for path in sorted(changed)]


def _paths(found: Mapping[tuple[str, str], int]) -> Counter[str]:
    paths: Counter[str] = Counter()
    for (path, _), count in found.items():
        paths[path] += count
    return paths


def _digest(path: Path, name: str) -> str:
    keys: set[str] = set()
    for entry in VOLATILE:
        if fnmatch.fnmatchcase(name, entry["files"]):
            if "texts" in entry:
                return hashlib.sha256(re.sub("|".join(entry["texts"]), "#", path.read_text()).encode()).hexdigest()
            if "keys" not in entry:
                return "not compared"
            keys |= set(entry["keys"])
    return hashlib.sha256(b"\0".join(_parts(path, keys))).hexdigest() if keys else file_digest(path)


def _parts(path: Path, keys: set[str]) -> Iterator[bytes]:
    """Yield the bytes of all that is compared of a file of which some keys are masked."""
    if path.suffix == ".db":
        yield from _database(path, keys)
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            for name in sorted(set(stored.files) - keys):
                yield f"{name} {stored[name].dtype} {stored[name].shape}".encode()
                yield stored[name].tobytes()
    elif path.suffix == ".pt":
        content = {name: value for name, value in load_sealed(path).items() if name not in keys}
        yield repr(_without_tensors(content)).encode()
        for tensor in tensors(content):
            yield tensor.contiguous().numpy().tobytes()
    else:
        yield json.dumps(_masked(json.loads(path.read_text()), keys)).encode()


def _masked(content: Any, keys: set[str]) -> Any:
    for key in keys:
        place, *inner = key.split(".")
        if place in content:
            content[place] = _masked(content[place], {".".join(inner)}) if inner else "masked"
    return content


def _without_tensors(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_tensors(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tensors(item) for item in value]
    return (tuple(value.shape), str(value.dtype)) if hasattr(value, "dtype") else value


def _database(path: Path, keys: set[str]) -> Iterable[bytes]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        rows = [row for question in (METRICS, PARAMS) for row in database.execute(question).fetchall()]
    return sorted(repr(row).encode() for row in rows if not any(fnmatch.fnmatchcase(row[0], key) for key in keys))
