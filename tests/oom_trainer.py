"""`resomap train` on a device that is too small: `python oom_trainer.py MOST_IMAGES train CELL ...`.

A forward pass of a network in training with more than MOST_IMAGES images ends as on a GPU whose memory is full; with
`update` for MOST_IMAGES the third update of the weights does. With `low` no memory ends, but nearly all of it is taken.
"""

import sys
from types import SimpleNamespace

import psutil
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

UPDATE = 3
updates = 0


def refuse_an_update(optimizer: torch.optim.Optimizer, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    global updates
    updates += 1
    if updates == UPDATE:
        raise torch.OutOfMemoryError("injected")


def nearly_full(whole: int = 64 * 2**30) -> SimpleNamespace:
    return SimpleNamespace(total=whole, available=whole // 50, percent=98.0, used=whole - whole // 50)


def refuse(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    if module.training and isinstance(module, torch.nn.Conv2d) and len(inputs[0]) > int(sys.argv[1]):
        raise torch.OutOfMemoryError("injected")


if __name__ == "__main__":
    if sys.argv[1] == "update":
        register_optimizer_step_pre_hook(refuse_an_update)
    elif sys.argv[1] == "low":
        psutil.virtual_memory = nearly_full
    else:
        torch.nn.modules.module.register_module_forward_pre_hook(refuse)
    from resomap.cli import main

    sys.exit(main(sys.argv[2:]))
