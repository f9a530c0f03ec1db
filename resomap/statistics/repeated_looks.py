"""Error rates of a map that is looked at again after more seeds were trained.

"More seeds" is the advice of an undecided map, and whoever follows it looks at ten maps in place of one: with 5 % at
each look, a map without any effect made a claim at one of the looks from 2 to 10 seeds in 15 to 19 of 100 cases. So the
chance of error is spent by a fixed function of the number of seeds, as in group sequential tests (Lan & DeMets 1983,
Biometrika 70:659): the map stays a pure function of its files, and no history of looks is kept.
"""

import math

CONFIDENCE = 0.95
# Chance of a false claim at the look with two seeds. Found by simulation (`python -m resomap.statistics`), with seeds
# that are all of the noise, where looks depend on each other least.
FIRST_LOOK = 0.02


def error_rate(seeds: int) -> float:
    """Return the chance of error of all claims together in a map with so many seeds a cell.

    One seed: 1 - CONFIDENCE; what is said then is said of those trained models alone and is no claim of resolutions.
    From two seeds on it falls, so that all looks from 2 to 10 seeds together err in at most 1 - CONFIDENCE of maps.
    """
    return 1 - CONFIDENCE if seeds < 2 else FIRST_LOOK / math.sqrt(seeds - 1)
