"""Merge configuration files and command-line values, and validate them: every mistake is one ResomapError."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from resomap.config.documents import read_document, require_bounded
from resomap.config.messages import section_of, sentence
from resomap.config.recipes import recipe_values
from resomap.config.schema import Config, Data, Training
from resomap.core.errors import ResomapError
from resomap.models.index import COLOURS

T = TypeVar("T", bound=BaseModel)

OVERRIDE_TARGET = re.compile(r"[^@\s/]+(@[1-9][0-9]*)?")
# A resolution, and a single fold and seed, too.
PRIORITY_TARGET = re.compile(r"[^@\s/]+(@[1-9][0-9]*(\.fold[0-9]+)?(\.seed[0-9]+)?)?")


def load_config(*paths: Path) -> Config:
    """Return the configuration of several YAML files, later ones winning key by key.

    Raises ResomapError: a file is missing, is not YAML, or holds an unknown key or a wrong value.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged = merge(merged, read_document(path))
    return parse_config(merged)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `change` laid over it, section by section, as Snakemake does it; neither is altered."""
    merged = dict(base)
    for name, value in change.items():
        inner = merged.get(name)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(inner, value) if both else value  # type: ignore[arg-type]
    return merged


def parse_config(values: Mapping[str, Any]) -> Config:
    """Validate raw values (as Snakemake hands them over) against the schema and return the configuration.

    Raises ResomapError naming the first wrong key, what is wrong with it and the nearest valid name.
    """
    require_bounded(values)
    config = _parse(Config, values, "")
    _require_colour(config.data, config.training, "training")
    for target in config.overrides:
        if not OVERRIDE_TARGET.fullmatch(target):
            raise ResomapError(
                f"the configuration's overrides has '{target}', and must have a model or model@resolution, "
                "for example vgg11 or vgg11@320"
            )
        if "@" in target and "learning_rate_search" in config.overrides[target]:
            raise ResomapError(
                f"the configuration's overrides.{target} has learning_rate_search, and the search serves all cells of "
                f"a model; set it for {target.partition('@')[0]}"
            )
        _require_colour(config.data, training_for(config, target), f"overrides.{target}")
    for name in config.priority:
        if not PRIORITY_TARGET.fullmatch(name):
            raise ResomapError(
                f"the configuration's priority has '{name}', and must have models, resolutions, cells or trainings, "
                "for example vgg11, 224, vgg11@224 or vgg11@224.seed1"
            )
    return config


def training_for(config: Config, target: str) -> Training:
    """Return the recipe of `model` or `model@resolution` after its overrides (the model's first, then the cell's).

    An override that names a recipe starts from all its values.
    Raises ResomapError where an override does not fit the recipe.
    """
    kind, values = type(config.training), config.training.model_dump()
    model = target.partition("@")[0]
    for name in dict.fromkeys((model, target)):
        change = _without_empty_sections(kind, config.overrides.get(name, {}))
        values = merge(merge(values, recipe_values(change.get("recipe"))), change)
    return _parse(kind, values, f"overrides.{target}")


def _require_colour(data: Data, training: Training, where: str) -> None:
    """Raise ResomapError for changes of colour, and policies that have some, of images that have no colours."""
    if data.input_channels in (1, COLOURS):
        return
    augment = training.augment
    wanted = {"policy": augment.policy != "none", "saturation": augment.saturation > 0, "hue": augment.hue > 0}
    for name, is_wanted in wanted.items():
        if is_wanted:
            raise ResomapError(
                f"the configuration's {where}.augment.{name} is of grey or colour images, and data.channels is "
                f"{data.channels}; leave it out (flips, turns, crops, brightness, contrast, blur and erasing take any "
                "number of channels)"
            )


def _parse(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    try:
        return kind.model_validate(_without_empty_sections(kind, values))
    except ValidationError as error:
        raise ResomapError(sentence(kind, error, where)) from None


def _without_empty_sections(kind: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without empty sections: one whose keys are all commented out is None in YAML."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        field = kind.model_fields.get(name)
        inner = section_of(field.annotation) if field else None
        if name == "overrides" and isinstance(value, Mapping):
            value = {target: {} if change is None else change for target, change in value.items()}
        if value is None and (inner or name == "overrides"):
            continue
        kept[name] = _without_empty_sections(inner, value) if inner and isinstance(value, Mapping) else value
    return kept
