"""ResoMap: which image classifier, at which input resolution?

The way of the data, one package or module a step:

    config -> study (cells, fingerprints) -> data (prepared images) -> models -> train <-> checkpoint
           -> evaluation -> marker (done) -> results (tables) ; tracking runs beside the training

Importing this package imports neither torch, timm nor mlflow: the process that plans the grid stays light.
"""

__version__ = "0.1.0"

# Raised when the same settings would train to different numbers: part of every fingerprint.
RECIPE_VERSION = 2
