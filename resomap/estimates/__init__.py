"""Estimates about trainings and runs before they end. Light: planning and status read them.

- `duration`: seconds that a training will take
- `memory_request`: main memory that a training asks a cluster for
- `device_memory`: memory that it takes of a GPU, and how many trainings share one
- `order`: the cell that trains first
- `outlook`: seconds until a run has done all it planned
"""
