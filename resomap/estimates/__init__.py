"""Estimates about trainings and runs before they end. Light: planning and status read them.

- `duration`: seconds that a training will take
- `memory_request`: main memory that a training asks a cluster for
- `order`: the cell that trains first
- `outlook`: seconds until a run has done all it planned
"""
