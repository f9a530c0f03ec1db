"""Forecasts of the time to go, replayed on recorded timelines of real runs: the table of docs/speed.md.

    python -m benchmarks.forecasts

A recording is `.resomap/timeline.jsonl` of a finished run. At each end of a job from the second finished training on,
the forecast is compared with the time that the run then took.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

from resomap.cells.timeline import Event, read
from resomap.estimates.outlook import Outlook

RECORDED = Path(__file__).parent / "timelines"
FIRST_CELL = 2  # finished trainings before the first forecast that is judged
LEAST_SECONDS = 1.0  # to go, below which a share says nothing


@dataclass(frozen=True)
class Forecast:
    """Forecast at one moment of a run. Times in seconds."""

    at: float  # since the run's beginning
    trained: int  # cells
    said: float
    took: float

    @property
    def error(self) -> float:
        """Difference to what it took, as a share of that."""
        return abs(self.said - self.took) / self.took


def recordings() -> list[Path]:
    """Return the recorded timelines."""
    return sorted(RECORDED.glob("*.jsonl"))


def replay(events: list[Event]) -> list[Forecast]:
    """Return the forecasts of a recorded run, in their order."""
    outlook, trained, found = Outlook([]), 0, []
    last = events[-1].at
    for event in events:
        outlook.take(event)
        trained += event.training is not None
        said = outlook.seconds_to_go(event.at)
        if event.kind == "done" and trained >= FIRST_CELL and said is not None and last - event.at >= LEAST_SECONDS:
            found.append(Forecast(event.at - events[0].at, trained, said, last - event.at))
    return found


def median_error(forecasts: list[Forecast]) -> float:
    """Return the median of the errors."""
    return statistics.median(forecast.error for forecast in forecasts)


def main() -> None:
    """Print a Markdown table, a row for each recording."""
    print("| recording | cells | wall, s | forecasts | median error | worst |")
    print("|---|---|---|---|---|---|")
    for path in recordings():
        events = read(path)
        forecasts = replay(events)
        cells, worst = forecasts[-1].trained, max(forecast.error for forecast in forecasts)
        wall = events[-1].at - events[0].at
        print(
            f"| {path.stem} | {cells} | {wall:.0f} | {len(forecasts)} | {median_error(forecasts):.0%} | {worst:.0%} |"
        )


if __name__ == "__main__":
    main()
