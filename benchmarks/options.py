"""Speed options in a training's step: `python -m benchmarks.options [--model resnet18] [--resolution 128]`.

Times steps on one batch that lies on the device (a GPU where there is one), in turn as the default recipe makes them
and with one thing changed, and prints a Markdown table. torch.compile is not part of the trainer; its first step, which
compiles, is given aside.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from resomap.bench.ratios import Paired, median_and_range
from resomap.compute.device import Device, choose_device, prepare_backend
from resomap.compute.execution import Execution
from resomap.compute.normalisation import in_layout
from resomap.config import Training
from resomap.models.build import build_model, logits
from resomap.train.objective import make_optimizer


@dataclass(frozen=True)
class Change:
    """One change from the default recipe."""

    amp: str = "auto"
    channels_last: bool = True
    fused: bool = True
    compiled: bool = False


CHANGES = {
    "float32 (`amp: off`)": Change(amp="off"),
    "contiguous memory (`channels_last: false`)": Change(channels_last=False),
    "optimizer not fused": Change(fused=False),
    "torch.compile": Change(compiled=True),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    device = choose_device("auto")
    prepare_backend(device, False, given.threads)
    print(f"| {given.model}, {given.resolution} px, {device.name} | images/s | of the default's | first step, s |")
    print("|---|---|---|---|")
    default, _ = stepper(Change(), given, device)
    for name, change in CHANGES.items():
        changed, first = stepper(change, given, device)
        pair = Paired.measure(changed, default, given.repeats)
        print(f"| {name} | {pair.cells()[0]} | {median_and_range(pair.ratios, '.2f')} | {first:.1f} |", flush=True)


def stepper(change: Change, given: argparse.Namespace, device: Device) -> tuple[Callable[[int], float], float]:
    """Return a function that trains some steps and returns images a second, and the seconds of its first step."""
    recipe = Training(amp=change.amp, channels_last=change.channels_last)  # type: ignore[arg-type]
    execution = Execution.of(device, change.amp, change.channels_last)
    torch.manual_seed(0)
    model = execution.place(build_model(given.model, given.resolution, 2).model).train()
    optimizer = make_optimizer(model, recipe)
    for group in optimizer.param_groups:
        group["fused"] = change.fused or None
    images = torch.randn(recipe.batch_size, 3, given.resolution, given.resolution, device=device.torch)
    images = in_layout(images, change.channels_last)
    labels = torch.arange(recipe.batch_size, device=device.torch) % 2
    network = torch.compile(model) if change.compiled else model

    def step() -> None:
        with execution.autocast():
            output = logits(network(images))
        F.cross_entropy(output.float(), labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def rate(_round: int) -> float:
        began = time.monotonic()
        for _ in range(given.steps):
            step()
        if device.is_cuda:
            torch.cuda.synchronize()
        return given.steps * recipe.batch_size / (time.monotonic() - began)

    began = time.monotonic()
    step()
    if device.is_cuda:
        torch.cuda.synchronize()
    return rate, time.monotonic() - began


if __name__ == "__main__":
    main()
