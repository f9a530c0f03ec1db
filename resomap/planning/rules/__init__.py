"""Answers to the workflow's rules while Snakemake plans: a module a step, named after it.

- `images`: rules data, images and stores
- `cost`: rules cost and costs
- `microbatch`, `learning_rate`, `features`: the rules of these names
- `model_step`: what the first two of these share
- `train`: rules train and model
- `fetch`: rule fetch
- `evaluate`: rules evaluate and evaluations
- `map`: rules map and report
- `winner`: rule winner
- `export`: rule export
"""
