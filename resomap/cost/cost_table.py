"""Table of all measurements of a grid, results/costs.csv: a row a model, a resolution, a device and a runtime."""

from pathlib import Path
from typing import Any

from resomap.cells.device_costs import all_device_costs
from resomap.cells.measurement import KINDS, measurements
from resomap.cells.study import Study
from resomap.core.files import write_csv

# Names carry their units; docs/cost.md has the meaning of each. The same keys stand in the JSON of a measurement.
# Those that each runtime has of its own:
OF_RUNTIMES = (
    *("runtime", "threads", "pinned_cores", "precision", "channels_last", "file_bytes"),
    *("latency_ms_median", "latency_ms_q1", "latency_ms_q3", "latency_runs"),
    *("end_to_end_ms_median", "end_to_end_ms_q1", "end_to_end_ms_q3", "end_to_end_runs", "image"),
    *("best_batch", "best_batch_limit"),
    *("throughput_images_per_second_median", "throughput_images_per_second_q1", "throughput_images_per_second_q3"),
    *("throughput_runs", "peak_memory_bytes_batch_1", "peak_memory_bytes_best_batch", "memory_method"),
)
COLUMNS = (
    *("model", "resolution", "device_kind", "device", "classes", "params", "flops", "activations", "weights_bytes"),
    *OF_RUNTIMES,
    *("measured_at", "reasons"),
)


def rows(study: Study, classes: int) -> list[dict[str, Any]]:
    """Return a dict for each runtime of each measurement under the present settings, keys as in COLUMNS.

    Undefined is None. All kinds of device are in it, and what was taken in from other machines: figures compare only
    where device, runtime, threads and precision are the same.
    """
    found = []
    for kind in KINDS:
        for measurement in measurements(study, kind):
            content = measurement.kept(study, classes)
            if content is not None:
                of_runtimes = [content, *({**content, **one} for one in content.get("others", []))]
                found += [{name: one.get(name) for name in COLUMNS} for one in of_runtimes]
    for costs in all_device_costs():
        found += [{name: one.get(name) for name in COLUMNS} for one in costs.contents(study, classes).values()]
    return found


def write_table(study: Study, classes: int, path: Path) -> None:
    """Write the rows as CSV; undefined values are empty, reasons one text."""
    table = [
        {**row, "reasons": "; ".join(f"{what}: {why}" for what, why in row["reasons"].items())}
        for row in rows(study, classes)
    ]
    write_csv(path, table, COLUMNS)
