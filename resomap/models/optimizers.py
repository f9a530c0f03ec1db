"""Optimizers of timm's factory by name; `python -m resomap.models.optimizers` prints them as JSON."""

import json

from timm.optim import get_optimizer_info, list_optimizers


def survey() -> dict[str, bool]:
    """Return name -> whether a training can use it. Second-order ones need gradients of gradients, which none has."""
    return {str(name): not get_optimizer_info(str(name)).second_order for name in list_optimizers()}


if __name__ == "__main__":
    print(json.dumps(survey()))
