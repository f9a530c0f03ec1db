"""`resomap status`: the grid as it stands, from small files alone, also while it trains and from another machine.

`collect` reads, `forecast` tells how long the rest will take, `table` draws, `show` brings it to a person or a program.
"""

from resomap.status.collect import CellStatus, State, collect, counts, summary_line
from resomap.status.forecast import seconds_to_go
from resomap.status.show import Watch, save_svg, show

__all__ = ["CellStatus", "State", "Watch", "collect", "counts", "save_svg", "seconds_to_go", "show", "summary_line"]
