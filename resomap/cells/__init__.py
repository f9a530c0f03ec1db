"""Cells and studies: a cell's name, paths and fingerprint, and the small files that it leaves. Light: no torch.

- `cell`, `study`: one model at a resolution with a seed, and the grid of them with its configuration
- `marker`, `tags`: the done marker, and the tags of a run in the tracker with the marker as one of them
- `lock`, `progress`: one trainer a cell, and what a running or failed training says of itself
- `archive`: checkpoints and results of other settings, set aside under their fingerprint
- `predictions`, `evaluation_record`, `fetch_record`: predictions of a cell, and the records of evaluating and fetching
- `measurement`, `microbatch_choice`: a measurement of cost, and the microbatch found for a model
- `margin`: the cells within the margin of the best
"""
