"""Record of an explanation, `results/explain/<model>.json` beside its picture: whose maps the picture has.

schema, model     the model
layer             module of the network whose places were mapped
trainings         {cell: uid} of the trainings, from the lowest resolution to the highest
images            names of the test images
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resomap.core.files import read_json
from resomap.core.json_object import JsonObject

DIRECTORY = Path("results") / "explain"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ExplanationRecord(JsonObject):
    """Content of the file."""

    schema: int
    model: str
    layer: str
    trainings: Mapping[str, str]
    images: tuple[str, ...]


def picture_path(name: str) -> Path:
    """Return the path of the picture of a model or a cell."""
    return DIRECTORY / f"{name}.png"


def explanations() -> list[tuple[ExplanationRecord, Path]]:
    """Return the records that are here, by name, each with the path of its picture."""
    found = []
    for path in sorted(DIRECTORY.glob("*.json")):
        record = ExplanationRecord.parse(read_json(path))
        if record is not None and record.schema == SCHEMA and (picture := path.with_suffix(".png")).is_file():
            found.append((record, picture))
    return found
