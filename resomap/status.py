"""The grid as it stands: which cells are done, running, failed or waiting. Reads small files only."""

import dataclasses
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from resomap.cell import Cell
from resomap.choice import within_margin
from resomap.files import read_json, strict_json
from resomap.marker import is_valid, read_marker
from resomap.progress import Failure, Progress, duration, is_alive
from resomap.tracking.elsewhere import Elsewhere, note_path

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

State = Literal["done", "running", "failed", "waiting"]

NAME_WIDTH = 24  # mobilenetv4_conv_small and a space
COLUMN_WIDTH = 11  # a value with its signs, or `epoch 12/25`
STYLES = {"done": "", "running": "cyan", "failed": "bold red", "waiting": "dim"}


@dataclass
class CellStatus:
    """One cell as it stands. `value` is its test metric: None where it is not done or the metric undefined."""

    cell: Cell
    state: State
    note: str = ""
    value: float | None = None
    validation: float | None = None  # the same metric on the validation split: what choices are made on
    is_best: bool = False  # by validation
    is_near_best: bool = False  # within the margin of the best by validation, the best itself included
    origin: str | None = None  # local | tracker
    is_exact: bool | None = None
    progress: Progress | None = None
    failure: Failure | None = None

    def as_dict(self) -> dict[str, Any]:
        """The status for JSON; nested parts keep their files' keys."""
        content = {**dataclasses.asdict(self), "cell": self.cell.name}
        return {
            "model": self.cell.model,
            "resolution": self.cell.resolution,
            "seed": self.cell.seed,
            **content,
        }


def collect(cells: Iterable[Cell], fingerprints: Mapping[Cell, str], metric: str, margin: float) -> list[CellStatus]:
    """The status of each cell, in their order.

    `metric` is the part after `test/` (higher is better), `margin` the accepted deficit to the best cell on
    the validation split.
    Paths start at the working directory.
    """
    statuses = [_status(cell, fingerprints[cell], metric) for cell in cells]
    judged = [status.validation for status in statuses]
    best = max((value for value in judged if value is not None), default=None)
    for status, is_near in zip(statuses, within_margin(judged, margin), strict=True):
        status.is_near_best = is_near
        status.is_best = is_near and status.validation == best
    return statuses


def counts(statuses: Iterable[CellStatus]) -> dict[str, int]:
    """Cells by state, and `remaining`: those that are neither done nor failed nor running."""
    found = Counter(status.state for status in statuses)
    return {
        "completed": found["done"],
        "failed": found["failed"],
        "running": found["running"],
        "remaining": found["waiting"],
    }


def summary_line(statuses: Iterable[CellStatus]) -> str:
    """`31 completed, 1 failed, 2 running, 6 remaining`."""
    return ", ".join(f"{count} {name}" for name, count in counts(statuses).items())


def show(
    statuses: list[CellStatus],
    *,
    metric: str,
    margin: float,
    as_json: bool = False,
    watch_seconds: float | None = None,
    refresh: Callable[[], list[CellStatus]] | None = None,
    stream: IO[str] | None = None,
) -> None:
    """Write the grid to `stream` (stdout): a table of models and resolutions, or JSON.

    With `watch_seconds` and `refresh` it is drawn anew until nothing runs any more, or until Ctrl-C.
    """
    from rich.console import Console
    from rich.live import Live

    stream = stream or sys.stdout
    if as_json:
        stream.write(as_json_text(statuses, metric, margin) + "\n")
        return
    # A pipe has no width of its own, and rich would fold the commands that people copy.
    console = Console(file=stream, highlight=False, soft_wrap=not stream.isatty())
    if not watch_seconds or refresh is None:
        console.print(render(statuses, metric, margin, console.width))
        return
    try:
        with Live(render(statuses, metric, margin, console.width), console=console, auto_refresh=False) as live:
            while any(status.state == "running" for status in statuses):
                time.sleep(watch_seconds)
                statuses = refresh()
                live.update(render(statuses, metric, margin, console.width), refresh=True)
    except KeyboardInterrupt:
        return  # how a person ends watching; the trainings are other processes


def as_json_text(statuses: list[CellStatus], metric: str, margin: float) -> str:
    """`{"metric", "margin", "counts", "cells"}` as strict JSON."""
    return strict_json(
        {
            "metric": f"test/{metric}",
            "margin": margin,
            "counts": counts(statuses),
            "cells": [status.as_dict() for status in statuses],
        }
    )


def save_svg(statuses: list[CellStatus], path: Path, title: str, *, metric: str, margin: float) -> None:
    """The table as a picture, 80 columns wide. Raises OSError."""
    import io

    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(render(statuses, metric, margin, console.width))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without rich's web font: a picture that is looked at off-line asks nobody.
    template = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(path), title=title, code_format=template)


def render(statuses: list[CellStatus], metric: str, margin: float, width: int = 80) -> "Group":
    """Matrix, legend, running and failed cells, and the summary line, for a console of `width` columns."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = list(_matrices(statuses, metric, width))
    parts += [Text(line, style="dim") for line in _legend(statuses, margin)]
    running = [status for status in statuses if status.state == "running"]
    if running:
        parts += [Text("\nrunning", style="bold"), *(Text(f"  {_running(status)}") for status in running)]
    failed = [status for status in statuses if status.state == "failed"]
    if failed:
        parts.append(Text("\nfailed", style="bold"))
        parts += [line for status in failed for line in _failed(status)]
    noted = [status for status in statuses if status.state == "waiting" and status.note]
    if noted:
        parts.append(Text("\nwaiting", style="bold"))
        parts += [Text(f"  {status.cell.name}  {status.note}") for status in noted]
    return Group(*parts, Text(f"\n{summary_line(statuses)}", style="bold"))


def _status(cell: Cell, fingerprint: str, metric: str) -> CellStatus:
    marker = read_marker(cell.marker)
    if marker is not None and is_valid(marker, cell, fingerprint):
        exact = marker["exact"] is True
        reasons = marker.get("exact_reasons") or []
        return CellStatus(
            cell,
            "done",
            note="" if exact else "; ".join(map(str, reasons)) or "not exactly repeatable",
            value=marker["metrics"].get(f"test/{metric}"),
            validation=marker["metrics"].get(f"val/{metric}"),
            origin=marker["origin"],
            is_exact=exact,
        )
    progress = Progress.read(cell.beside_marker("progress.json"))
    if progress is not None and is_alive(progress):
        return CellStatus(cell, "running", progress=progress)
    failure = Failure.read(cell.beside_marker("failed.json"))
    is_last_word = failure is not None and (progress is None or failure.at >= progress.started_at)
    other = Elsewhere.read(note_path(cell))
    if other is not None and other.fingerprint == fingerprint and (failure is None or other.seen_at > failure.at):
        return CellStatus(cell, "waiting", note=str(other) if other.is_fresh else f"it was {other}")
    if failure is not None and failure.fingerprint == fingerprint and is_last_word:
        return CellStatus(cell, "failed", note=failure.reason, failure=failure)
    return CellStatus(cell, "waiting", note=_why_waiting(cell, marker, progress))


def _why_waiting(cell: Cell, marker: Mapping[str, Any] | None, progress: Progress | None) -> str:
    if progress is not None:
        return f"interrupted after epoch {progress.epoch}/{progress.epochs}; goes on from its checkpoint"
    if marker is not None:
        return "settings changed"
    if cell.marker.exists():
        held = read_json(cell.marker)
        return "marker is damaged" if held is None else "marker lacks what a marker needs"
    return ""


def _matrices(statuses: list[CellStatus], metric: str, width: int) -> Iterable["Table"]:
    """As many tables as the width asks for, each with some of the resolutions."""
    from rich.table import Table
    from rich.text import Text

    models = list(dict.fromkeys(status.cell.model for status in statuses))
    resolutions = sorted({status.cell.resolution for status in statuses})
    per_table = max(1, (width - NAME_WIDTH) // COLUMN_WIDTH)
    by_position: dict[tuple[str, int], list[CellStatus]] = {}
    for status in statuses:
        by_position.setdefault((status.cell.model, status.cell.resolution), []).append(status)
    for start in range(0, len(resolutions), per_table):
        table = Table(title=f"test {metric}", title_justify="left", box=None, padding=(0, 1, 0, 0))
        table.add_column("model", min_width=12, max_width=NAME_WIDTH - 1, overflow="fold")
        shown = resolutions[start : start + per_table]
        for resolution in shown:
            table.add_column(f"{resolution} px", justify="right", min_width=COLUMN_WIDTH - 1, no_wrap=True)
        for model in models:
            squares = [_square(by_position.get((model, resolution), [])) for resolution in shown]
            table.add_row(Text(model), *(Text(text, style=style) for text, style in squares))
        yield table


def _square(statuses: Sequence[CellStatus]) -> tuple[str, str]:
    """Text and style of one place of the map: one cell, or the seeds' mean and how many of them are done."""
    if not statuses:
        return "", ""
    if len(statuses) == 1:
        return _single(statuses[0])
    values = [status.value for status in statuses if status.value is not None]
    states = [status.state for status in statuses]
    if not values:
        state = next((state for state in ("failed", "running") if state in states), states[0])
        return {"failed": "failed", "running": "running"}.get(state, "."), STYLES[state]
    done = "" if len(values) == len(statuses) else f" {len(values)}/{len(statuses)}"
    return f"{sum(values) / len(values):.3f}{done}", ""


def _single(status: CellStatus) -> tuple[str, str]:
    if status.state == "done":
        signs = f"{'*' * status.is_near_best}{'t' * (status.origin == 'tracker')}{'~' * (not status.is_exact)}"
        text = "undefined" if status.value is None else f"{status.value:.3f}"
        # Values stay in line whatever follows them.
        return f"{text}{signs:<3}", "bold green" if status.is_best else "green" if status.is_near_best else ""
    if status.state == "running" and status.progress:
        return f"{status.progress.epoch}/{status.progress.epochs}", STYLES["running"]
    return {"failed": "failed", "running": "running"}.get(status.state, "."), STYLES[status.state]


def _legend(statuses: list[CellStatus], margin: float) -> Iterable[str]:
    best = next((status for status in statuses if status.is_best), None)
    if best is not None and best.validation is not None:
        yield f"* by validation within {margin:g} of the best, {best.cell.name} with {best.validation:.3f}"
    if any(status.origin == "tracker" for status in statuses):
        yield "t trained elsewhere, known from the tracker"
    if any(status.is_exact is False for status in statuses):
        yield "~ not exactly repeatable; the reason is in its marker"
    if any(status.state == "waiting" for status in statuses):
        yield ". waiting"


def _running(status: CellStatus) -> str:
    progress = status.progress
    if progress is None:
        return status.cell.name
    parts = [f"{status.cell.name}  epoch {progress.epoch}/{progress.epochs}"]
    if progress.state != "training":
        parts.append(progress.state)
    if progress.value is not None:
        parts.append(f"val {progress.value:.3f}")
    if progress.images_per_second is not None:
        parts.append(f"{progress.images_per_second:.0f} images/s")
    if progress.eta_seconds is not None:
        parts.append(f"ETA {duration(progress.eta_seconds)}")
    return ", ".join([*parts, f"{progress.device} on {progress.host}"])


def _failed(status: CellStatus) -> Iterable[Any]:
    from rich.text import Text

    failure = status.failure
    if failure is None:
        return
    yield Text(f"  {status.cell.name}  {failure.reason}", style="red")
    yield Text(f"    log     {failure.log}")
    yield Text(f"    resume  {failure.resume}")
