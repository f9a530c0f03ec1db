"""Part of a cost measurement: figures that another job of the same run measured, `<resolution>.part.json`.

`results/cost/<kind>/<model>/<resolution>.part.json`, strict JSON: `plan` (see `resomap.cells.wanted`), and
`measurement`, the content of the measurement's file. It counts for the run that measured it alone: what is to be
measured anew in another run is measured. No rule lists it, because Snakemake deletes a job's outputs before the job
starts.
"""

from pathlib import Path
from typing import Any

from resomap.cells.measurement import Measurement
from resomap.core.files import read_json, write_json


def part_path(measurement: Measurement) -> Path:
    """Return the path of a measurement's part, beside its file."""
    return measurement.path.with_suffix(".part.json")


def write_part(measurement: Measurement, content: dict[str, Any], plan: str | None) -> None:
    """Keep the content of a measurement for its own job. Raises OSError."""
    write_json(part_path(measurement), {"plan": plan, "measurement": content})


def take_over(measurement: Measurement, settings: dict[str, Any], threads: int, plan: str | None) -> bool:
    """Make a part of this plan, settings and cores the measurement's file; return False where none fits.

    The part is removed either way.
    """
    part = read_json(part_path(measurement))
    content = part.get("measurement") if isinstance(part, dict) and plan and part.get("plan") == plan else None
    fits = isinstance(content, dict) and content.get("settings") == settings and content.get("threads") == threads
    if fits:
        write_json(measurement.path, content)
    part_path(measurement).unlink(missing_ok=True)
    return fits
