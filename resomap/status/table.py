"""The grid as a table of models and resolutions, with lists of the running, failed and waiting trainings below."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from resomap.cells.progress import figures
from resomap.status.collect import CellStatus, summary_line

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

NAME_WIDTH = 24  # mobilenetv4_conv_small and a space
COLUMN_WIDTH = 11  # a value with its signs, or `epoch 12/25`
STYLES = {"done": "", "running": "cyan", "failed": "bold red", "waiting": "dim"}
LISTED = 20  # trainings of one state that are listed: a grid of a thousand must leave its table on the screen
ANSWER = ">"  # before the value of the cell that the map recommends


def render(
    statuses: list[CellStatus],
    metric: str,
    margin: float,
    width: int = 80,
    seconds: float | None = None,
) -> "Group":
    """Return table, legend, lists of cells and the summary line, for a console of `width` columns.

    `seconds` is the time until the sweep is done, where that is known.
    """
    from rich.console import Group
    from rich.text import Text

    winners = [status for status in statuses if status.is_winner]
    statuses = [status for status in statuses if not status.is_winner]
    parts: list[Any] = list(_matrices(statuses, metric, width))
    parts += [Text(line, style="dim") for line in _legend(statuses, margin)]
    by_state = {state: [status for status in statuses if status.state == state] for state in STYLES}
    noted = [status for status in by_state["waiting"] if status.note]
    parts += _listed("running", [[Text(f"  {_running(status)}")] for status in by_state["running"]])
    parts += _listed("failed", [list(_failed(status)) for status in by_state["failed"]])
    parts += _listed("waiting", [[Text(f"  {status.name}  {status.note}")] for status in noted])
    parts += _listed("winner", [_winner(status, metric) for status in winners])
    return Group(*parts, Text(f"\n{summary_line(statuses, seconds)}", style="bold"))


def _listed(title: str, entries: list[list[Any]]) -> Iterable[Any]:
    """Yield a heading and its entries; of many only the first ones."""
    from rich.text import Text

    if not entries:
        return
    yield Text(f"\n{title}", style="bold")
    for lines in entries[:LISTED]:
        yield from lines
    if len(entries) > LISTED:
        yield Text(f"  and {len(entries) - LISTED} more; `resomap status --json` has all", style="dim")


def _matrices(statuses: list[CellStatus], metric: str, width: int) -> Iterable["Table"]:
    """Yield the table, in several parts where the width does not hold all resolutions."""
    from rich.table import Table
    from rich.text import Text

    models = list(dict.fromkeys(status.cell.model for status in statuses))
    resolutions = sorted({status.cell.resolution for status in statuses})
    per_table = max(1, (width - NAME_WIDTH) // COLUMN_WIDTH)
    by_position: dict[tuple[str, int], list[CellStatus]] = {}
    for status in statuses:
        by_position.setdefault((status.cell.model, status.cell.resolution), []).append(status)
    for start in range(0, len(resolutions), per_table):
        table = Table(title=f"validation {metric}", title_justify="left", box=None, padding=(0, 1, 0, 0))
        table.add_column("model", min_width=12, max_width=NAME_WIDTH - 1, overflow="fold")
        shown = resolutions[start : start + per_table]
        for resolution in shown:
            table.add_column(f"{resolution} px", justify="right", min_width=COLUMN_WIDTH - 1, no_wrap=True)
        for model in models:
            squares = [_square(by_position.get((model, resolution), [])) for resolution in shown]
            table.add_row(Text(model), *(Text(text, style=style) for text, style in squares))
        yield table


def _square(statuses: Sequence[CellStatus]) -> tuple[str, str]:
    """Return text and style of one cell of the map: its training, or the mean of its folds and seeds."""
    if not statuses:
        return "", ""
    text, style = _value(statuses)
    return (f"{ANSWER}{text}", f"bold {style}".strip()) if statuses[0].is_recommended else (text, style)


def _value(statuses: Sequence[CellStatus]) -> tuple[str, str]:
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
    answer = next((status.cell.map_position for status in statuses if status.is_recommended), None)
    if answer is not None:
        yield f"{ANSWER} the answer of the map: {answer}"
    best = next((status for status in statuses if status.is_best and status.cell.fold is None), None)
    if best is not None and best.value is not None:
        test = "" if best.test is None else f" (test {best.test:.3f})"
        yield f"* by validation within {margin:g} of the best, {best.name} with {best.value:.3f}{test}"
        yield "  (single trainings: with another seed a star may move; see `resomap map`)"
    if any(status.origin == "tracker" for status in statuses):
        yield "t trained elsewhere, known from the tracker"
    if any(status.is_exact is False for status in statuses):
        yield "~ not exactly repeatable; the reason is in its marker"
    if any(status.state == "waiting" for status in statuses):
        yield ". waiting"


def _running(status: CellStatus) -> str:
    progress = status.progress
    if progress is None:
        return status.name
    parts = [f"{status.name}  epoch {progress.epoch}/{progress.epochs}"]
    if progress.state != "training":
        parts.append(progress.state)
    job = f", Slurm job {progress.job}" if progress.job else ""
    return ", ".join([*parts, *figures(progress), f"{progress.device} on {progress.host}{job}"])


def _winner(status: CellStatus, metric: str) -> list[Any]:
    from rich.text import Text

    if status.state == "running":
        return [Text(f"  {_running(status)}")]
    if status.state == "failed":
        return list(_failed(status))
    tested = "" if status.test is None else f", test {metric} {status.test:.3f}"
    words = f"done{tested}" if status.state == "done" else status.note or "chosen, not trained yet"
    return [Text(f"  {status.name}  {words}")]


def _failed(status: CellStatus) -> Iterable[Any]:
    from rich.text import Text

    failure = status.failure
    if failure is None:
        return
    yield Text(f"  {status.name}  {failure.reason}", style="red")
    yield Text(f"    log     {failure.log}")
    yield Text(f"    resume  {failure.resume}")
