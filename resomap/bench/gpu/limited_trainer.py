"""Training in less memory than it needs: `python -m resomap.bench.gpu.limited_trainer SHARE MOST train CELL ...`.

On a GPU torch may take the share SHARE of its memory. On a CPU a forward pass of a network in training with more than
MOST images ends as it would there.
"""

import runpy
import sys

import torch

from resomap.machine.gpu_lock import bind_gpu


def main(words: list[str]) -> None:
    """Limit this process, then run a subcommand of resomap in it."""
    share, most = float(words[0]), int(words[1])
    bind_gpu(lambda _sentence: None)
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share, 0)
    else:

        def refuse(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if module.training and isinstance(module, torch.nn.Conv2d) and len(inputs[0]) > most:
                raise torch.OutOfMemoryError(f"more than {most} images in a rehearsal")

        torch.nn.modules.module.register_module_forward_pre_hook(refuse)
    sys.argv = ["resomap", *words[2:]]
    runpy.run_module("resomap", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
