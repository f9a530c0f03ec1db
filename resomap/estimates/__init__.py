"""Estimates about trainings before they run. Light: planning and status read them.

- `duration`: seconds that a training will take
- `memory_request`: main memory that a training asks a cluster for
- `order`: the cell that trains first
"""
