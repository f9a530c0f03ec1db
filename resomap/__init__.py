"""ResoMap: which image classifier, at which input resolution?

The way of the data, one package a step:

    config -> cells (study, fingerprints) -> data (prepared images) -> models -> train <-> compute (checkpoints)
           -> evaluation -> cells (done marker) -> statistics -> summary (the map) -> report

Beside it: tracking sends each training to the tracker, cost measures each model, planning tells Snakemake what remains,
and commands has what the workflow's rules and a person call.

A package imports only packages of lower layers; pyproject.toml has their order (tool.importlinter), core at the bottom.
Importing this package imports neither torch, timm nor mlflow: the process that plans the grid stays light.
"""

__version__ = "0.1.0"

# Raised when the same settings would train to different numbers whatever the recipe: part of every fingerprint and of
# `base`. Where only some recipes would, `recipe_version` in resomap.config.hashed rises for them alone.
RECIPE_VERSION = 2
