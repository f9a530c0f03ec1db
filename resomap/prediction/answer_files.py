"""Answers as a file whose ending says its form: CSV, JSON, JSON lines or Parquet.

    .csv, .parquet    a row an image: image, class, probability, log_odds and positive (with an operating point),
                      class_2, probability_2 and so on as far as `--top` goes, error
    .jsonl            an object a line, as under `images` in .json
    .json             facts of the weights, and under `images` an object each, as `--json` writes it

With a column of each class (`--each-class`) its probabilities stand in the place of class_2, probability_2 ... under
`probability: CLASS`. Empty is what an unreadable image has not.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from resomap.core.errors import ResomapError
from resomap.core.files import replace_atomically, strict_json
from resomap.core.text import encodable
from resomap.prediction.answer_rows import Row
from resomap.prediction.networks import Network

_ROWS_AT_ONCE = 10_000  # a row group of Parquet


def require_known_form(path: Path) -> None:
    """Raise ResomapError where a file's ending is of no form that is written, or its folder is not there."""
    if path.suffix.lower() not in _WRITERS:
        raise ResomapError(f"{path} ends with no form of answers; let it end with {', '.join(_WRITERS)}")
    if not path.absolute().parent.is_dir():
        raise ResomapError(f"there is no folder {path.absolute().parent}; make it, or name another file")
    if path.is_dir():
        raise ResomapError(f"{path} is a folder; name a file")


def write_file(path: Path, rows: Iterable[Row], network: Network, top: int, each_class: bool) -> None:
    """Write the rows atomically. Raises OSError."""
    table = _Columns(network, top, each_class)
    writer = _WRITERS[path.suffix.lower()]
    replace_atomically(path, lambda stream: writer(stream, rows, network, table))


class _Columns:
    """Columns of a table of answers, and the values of a row in their order."""

    def __init__(self, network: Network, top: int, each_class: bool) -> None:
        self._point = network.point
        self._classes = [encodable(name) for name in network.classes] if each_class else None
        self._places = range(1, 1 if each_class else min(top, len(network.classes)))

    def types(self) -> dict[str, str]:
        """Return Arrow's names of the types by column."""
        found = {"image": "string", "class": "string", "probability": "float"}
        if self._point is not None:
            found |= {"log_odds": "double", "positive": "bool"}
        for place in self._places:
            found |= {f"class_{place + 1}": "string", f"probability_{place + 1}": "float"}
        found |= {f"probability: {name}": "float" for name in self._classes or ()}
        return found | {"error": "string"}

    def values(self, row: Row) -> list[Any]:
        """Return the values of a row; None where it has none."""
        ranked = row.get("predictions", [])
        found = [row["image"], *self._ranked(ranked, 0)]
        if self._point is not None:
            found += [row.get("log_odds"), row.get("positive")]
        for place in self._places:
            found += self._ranked(ranked, place)
        if self._classes is not None:
            by_class = {one["class"]: one["probability"] for one in ranked}
            found += [by_class.get(name) for name in self._classes]
        return [*found, row.get("error")]

    @staticmethod
    def _ranked(ranked: list[dict[str, Any]], place: int) -> list[Any]:
        return [ranked[place]["class"], ranked[place]["probability"]] if place < len(ranked) else [None, None]


def _write_csv(stream: IO[bytes], rows: Iterable[Row], _network: Network, columns: _Columns) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    types = columns.types()
    writer.writerow(types)
    for row in rows:
        writer.writerow([_as_text(value) for value in columns.values(row)])
    text.detach()


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _write_lines(stream: IO[bytes], rows: Iterable[Row], _network: Network, _columns: _Columns) -> None:
    for row in rows:
        stream.write(strict_json(row, indent=None).encode() + b"\n")


def _write_document(stream: IO[bytes], rows: Iterable[Row], network: Network, _columns: _Columns) -> None:
    head = strict_json(network.facts()).removesuffix("\n}")
    stream.write(f'{head},\n  "images": ['.encode())
    for index, row in enumerate(rows):
        stream.write(f"{',' if index else ''}\n    {strict_json(row, indent=None)}".encode())
    stream.write(b"\n  ]\n}\n")


def _write_parquet(stream: IO[bytes], rows: Iterable[Row], network: Network, columns: _Columns) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    fields = [(name, pa.type_for_alias(kind)) for name, kind in columns.types().items()]
    schema = pa.schema(fields, metadata={"resomap": json.dumps(network.facts())})
    with parquet.ParquetWriter(stream, schema) as writer:
        for part in _parts(rows):
            values = zip(*map(columns.values, part), strict=True)
            arrays = [pa.array(column, kind) for column, (_, kind) in zip(values, fields, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _parts(rows: Iterable[Row]) -> Iterator[tuple[Row, ...]]:
    waiting = iter(rows)
    while part := tuple(islice(waiting, _ROWS_AT_ONCE)):
        yield part


_Writer = Callable[[IO[bytes], Iterable[Row], Network, _Columns], None]
_WRITERS: dict[str, _Writer] = {
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".json": _write_document,
    ".parquet": _write_parquet,
}
