"""Costs that were measured on other machines: `results/cost/<device>/<runtime>-<precision>-<threads>.json`.

One file has what one call of a kit measured, so figures of two runtimes, precisions or numbers of threads never share
one. It is the costs.json that was taken in, under the name that it was given. Light: planning reads it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.cells.costs_file import CPU, KINDS_HERE, CostsFile, parse_costs
from resomap.cells.measurement import DIRECTORY, SCHEMA
from resomap.cells.study import Study
from resomap.config.judging import Report
from resomap.config.values import DEVICE
from resomap.core.errors import ResomapError
from resomap.core.files import NotRegular, regular_bytes, write_json

Contents = dict[tuple[str, int], Mapping[str, Any]]


@dataclass(frozen=True)
class DeviceCosts:
    """Costs of one device, in one runtime, precision and number of threads."""

    path: Path
    costs: CostsFile

    @property
    def way(self) -> str:
        """Runtime, precision and threads for people."""
        return f"{self.costs.runtime_name} {self.costs.precision}, threads: {self.costs.threads}"

    def contents(self, study: Study, classes: int) -> Contents:
        """Return the figures of the study's networks by model and resolution, as measurements made here have them.

        Empty where they are of another number of classes or channels: such networks are not the study's.
        """
        costs, config = self.costs, study.config
        if (costs.classes, costs.channels) != (classes, config.data.input_channels):
            return {}
        shared: dict[str, Any] = {
            "schema": SCHEMA,
            "device_kind": "cpu" if costs.provider == CPU else "other",
            "device": costs.device,
            "classes": classes,
            "runtime": costs.runtime_name,
            "threads": costs.threads,
            "pinned_cores": costs.pinned_cores,
            "other_programs_cores": costs.other_programs_cores,
            "precision": costs.precision,
            "channels_last": False,
            "measured_at": costs.measured_at,
            "environment": {"onnxruntime": costs.runtime_version, "cpu": costs.cpu, "system": costs.system},
            "others": [],
        }
        return {
            (one.model, one.resolution): {**shared, **one.model_dump(exclude={"unsteady"})}
            for one in costs.cells
            if one.model in config.models and one.resolution in config.resolutions
        }


def place_of(costs: CostsFile) -> Path:
    """Return the path below the working directory at which costs are kept."""
    runtime = re.sub(r"[^A-Za-z0-9._-]", "-", costs.runtime_name)
    return DIRECTORY / costs.device / f"{runtime}-{costs.precision}-{costs.threads}.json"


def keep_costs(costs: CostsFile) -> DeviceCosts:
    """Write costs into their place, in place of earlier ones of the same device and way. Raises OSError."""
    path = place_of(costs)
    write_json(path, costs.model_dump(mode="json", by_alias=True))
    return DeviceCosts(path, costs)


def device_files() -> list[Path]:
    """Return the paths of all files of other machines' costs, by device."""
    folders = [one for one in DIRECTORY.glob("*") if DEVICE.fullmatch(one.name) and one.name not in KINDS_HERE]
    return sorted(path for folder in folders for path in folder.glob("*.json"))


def all_device_costs() -> list[DeviceCosts]:
    """Return the costs of all other machines. Raises ResomapError for a file that was damaged or put there by hand."""
    found = []
    for path in device_files():
        try:
            costs = parse_costs(regular_bytes(path), str(path))
        except (FileNotFoundError, IsADirectoryError, NotRegular):
            continue
        if place_of(costs) != path:
            raise ResomapError(
                f"{path} is of another device, runtime or threads than its name says; remove it, and take it in with "
                "`resomap cost-import`"
            )
        found.append(DeviceCosts(path, costs))
    return found


def is_elsewhere(report: Report) -> bool:
    """Return True where the costs of another machine are to decide."""
    return report.device is not None and report.device not in KINDS_HERE


def named_costs(report: Report) -> list[DeviceCosts]:
    """Return the costs of the machine that the report names, in its runtime and threads; those of most threads first.

    Raises ResomapError with what there is, where there are none.
    """
    known = all_device_costs()
    of_device = [one for one in known if one.costs.device == report.device]
    if not of_device:
        names = ", ".join(dict.fromkeys(one.costs.device for one in known)) or "of no other machine than this one"
        raise ResomapError(
            f"report.device is {report.device}, and no costs of it are here (there are: {names}); take its costs.json "
            "in with `resomap cost-import`, or leave the key out"
        )
    found = [
        one
        for one in of_device
        if runs_in(one.costs.runtime_name, report.runtime) and report.threads in (None, one.costs.threads)
    ]
    if not found:
        wanted = " and ".join(
            f"report.{name} is {value}"
            for name, value in (("runtime", report.runtime), ("threads", report.threads))
            if value is not None
        )
        ways = "; ".join(one.way for one in of_device)
        raise ResomapError(f"{wanted}, and {report.device} was measured in other ways ({ways}); name one of them")
    return sorted(found, key=lambda one: (one.costs.runtime_name != report.runtime, -one.costs.threads))


def runs_in(runtime: str, wanted: str | None) -> bool:
    """Return True if a runtime is the wanted one, whatever it computes by: `torch` is `torch eager` too."""
    return wanted is None or runtime.split(" ")[0] == wanted or runtime == wanted
