"""Parquet files with the bytes of images, as Hugging Face `datasets` writes them, and the reading of Parquet at all.

A plan reads the footers and the columns of labels and splits: no image. pyarrow is imported inside of functions, so
that whoever has no Parquet does not pay for it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.data.columns import AUTO, LABELS, Chosen, choose, usual
from resomap.data.lines import Line, Listing, label_of, text_of, weight_of
from resomap.data.location import BYTES, PATH, InParquet
from resomap.data.source_kind import SourceFiles, unreadable
from resomap.data.text_table import Columns, listing_of_paths

_MAGIC = b"PAR1"
_TAIL = 8  # bytes: length of the footer, magic
_UNLABELLED = -1  # of a ClassLabel, where a test split has no labels


@dataclass(frozen=True)
class ParquetFiles:
    """The Parquet files of a source: all of one schema. Without `is_labelled` their images alone are asked for."""

    found: SourceFiles
    data: Data
    is_labelled: bool = True

    @cached_property
    def _footers(self) -> list[tuple[Any, Any]]:
        """(metadata, Arrow schema) of each file. Raises ResomapError where one is no Parquet."""
        return [_footer(file) for file in self.found.files]

    @cached_property
    def _schema(self) -> Any:
        """Schema of the first file. Raises ResomapError where one of the files is no Parquet, or has other columns."""
        schemas = [schema for _, schema in self._footers]
        for file, schema in zip(self.found.files, schemas, strict=True):
            if schema.names != schemas[0].names or _features(schema) != _features(schemas[0]):
                raise ResomapError(
                    f"{file} has other columns or class names than {self.found.files[0]}; a source is of one form"
                )
        return schemas[0]

    @cached_property
    def chosen(self) -> Chosen:
        """The columns to use. Raises ResomapError where they cannot be told."""
        features = _features(self._schema)
        images = [name for name, one in features.items() if one.get("_type") == "Image"]
        labels = [name for name, one in features.items() if one.get("_type") == "ClassLabel"]
        label = labels[0] if len(labels) == 1 else usual(LABELS, labels)
        known = {**({"path": images[0]} if images else {}), **({"label": label} if label else {})}
        if self.is_labelled and len(labels) > 1 and label is None and self.data.columns.label == AUTO:
            raise ResomapError(
                f"{self.found.files[0]} has several columns of classes ({', '.join(labels)}); name one: --config "
                f"'data={{columns: {{label: {labels[0]}}}}}'"
            )
        return choose(self.data.columns, self._schema.names, str(self.found.files[0]), known, self.is_labelled)

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes by their numbers; empty where labels are what they say."""
        feature = _features(self._schema).get(self.chosen.label or "", {})
        return [str(name) for name in feature.get("names", [])] if feature.get("_type") == "ClassLabel" else []

    @property
    def holds_images(self) -> bool:
        """True if the column of images holds their bytes; False for paths. Raises ResomapError for anything else."""
        from pyarrow import types

        kind = self._schema.field(self.chosen.path).type
        if types.is_dictionary(kind):
            kind = kind.value_type
        if types.is_string(kind) or types.is_large_string(kind):
            return False
        if types.is_struct(kind) and kind.get_field_index(BYTES) >= 0:
            return True
        if types.is_binary(kind) or types.is_large_binary(kind):
            return True
        raise ResomapError(
            f"the column {self.chosen.path!r} of {self.found.files[0]} holds {kind}, and must hold paths or the bytes "
            "of images; name another with --config 'data={columns: {path: NAME}}'"
        )

    @property
    def _has_paths(self) -> bool:
        from pyarrow import types

        kind = self._schema.field(self.chosen.path).type
        return bool(types.is_struct(kind) and kind.get_field_index(PATH) >= 0)

    def rows(self) -> list[int]:
        """Return the number of rows of each file, from its footer."""
        return [int(metadata.num_rows) for metadata, _ in self._footers]

    def distinct(self, column: str) -> list[set[Any]]:
        """Return the distinct values of a column in each file."""
        return [set(_read(file, [column])[column].unique().to_pylist()) for file in self.found.files]

    def label(self, value: Any) -> str | None:
        """Return a label as text; None where there is none."""
        if self.class_names and isinstance(value, int):
            if value == _UNLABELLED:
                return None
            if not 0 <= value < len(self.class_names):
                raise ResomapError(
                    f"the column {self.chosen.label!r} of {self.found.files[0]} holds the class {value}, and its names "
                    f"are of {len(self.class_names)}; mend the file"
                )
            return self.class_names[value]
        return label_of(value)

    def listing(self) -> Listing:
        """Return the listing of all rows. Raises ResomapError where there are none."""
        if not self.holds_images:
            return listing_of_paths(self.found, self.data, list(self._tables()), self.chosen, "row", self.class_names)
        lines: list[Line] = []
        has_paths = self._has_paths
        for index, file in enumerate(self.found.files):
            lines += self._lines(index, file, has_paths)
        if not lines:
            raise ResomapError(f"{self.found.files[0]} has no rows; `data.source` needs a row for each image")
        _name(lines, [self.found.name(file) for file in self.found.files])
        return Listing(
            root=self.found.root,
            tables=tuple(str(file) for file in self.found.files),
            unit="row",
            chosen=self.chosen,
            lines=lines,
            classes=tuple(self.class_names),
            shards=self.found.files,
            image_column=self.chosen.path,
        )

    def _tables(self) -> Iterator[Columns]:
        wanted = list(self.chosen.facts().values())
        for file in self.found.files:
            table = _read(file, wanted)
            values = {name: table[name].to_pylist() for name in wanted}
            if self.class_names and self.chosen.label:
                values[self.chosen.label] = [self.label(value) for value in values[self.chosen.label]]
            yield Columns(file, wanted, values, range(table.num_rows))

    def _lines(self, index: int, file: Path, has_paths: bool) -> Iterator[Line]:
        chosen = self.chosen
        others = [name for key, name in chosen.facts().items() if key != "path"]
        table = _read(file, [*others, f"{chosen.path}.{PATH}"] if has_paths else others)
        names = _paths(table[chosen.path]) if has_paths else [None] * table.num_rows
        values: Mapping[str | None, Sequence[Any]] = {name: table[name].to_pylist() for name in others}
        nothing = [None] * table.num_rows
        wanted = (chosen.label, chosen.split, chosen.group, chosen.weight)
        labels, splits, groups, weights = (values.get(name, nothing) for name in wanted)
        place = _places(self._footers[index][0])
        for row, (name, label) in enumerate(zip(names, labels, strict=True)):
            weight = weight_of(weights[row], f"row {row:,} of {file}", chosen.weight) if chosen.weight else None
            location = InParquet(file, chosen.path, *next(place))
            split, group = text_of(splits[row]), text_of(groups[row])
            yield Line(index, row, (name or "").lstrip("/"), location, self.label(label), split, group, weight)


def footer_digest(shard: Path) -> str:
    """Return the digest of a Parquet file's footer, in which sizes and statistics of all its pages stand.

    Raises ResomapError where it is no whole Parquet file.
    """
    try:
        with shard.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL))
            tail = stream.read(_TAIL)
            length = int.from_bytes(tail[:4], "little")
            if tail[4:] != _MAGIC or length + _TAIL > size:
                raise _no_parquet(shard)
            stream.seek(size - _TAIL - length)
            return hashlib.sha256(stream.read(length)).hexdigest()
    except OSError as error:
        raise unreadable(shard, error) from None


def _footer(file: Path) -> tuple[Any, Any]:
    """Return (metadata, Arrow schema) of a file."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(file) as opened:
            return opened.metadata, opened.schema_arrow
    except OSError as error:
        raise unreadable(file, error) from None
    except pyarrow.ArrowException:
        raise _no_parquet(file) from None


def _read(file: Path, columns: Sequence[str]) -> Any:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(file, memory_map=True) as opened:
            return opened.read(columns=list(columns), use_threads=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise ResomapError(f"{file} is damaged: {_words(error)}; fetch or write it anew") from None


def _paths(column: Any) -> list[str | None]:
    import pyarrow.compute as compute

    return list(compute.struct_field(column, PATH).to_pylist())


def _places(metadata: Any) -> Iterator[tuple[int, int]]:
    """Yield (row group, row in it) of every row of a file, by its metadata."""
    for group in range(metadata.num_row_groups):
        for row in range(metadata.row_group(group).num_rows):
            yield group, row


def _name(lines: Sequence[Line], shards: Sequence[str]) -> None:
    """Name the images: by their paths where these tell them apart, else below their shard, by path or row."""
    ways = (
        lambda line: line.name,
        lambda line: line.name and f"{shards[line.table]}/{line.name}",
        lambda line: f"{shards[line.table]}/{line.number:08d}",
    )
    for way in ways:
        names = [way(line) for line in lines]
        if all(names) and len(set(names)) == len(names):
            break
    for line, name in zip(lines, names, strict=True):
        line.name = name


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Return what `datasets` wrote about the columns of a schema; empty where it did not."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])
        features = content["info"]["features"]
        return {str(name): one for name, one in features.items() if isinstance(one, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _no_parquet(file: Path) -> ResomapError:
    return ResomapError(f"{file} is no whole Parquet file; fetch or write it anew")


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
