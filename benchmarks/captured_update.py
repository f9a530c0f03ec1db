"""The update of the weights inside a step's CUDA graph: what it would bring, and cost in bits.

    python -m benchmarks.captured_update      # figures of docs/speed.md

Counts the operator calls of a step's parts, each of them at least one launch on a GPU, and compares the bits of adamw
with its rate as a number and as a tensor, which a recorded update would need. On the CPU, in seconds.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resomap.config import Training
from resomap.models.build import build_model, logits
from resomap.train.objective import make_optimizer

# Calls that compute nothing: they name the same memory otherwise.
NAMES_ONLY = ("view", "detach", "aten.t.", "expand", "unsqueeze", "as_strided", "alias")
STEPS, RATE = 20, 1e-3


class Calls(TorchDispatchMode):
    """Counter of the operator calls inside a `with`."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not any(name in str(function) for name in NAMES_ONLY)
        return function(*args, **(kwargs or {}))


def main() -> None:
    """Count, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "mobilenetv4_conv_small", "efficientnet_b0"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | forward and backward | clipping | update |\n|---|---|---|---|")
    for model in given.models:
        print(f"| {model} | {' | '.join(map(str, calls_of(model)))} |", flush=True)
    for fused in (True, False):
        number = updated(lambda: RATE, fused)
        for kind in (torch.float32, torch.float64):
            other = updated(lambda kind=kind: torch.tensor(RATE, dtype=kind), fused)  # type: ignore[misc]
            differing, most = (number != other).double().mean().item(), (number - other).abs().max().item()
            print(
                f"adamw {'fused' if fused else 'in a loop'}, rate as a {kind} tensor: {100 * differing:.1f} % of the "
                f"weights differ after {STEPS} steps, by {most:.1e} at most"
            )


def calls_of(model: str) -> list[int]:
    """Return the operator calls of forward and backward pass, of the clipping, and of a default recipe's update."""
    network = build_model(model, 64, 2).model.train()
    optimizer = make_optimizer(network, Training())
    images, labels = torch.randn(2, 3, 64, 64), torch.tensor([0, 1])
    for _ in range(2):  # the first step makes the moments
        optimizer.zero_grad(set_to_none=True)
        with Calls() as passes:
            F.cross_entropy(logits(network(images)), labels).backward()
        with Calls() as clipping:
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        with Calls() as update:
            optimizer.step()
    return [passes.count, clipping.count, update.count]


def updated(rate: Callable[[], float | Tensor], fused: bool) -> Tensor:
    """Return weights after some updates, whose rate rises from step to step."""
    torch.manual_seed(0)
    weights = nn.Parameter(torch.randn(100_000))
    optimizer = torch.optim.AdamW([weights], lr=rate(), weight_decay=0.05, fused=fused, foreach=False)
    for step in range(1, STEPS + 1):
        weights.grad = torch.randn(len(weights), generator=torch.Generator().manual_seed(step))
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(RATE * step / 7)
            else:
                group["lr"] = RATE * step / 7
        optimizer.step()
    return weights.detach()


if __name__ == "__main__":
    main()
