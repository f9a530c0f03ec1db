"""`resomap train` on a device that is too small: `python oom_trainer.py MOST_IMAGES train CELL ...`.

A forward pass of a network in training with more than MOST_IMAGES images ends as on a GPU whose memory is full.
"""

import sys

import torch

MOST_IMAGES = int(sys.argv[1])


def refuse(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    if module.training and isinstance(module, torch.nn.Conv2d) and len(inputs[0]) > MOST_IMAGES:
        raise torch.OutOfMemoryError("injected")


if __name__ == "__main__":
    torch.nn.modules.module.register_module_forward_pre_hook(refuse)
    from resomap.cli import main

    sys.exit(main(sys.argv[2:]))
