"""Index of the model names, with the family and library of each: known without importing torch or timm."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from resomap.core.errors import ResomapError
from resomap.core.text import nearest
from resomap.models.cache import ask_process, library_versions, read_cache, writable_cache, write_cache

COLOURS = 3  # channels that a network takes where nothing else is said; grey goes into each of them


@dataclass(frozen=True)
class ModelEntry:
    """One model name. `family` is safe as a folder; `fixed_input`: the network is built for one input size."""

    name: str
    library: str  # "torchvision" or "timm"
    family: str
    fixed_input: bool


class ModelIndex:
    """All model names of the installed libraries. A name that both know is torchvision's."""

    def __init__(self, rows: Mapping[str, Sequence[Any]]) -> None:
        """Take `rows`: name -> [library, family, fixed_input], as `resomap.models.survey` writes them."""
        self._rows = rows

    def entry(self, name: str) -> ModelEntry:
        """Return the entry of a name. Raises ResomapError with the nearest name where there is none."""
        if name not in self._rows:
            match = nearest(name.lower(), self._candidates(name))
            hint = f"; did you mean '{match}'?" if match else ""
            # The leading letters of what was probably meant find its relatives.
            letters = re.match(r"[a-z]*", match or "")
            listing = f"resomap models {letters.group() if letters else ''}".strip()
            raise ResomapError(f"unknown model '{name}'{hint} (`{listing}` lists the names)")
        return ModelEntry(name, *self._rows[name])

    def names(self) -> list[str]:
        """Return every name: torchvision's, then timm's, then timm's names with the tag of their weights."""
        return list(self._rows)

    def search(self, pattern: str) -> list[ModelEntry]:
        """Return the entries whose name holds this text or whose family is it; `*` and `?`: any text and any letter."""
        wanted = pattern.lower()
        glob = wanted if any(letter in wanted for letter in "*?[") else f"*{wanted}*"
        found = [self.entry(name) for name in self._rows]
        return [item for item in found if fnmatchcase(item.name.lower(), glob) or item.family == wanted]

    def _candidates(self, name: str) -> list[str]:
        """Return the names to suggest: with tags only to somebody who typed one, as they would crowd out the rest."""
        return [known for known in self._rows if "." in name or "." not in known]


def load_index() -> ModelIndex:
    """Return the index of the installed libraries: asked once per installation (seconds), then read from a file.

    Raises ResomapError: they are not installed or cannot be imported.
    """
    rows = _sound(read_cache("models"))
    if rows is None:
        with writable_cache("models") as path:
            rows = _sound(read_cache("models"))  # another process may have asked while this one waited
            if rows is None:
                torchvision, timm = library_versions()
                print(
                    f"resomap: listing the models of torchvision {torchvision} and timm {timm}, "
                    "once per installation ...",
                    file=sys.stderr,
                )
                rows = ask_process("resomap.models.survey")
                write_cache(path, {"models": rows})
    return ModelIndex(rows)


def _sound(content: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """Return the rows of a cache file, or None where it is absent or somebody else's."""
    rows = content.get("models")
    # Three fields a row; one look at the first is enough to tell a foreign file from ours.
    if not isinstance(rows, dict) or not rows:
        return None
    first = next(iter(rows.values()))
    return rows if isinstance(first, list) and len(first) == 3 else None
