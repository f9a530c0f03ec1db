"""The grid as a table of numbers: one row a done cell, in the order of the grid."""

import csv
import io
from pathlib import Path
from typing import Any

from resomap.choice import within_margin
from resomap.files import write_text
from resomap.marker import is_valid, read_marker
from resomap.study import Study

COST = ("params", "flops", "train_seconds", "images_per_second", "peak_training_memory_bytes", "device")


def rows(study: Study) -> list[dict[str, Any]]:
    """A dict a done cell. Metrics are shares (0..1) but for losses (nats); `within_margin` compares validation
    quality with the best cell's, because every choice is made on validation."""
    done = []
    for cell, fingerprint in study.fingerprints().items():
        marker = read_marker(cell.marker)
        if marker is not None and is_valid(marker, cell, fingerprint):
            done.append(marker)
    judged = f"val/{study.config.report.metric}"
    values = [marker["metrics"].get(judged) for marker in done]
    near = within_margin(values, study.config.report.margin)
    return [
        {
            **{name: marker[name] for name in ("model", "resolution", "seed", "epochs", "exact", "origin")},
            **marker["metrics"],
            "within_margin": is_near,
            **{name: marker["cost"].get(name) for name in COST},
            "fingerprint": marker["fingerprint"],
        }
        for marker, is_near in zip(done, near, strict=True)
    ]


def write_summary(study: Study, path: Path) -> None:
    """Write the rows as CSV; undefined values are empty."""
    table = rows(study)
    names = dict.fromkeys(name for row in table for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_text(path, text.getvalue())
