"""Tables of image paths: CSV and TSV, an imagefolder's metadata.csv, and Parquet with a column of paths."""

import csv
import io
import os
import posixpath
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.core.files import regular_bytes
from resomap.data.columns import Chosen, choose
from resomap.data.layout import split_of_name
from resomap.data.lines import Line, Listing, label_of, text_of, weight_of
from resomap.data.location import InFile
from resomap.data.source_kind import METADATA, SourceFiles

_HEADER = 1  # line of a text table


@dataclass(frozen=True)
class Columns:
    """The values of one table, by column; all columns are of one length."""

    table: Path
    names: Sequence[str]
    values: Mapping[str, Sequence[Any]]
    numbers: Sequence[int]  # line or row of each value


def read_text_tables(found: SourceFiles, data: Data, is_labelled: bool = True) -> Listing:
    """Return the listing of text tables, without `is_labelled` of their images alone.

    Raises ResomapError: no such table, no such columns, no image.
    """
    tables = [_read(path) for path in found.files]
    chosen = choose(data.columns, tables[0].names, str(found.files[0]), is_labelled=is_labelled)
    for table in tables[1:]:
        if lacking := [name for name in chosen.facts().values() if name not in table.names]:
            raise ResomapError(f"{table.table} has no column {lacking[0]!r}, which {tables[0].table} has")
    return listing_of_paths(found, data, tables, chosen, "line")


def listing_of_paths(
    found: SourceFiles, data: Data, tables: Sequence[Columns], chosen: Chosen, unit: str, classes: Sequence[str] = ()
) -> Listing:
    """Return the listing of tables whose column of images holds paths. Raises ResomapError where it has no line."""
    root = paths_root(found.root, data.columns.folder)
    lines: list[Line] = []
    for index, table in enumerate(tables):
        folder = posixpath.dirname(found.name(table.table))
        lines += _lines(index, table, chosen, _Paths(root, folder, data.columns.suffix), unit)
    if not lines:
        raise ResomapError(f"{tables[0].table} lists no image; `data.source` needs a table with a line for each")
    listing = Listing(
        root=root,
        tables=tuple(str(table.table) for table in tables),
        unit=unit,
        chosen=chosen,
        lines=lines,
        classes=tuple(classes),
    )
    if len(tables) > 1 and chosen.split is None and all(path.name == METADATA for path in found.files):
        for line in lines:  # of an imagefolder's split folders
            line.split = split_of_name(tables[line.table].table.parent.name)
    return listing


def paths_root(root: Path, folder: str | None) -> Path:
    """Return the folder that the paths of a table in `root` start from. Raises ResomapError where it is not there."""
    if folder is None:
        return root
    place = Path(os.path.normpath(root / Path(folder).expanduser()))
    if not place.is_dir():
        raise ResomapError(f"there is no folder {place}, which `data.columns.folder` names; it is seen from {root}")
    return place


@dataclass(frozen=True)
class _Paths:
    """Names and files of images, from what a column says."""

    root: Path
    folder: str  # of the table below the root: paths start there
    suffix: str

    def name(self, path: str) -> str:
        """Return the name from the root, or the absolute path of what lies elsewhere."""
        plain = path.replace("\\", "/") + self.suffix
        if not plain.startswith("/"):
            return posixpath.normpath(posixpath.join(self.folder, plain))
        absolute = posixpath.normpath(plain)
        return absolute.removeprefix(f"{self.root.as_posix().rstrip('/')}/")

    def file(self, name: str) -> Path:
        """Return the file of a name; where there is none, one of the same characters in another Unicode form."""
        file = self.root / name
        if name.isascii() or file.exists():
            return file
        forms = (self.root / unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        return next((other for other in forms if other.exists()), file)


def _lines(index: int, table: Columns, chosen: Chosen, paths: _Paths, unit: str) -> Iterable[Line]:
    def column(name: str | None) -> Iterable[Any]:
        return table.values[name] if name else iter(lambda: None, 0)

    rows = zip(
        table.numbers,
        table.values[chosen.path],
        column(chosen.label),
        column(chosen.split),
        column(chosen.group),
        column(chosen.weight),
        strict=False,
    )
    for number, path, label, split, group, weight in rows:
        text, where = text_of(path), f"{unit} {number:,} of {table.table}"
        if text is None:
            raise ResomapError(f"{where} names no image in the column {chosen.path!r}")
        name = paths.name(text)
        yield Line(
            index,
            number,
            name,
            InFile(paths.file(name)),
            label_of(label),
            text_of(split),
            text_of(group),
            weight_of(weight, where, chosen.weight) if chosen.weight else None,
        )


def _read(path: Path) -> Columns:
    """Return a text table. Raises ResomapError where it is none, or a line has more or fewer values than the first."""
    try:
        text = regular_bytes(path).decode("utf-8-sig")  # spreadsheets write the mark at the start
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text))
        names = [name.strip() for name in next(reader, [])]
        rows, numbers = [], []
        for row in reader:
            if any(row):
                rows.append(row)
                numbers.append(reader.line_num)
    except OSError as error:
        raise ResomapError(f"the table {path} cannot be read: {error.strerror}; mend `data.source`") from None
    except (UnicodeDecodeError, csv.Error):
        raise ResomapError(f"the table {path} is not CSV text in UTF-8; save it as such, or as Parquet") from None
    if repeated := sorted({name for name in names if name and names.count(name) > 1}):
        raise ResomapError(f"the table {path} has two columns {repeated[0]!r}; rename one")
    for row, number in zip(rows, numbers, strict=True):
        if len(row) != len(names):
            raise ResomapError(
                f"line {number:,} of the table {path} has {len(row)} values, and its first line names {len(names)} "
                "columns; mend it (a value with a comma in it needs quotes)"
            )
    values = {name: [row[place] for row in rows] for place, name in enumerate(names) if name}
    return Columns(path, list(values), values, numbers)


def _delimiter(path: Path, text: str) -> str:
    """Return what stands between the values: spreadsheets of some languages write semicolons."""
    head = text.partition("\n")[0]
    if path.suffix.lower() == ".tsv" or ("\t" in head and "," not in head):
        return "\t"
    return ";" if ";" in head and "," not in head else ","
