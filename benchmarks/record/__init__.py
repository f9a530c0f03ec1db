"""Recording of grids of real trainings, on which decision and stopping rules are judged: `python -m benchmarks.record`.

- `grids`: the grids, their models, resolutions, seeds and recipes
- `image_sets`, `real_images`, `textures`, `shapes`: their images
- `cell_training`: one training, by the package's own loop
- `recorder`: all trainings of a grid, one after the other, resumable
- `compact`: log-probabilities in few bytes
- `recorded_grid`: the files of a grid, and the reader of them
"""
