"""Costs by which the map decides: those of the kind of device that trains, or of the machine that the report names."""

from collections.abc import Mapping
from typing import Any

from resomap.cells.costs_file import KINDS_HERE
from resomap.cells.device_costs import is_elsewhere, named_costs, runs_in
from resomap.cells.measurement import EAGER, KINDS, class_count, measurements
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.statistics import Position
from resomap.summary.trained import Missing

Contents = dict[Position, Mapping[str, Any]]


def decisive_costs(study: Study, kind: str | None, missing: list[Missing]) -> Contents:
    """Return the measurements that decide, by square, and note in `missing` those that are not there.

    `kind` of this study's own devices, where the configuration names none; None: the one with the most measurements.
    Raises ResomapError where the configuration names a machine or a way that nothing was measured on.
    """
    report = study.config.report
    try:
        classes = class_count(study.config.data)
    except ResomapError as error:
        classes, reason = 0, str(error)
    else:
        reason = "not measured yet; `snakemake results/costs.csv` does it"
    if is_elsewhere(report):
        found = _elsewhere(study, classes)
        reason = f"not measured on {report.device}; write a kit that has it (`resomap cost-kit`)"
    else:
        kinds = [report.device] if report.device in KINDS_HERE else [kind] if kind else KINDS
        of_kinds = [own_costs(study, one, classes) for one in kinds]
        found = _in_runtime(max(of_kinds, key=len), report.runtime)
    for model in study.config.models:
        for resolution in study.config.resolutions:
            content = found.get((model, resolution))
            why = reason if content is None else "; ".join(content["reasons"].values())
            can_come = content is None and not is_elsewhere(report)
            if why:
                missing.append(Missing(model, resolution, None, None, "cost", why, can_come=can_come))
    return found


def own_costs(study: Study, kind: str, classes: int) -> Contents:
    """Return the measurements of this study's own devices of a kind, under the present settings."""
    read = {(one.model, one.resolution): one.kept(study, classes) for one in measurements(study, kind)}
    return {position: content for position, content in read.items() if content is not None}


def in_ways(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of a measurement once for each runtime and precision, those of the first at the front."""
    others = content.get("others") or []
    return [dict(content), *({**content, **one, "others": []} for one in others)]


def _elsewhere(study: Study, classes: int) -> Contents:
    report = study.config.report
    for one in named_costs(report):
        if contents := one.contents(study, classes):
            return contents
    raise ResomapError(
        f"the costs of {report.device} are of other networks than this study's; measure there with a kit of this study "
        "(`resomap cost-kit DIR`)"
    )


def _in_runtime(contents: Contents, runtime: str | None) -> Contents:
    """Return the measurements in a runtime. Raises ResomapError where there are some, and none in that one."""
    if runtime is None or not contents:
        return contents
    ways = {position: in_ways(content) for position, content in contents.items()}
    found = {
        position: next((one for one in of_cell if runs_in(str(one.get("runtime") or EAGER), runtime)), None)
        for position, of_cell in ways.items()
    }
    kept: Contents = {position: one for position, one in found.items() if one is not None}
    if not kept:
        names = ", ".join(
            dict.fromkeys(str(one.get("runtime") or EAGER) for of_cell in ways.values() for one in of_cell)
        )
        raise ResomapError(
            f"report.runtime is {runtime}, and costs were measured in others ({names}); name one of them, or add it to "
            "cost.runtimes"
        )
    return kept
