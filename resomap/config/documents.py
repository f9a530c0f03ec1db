"""Configuration files as text from outside: bounded in size, depth and aliases, before anything reads their values."""

import itertools
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from resomap.core.errors import ResomapError
from resomap.core.files import NotRegular, regular_bytes

# All models of torchvision and timm in one list take 40 kB; PyYAML reads 100 kB in a second.
MAX_BYTES = 128 * 1024
MAX_VALUES = 20_000  # with aliases written out
MAX_DEPTH = 64  # brackets
MAX_LENGTH = 1024  # characters of a key or a text: longer than any name or path that a system takes


def read_document(path: Path) -> dict[str, Any]:
    """Return the values of a YAML file. Raises ResomapError with one sentence for whatever is no configuration."""
    text = _text(path)
    if _depth(text) > MAX_DEPTH:  # PyYAML takes seconds to find that out
        raise ResomapError(f"the configuration file {path} nests its values too deeply; write plain sections")
    try:
        values = yaml.safe_load(text)
    except RecursionError:
        raise ResomapError(f"the configuration file {path} nests its values too deeply; write plain sections") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ResomapError(f"{path}{line} is not valid YAML; check its indentation and colons") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ResomapError(f"{path} must hold `key: value` lines, and holds a {type(values).__name__}")
    require_bounded(values)
    return values


def require_bounded(values: Mapping[Any, Any]) -> None:
    """Raise ResomapError for values that nobody writes by hand: millions of them by aliases, endless texts."""
    counts: dict[int, int] = {}  # of the values in a container, by its id; 0 while it is being counted

    def count(value: Any, name: str) -> int:
        if isinstance(value, str):
            _require_plain(value, name)
        if not isinstance(value, Mapping | list | tuple):
            return 1
        if id(value) not in counts:
            counts[id(value)] = 0
            items = value.items() if isinstance(value, Mapping) else ((name, one) for one in value)
            counts[id(value)] = 1 + sum(count(one, _key(key)) for key, one in items)
        elif counts[id(value)] == 0:
            raise ResomapError(f"the configuration's {name} contains itself, by an alias (`*`); write the value out")
        if counts[id(value)] > MAX_VALUES:
            raise ResomapError(
                f"the configuration's {name} holds more than {MAX_VALUES:,} values, its aliases (`*`) written out; a "
                "configuration has no need of them"
            )
        return counts[id(value)]

    try:
        count(values, "file")
    except RecursionError:
        raise ResomapError("the configuration nests its values too deeply; write plain sections") from None


def _depth(text: str) -> int:
    """Return the number of brackets that are open at once, those in quotes included."""
    steps = (1 if each in "[{" else -1 for each in text if each in "[]{}")
    return max(itertools.accumulate(steps), default=0)


def _key(key: Any) -> str:
    if isinstance(key, str):
        _require_plain(key, "keys")
    return str(key)[:60]


def _require_plain(text: str, name: str) -> None:
    if "\0" in text:
        raise ResomapError(f"the configuration's {name} has a NUL character in it; write it as plain text")
    if len(text) > MAX_LENGTH:
        raise ResomapError(
            f"the configuration's {name} has {len(text):,} characters, and at most {MAX_LENGTH:,} are a name or a path"
        )


def _text(path: Path) -> str:
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_size > MAX_BYTES:
            raise ResomapError(
                f"the configuration file {path} has {found.st_size:,} bytes, and at most {MAX_BYTES:,} are read; name "
                "the file that holds the configuration"
            )
        content = regular_bytes(path)
    except FileNotFoundError:
        raise ResomapError(f"there is no configuration file {path}") from None
    except NotRegular:
        raise ResomapError(f"the configuration file {path} is no regular file; name one") from None
    except OSError as error:
        raise ResomapError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ResomapError(f"{str(path)[:60]!a} is no name of a configuration file") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ResomapError(f"the configuration file {path} is not text in UTF-8; save it as such") from None
    if "\0" in text:
        raise ResomapError(f"the configuration file {path} has a NUL character in it; save it as text in UTF-8")
    return text
