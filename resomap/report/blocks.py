"""Blocks that chapters are put together from, beside figures. `kind` tells the template how to set a block."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Align = Literal["text", "nowrap", "number", "code"]


@dataclass(frozen=True)
class Table:
    """Rows under headings. `align` has one entry a column; `marked` are the rows that stand out."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: Sequence[Align]
    note: str = ""
    marked: frozenset[int] = frozenset()
    is_folded: bool = False
    kind: str = "table"

    @property
    def wide(self) -> list[tuple[str, Align]]:
        """Headings with their alignment."""
        return list(zip(self.headings, self.align, strict=True))


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str
    kind: str = "words"


@dataclass(frozen=True)
class Code:
    """Preformatted text, folded under its title."""

    title: str
    text: str
    kind: str = "code"


@dataclass(frozen=True)
class Part:
    """A block with a template of its own: `kind` is its name, `content` what it shows."""

    kind: str
    content: Any


@dataclass(frozen=True)
class Chapter:
    """A section of the page. `mark` is its anchor, `short` its name in the navigation."""

    mark: str
    title: str
    short: str
    blocks: Sequence[Any] = field(default_factory=list)
