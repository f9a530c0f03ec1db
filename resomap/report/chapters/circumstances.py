"""Settings, software and machines of the trainings."""

from collections.abc import Iterable
from typing import Any

import yaml
from pydantic import BaseModel

from resomap.cells.learning_rate_choice import RateSearch
from resomap.config import Config
from resomap.core.files import read_json, strict_json
from resomap.core.text import first_few
from resomap.report.blocks import Code, Table, Words
from resomap.report.material import Material
from resomap.summary.evidence import Trained
from resomap.tracking.provenance import environment_path


def changed_settings(material: Material) -> Table | None:
    """Return the table of the keys whose values are not the defaults; None where all are."""
    rows = [
        [key, _said(value), _said(default)]
        for key, value, default in _differences(material.evidence.study.config, Config())
    ]
    if not rows:
        return None
    return Table(
        "Settings that are not the defaults",
        ["key", "here", "default"],
        rows,
        ["code", "code", "code"],
        "What each key means: config/README.md.",
    )


def all_settings(material: Material) -> Code:
    """Return the whole configuration as YAML."""
    values = material.evidence.study.config.model_dump(mode="json")
    return Code("The whole configuration", yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())


def environments(material: Material) -> Table | None:
    """Return the table of machines and versions that trained some of the grid; None where no record of any is here."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for one in material.evidence.trained:
        content = _environment(one)
        if content:
            device, *others = _told(content)
            told = (f"{device}, steps by CUDA graphs" if one.marker.graphs else device, *others)
            groups.setdefault(told, []).append(one.cell.name)
    if not groups:
        return None
    rows = [
        [*told, cells[0] if len(cells) == 1 else f"{len(cells)} trainings" + ("" if len(groups) == 1 else _some(cells))]
        for told, cells in groups.items()
    ]
    return Table(
        "Where the trainings ran",
        ["device", "host", "system", "Python", "torch, torchvision, timm", "ResoMap", "code", "which"],
        rows,
        ["text", "text", "text", "text", "text", "text", "code", "text"],
    )


def starting_weights(material: Material) -> Table | None:
    """Return the table of pretrained weights that trainings started from; None where all started at random."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in material.evidence.trained:
        if (weights := one.marker.weights) is not None:
            origin = str(weights.get("place") or "–"), str(weights.get("digest") or "–")
            groups.setdefault(origin, []).append(one.cell.name)
    if not groups:
        return None
    rows = [[*origin, f"{len(cells)}{_some(cells)}"] for origin, cells in sorted(groups.items())]
    return Table("Pretrained weights", ["origin", "digest", "trainings"], rows, ["code", "code", "text"])


def learning_rates(material: Material) -> list[Table | Words]:
    """Return the table of searched learning rates, each model's tried ones, and warnings; empty where all were given.

    A model whose trainings began with different rates is named: differences between its cells may come from them.
    """
    by_model: dict[str, dict[float, list[tuple[RateSearch, str]]]] = {}
    for one in material.evidence.trained:
        if (found := RateSearch.parse(one.marker.learning_rate_search)) is not None:
            by_model.setdefault(found.model, {}).setdefault(found.rate, []).append((found, one.cell.name))
    if not by_model:
        return []
    rows = [
        [model, f"{rate:g}", _tried(trained[0][0]), f"{len(trained)}{_some([cell for _, cell in trained])}"]
        for model, rates in by_model.items()
        for rate, trained in sorted(rates.items())
    ]
    table = Table(
        "Learning rates that were found",
        ["model", "rate", "tried: metric on training images held out", "trainings"],
        rows,
        ["code", "number", "text", "text"],
        "Short trainings with each rate, the same number of epochs for each model.",
        marked=frozenset(row for row, cells in enumerate(rows) if len(by_model[cells[0]]) > 1),
    )
    warnings = [
        Words(
            f"The trainings of {model} have different learning rates ({_listed(rates)}), of searches that ended "
            "otherwise: what differs between its cells may come from these."
        )
        for model, rates in by_model.items()
        if len(rates) > 1
    ]
    return [table, *warnings]


def _listed(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted(rates))


def _tried(found: RateSearch) -> str:
    """Return each rate with its value, for a cell of a table."""
    parts = [
        f"{float(rate):g}: " + (f"{trial['value']:.4f}" if isinstance(trial.get("value"), int | float) else "diverged")
        for rate, trial in found.tried.items()
    ]
    return f"{found.monitor} at {found.resolution} px, {found.epochs} epochs: {'; '.join(parts)}"


def packages(material: Material) -> Code | None:
    """Return every installed package of the newest training here; None where no record is here."""
    newest = sorted(material.evidence.trained, key=lambda one: one.marker.finished_at or 0)
    for one in reversed(newest):
        found = _environment(one).get("packages")
        if isinstance(found, dict) and found:
            lines = "\n".join(f"{name}=={version}" for name, version in found.items())
            return Code(f"All packages of {one.cell.name}", lines)
    return None


def _environment(one: Trained) -> dict[str, Any]:
    content = read_json(environment_path(one.cell))
    # The marker's own is shorter.
    return content if isinstance(content, dict) else dict(one.marker.environment or {})


def _told(content: dict[str, Any]) -> tuple[str, ...]:
    git: dict[str, Any] = content["git"] if isinstance(content.get("git"), dict) else {}
    commit = str(git.get("commit") or "–")[:10] + (" with changes" if git.get("dirty") else "")
    device = str(content.get("device") or "–")
    driver = content.get("nvidia_driver")
    return (
        f"{device}, driver {driver}" if driver else device,
        str(content.get("host") or "–"),
        str(content.get("system") or "–"),
        str(content.get("python") or "–"),
        ", ".join(str(content.get(name) or "–") for name in ("torch", "torchvision", "timm")),
        str(content.get("resomap") or "–"),
        commit,
    )


def _some(cells: list[str]) -> str:
    return f": {first_few(cells, 3)}"


def _differences(here: BaseModel, default: BaseModel, prefix: str = "") -> list[tuple[str, Any, Any]]:
    found = []
    for key in type(here).model_fields:
        value, usual = getattr(here, key), getattr(default, key)
        if isinstance(value, BaseModel):
            found += _differences(value, usual, f"{prefix}{key}.")
        elif value != usual:
            found.append((f"{prefix}{key}", value, usual))
    return found


def _said(value: Any) -> str:
    return value if isinstance(value, str) else strict_json(value, indent=None)
