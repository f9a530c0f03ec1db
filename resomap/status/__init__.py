"""Status of the grid (`resomap status`), from small files alone, also while it trains and from another machine.

- `collect`: the state of each cell: done, running, failed or waiting
- `forecast`: the seconds until all cells are done
- `table`: the grid as a table for a terminal
- `show`: output of the status to a terminal, as JSON or as an SVG
"""

from resomap.status.collect import CellStatus, State, collect, counts, summary_line, winner_status
from resomap.status.forecast import of_running_run, seconds_to_go
from resomap.status.show import Watch, save_svg, show

__all__ = [
    "CellStatus",
    "State",
    "Watch",
    "collect",
    "counts",
    "of_running_run",
    "save_svg",
    "seconds_to_go",
    "show",
    "summary_line",
    "winner_status",
]
