"""Optimizers of timm's factory: those by name, and whether one needs second derivatives.

`python -m resomap.models.optimizers` prints the names as JSON.
"""

import json

import torch
from timm.optim import get_optimizer_info, list_optimizers


def survey() -> dict[str, bool]:
    """Return name -> whether a training can use it. Second-order ones need gradients of gradients, which none has."""
    return {str(name): not get_optimizer_info(str(name)).second_order for name in list_optimizers()}


def needs_second_derivatives(optimizer: torch.optim.Optimizer) -> bool:
    """Return True if the optimizer, or one that it wraps, needs gradients of gradients.

    A wrapper such as Lookahead tells what is inside it from timm 1.0.31 on only.
    """
    inner = (value for value in vars(optimizer).values() if isinstance(value, torch.optim.Optimizer))
    return bool(getattr(optimizer, "is_second_order", False)) or any(map(needs_second_derivatives, inner))


if __name__ == "__main__":
    print(json.dumps(survey()))
