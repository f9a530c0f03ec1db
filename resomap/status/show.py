"""Output of the status: a table on a terminal, drawn once or repeatedly; JSON; an SVG."""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

from resomap.core.files import strict_json
from resomap.status.collect import CellStatus, counts
from resomap.status.table import render

if TYPE_CHECKING:
    from rich.console import Group

IDLE_SECONDS = 60.0
Forecast: TypeAlias = Callable[[list[CellStatus]], float | None]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Repeated look at the grid."""

    seconds: float  # between two looks
    refresh: Callable[[], list[CellStatus]]  # collects the grid anew
    runs_on: Callable[[], bool] = lambda: False  # whether Snakemake runs here, which evaluates behind the last training


def show(
    statuses: list[CellStatus],
    *,
    metric: str,
    margin: float,
    as_json: bool = False,
    watch: Watch | None = None,
    stream: IO[str] | None = None,
    forecast: Forecast = lambda _statuses: None,
) -> None:
    """Write the grid to `stream` (stdout): a table of models and resolutions, or JSON.

    With `watch` it is drawn anew as long as Snakemake runs here. Where it does not (on a cluster's other machines,
    perhaps), until every cell is done or failed, or nothing has run for a minute (between two cells nothing runs for a
    moment). Ctrl-C ends it too. `forecast` gives the seconds to go.
    """
    from rich.console import Console
    from rich.live import Live

    stream = stream or sys.stdout
    if as_json:
        stream.write(as_json_text(statuses, metric, margin, forecast(statuses)) + "\n")
        return
    # A pipe has no width of its own, and rich would fold the commands that people copy.
    console = Console(file=stream, highlight=False, soft_wrap=not stream.isatty())

    def drawn() -> "Group":
        return render(statuses, metric, margin, console.width, forecast(statuses))

    if watch is None:
        console.print(drawn())
        return
    try:
        with Live(drawn(), console=console, auto_refresh=False) as live:
            ran_at = time.monotonic()
            while (runs_on := watch.runs_on()) or any(status.state in ("running", "waiting") for status in statuses):
                if runs_on or any(status.state == "running" for status in statuses):
                    ran_at = time.monotonic()
                if time.monotonic() - ran_at > IDLE_SECONDS:
                    break
                time.sleep(watch.seconds)
                statuses = watch.refresh()
                live.update(drawn(), refresh=True)
    except KeyboardInterrupt:
        return  # how a person ends watching; the trainings are other processes


def as_json_text(statuses: list[CellStatus], metric: str, margin: float, seconds: float | None = None) -> str:
    """Return the status as strict JSON with the keys metric, margin, counts, eta_seconds, winner and cells.

    `metric` names the `value` of the cells, which is of the validation split; `test` beside it is of the test split.
    """
    return strict_json(
        {
            "metric": f"val/{metric}",
            "margin": margin,
            "counts": counts(statuses),
            "eta_seconds": seconds,
            "winner": next((status.as_dict() for status in statuses if status.is_winner), None),
            "cells": [status.as_dict() for status in statuses if not status.is_winner],
        }
    )


def save_svg(
    statuses: list[CellStatus],
    path: Path,
    title: str,
    *,
    metric: str,
    margin: float,
    forecast: Forecast = lambda _statuses: None,
) -> None:
    """Save the table as an SVG, 80 columns wide. Raises OSError where it cannot be written."""
    import io

    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(render(statuses, metric, margin, console.width, forecast(statuses)))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without rich's web font: a picture that is looked at off-line asks nobody.
    template = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(path), title=title, code_format=template)
