"""Tables and shards made from a folder of class folders, in the forms in which people keep them."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet


def names_in(root: Path) -> list[str]:
    """Names of the images of a folder, from its root."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*/*.*") if path.is_file())


def label_in(name: str) -> str:
    """Class of an image in a class folder."""
    return name.split("/")[-2]


def write_csv(root: Path, table: Path, separator: str = ",") -> Path:
    """A table with the columns path and label, beside or above the images."""
    prefix = "" if table.parent == root else f"{root.name}/"
    lines = [f"{prefix}{name}{separator}{label_in(name)}" for name in names_in(root)]
    table.write_text("\n".join([f"path{separator}label", *lines]) + "\n")
    return table


def class_label(names: Sequence[str]) -> dict[str, Any]:
    return {"names": list(names), "_type": "ClassLabel"}


def hugging_face(features: dict[str, Any], columns: dict[str, Any]) -> pa.Table:
    """A table with the metadata that `datasets` writes."""
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.table(columns).replace_schema_metadata(metadata)


def write_parquet(root: Path, folder: Path, shards: int = 3, row_group: int = 7, **extra: Any) -> Path:
    """Parquet shards with the bytes of images, in the form of `datasets`: rows in no order of names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = names_in(root)
    classes = sorted({label_in(name) for name in names})[::-1]  # ClassLabel has an order of its own
    for shard in range(shards):
        inside = names[shard::shards][::-1]
        images = [{"bytes": (root / name).read_bytes(), "path": name} for name in inside]
        columns = {"image": images, "label": [classes.index(label_in(name)) for name in inside]}
        columns |= {key: [value(name) for name in inside] for key, value in extra.items()}
        features = {"image": {"_type": "Image"}, "label": class_label(classes)}
        path = folder / f"part-{shard:05d}-of-{shards:05d}.parquet"
        parquet.write_table(hugging_face(features, columns), path, row_group_size=row_group)
    return folder


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member with this content."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_tar(root: Path, folder: Path, shards: int = 2, as_json: bool = False, key: str = "label") -> Path:
    """WebDataset shards: an image and its .cls, or .json, a sample."""
    folder.mkdir(parents=True, exist_ok=True)
    names = names_in(root)
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:06d}.tar", "w") as archive:
            for name in names[shard::shards]:
                add(archive, name, (root / name).read_bytes())
                stem, label = name.rpartition(".")[0], label_in(name)
                if as_json:
                    add(archive, f"{stem}.json", json.dumps({key: label, "more": [1]}).encode())
                else:
                    add(archive, f"{stem}.cls", label.encode())
    return folder
