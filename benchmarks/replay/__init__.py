"""Replays of recorded grids, by which decision rules are judged on real trainings: `python -m benchmarks.replay`.

- `redraw`: maps drawn anew from a recorded grid, with their truth
- `rules`: decision rules under one interface
- `judge`: what a rule's answers were worth, with errors clustered by grid
"""
