"""Try models at resolutions, most of them without computing anything (on torch's meta device).

`python -m resomap.models.probe` reads [[model, resolution], ...] as JSON from its standard input and prints
{"model@resolution": its theoretical size, or the reason why it does not work}.
"""

import json
import sys
import warnings

import torch

from resomap.models.build import construct, first_line, logits
from resomap.models.index import ModelEntry
from resomap.models.operations import Operations, counted
from resomap.models.survey import entry_of

CLASSES = 2
NO_CLASSIFIER = "it is no classifier"
MOST_SUGGESTIONS_TRIED = 12
IMAGES = 2
NO_MEMORY = "this machine has too little memory to build it"

# Fields of `fits.Size`: bytes of the state dict in float32; FLOPs and activations of a forward pass of one image, None
# where they could not be counted, with the reason.
Size = dict[str, int | str | None]


def try_pairs(pairs: list[tuple[str, int]]) -> dict[str, Size | str]:
    """Return the size of each "model@resolution" that works, else a sentence that names a resolution that does."""
    answers: dict[str, Size | str] = {}
    for name, resolution in pairs:
        entry = entry_of(name)
        answer = reason = size_or_reason(entry, resolution)
        if isinstance(reason, str):
            other = None if reason.startswith(NO_CLASSIFIER) else _nearest_that_works(entry, resolution)
            instead = f"use {other} px or another model" if other else "use another model"
            answer = f"{name} cannot take {resolution} px images: {reason}; {instead}"
        answers[f"{name}@{resolution}"] = answer
    return answers


def size_or_reason(entry: ModelEntry, resolution: int) -> Size | str:
    """Return the network's size if two images go through it, else the library's reason against it.

    The meta device knows shapes and allocates nothing. Networks that look at values while they are built fail
    on it for that reason alone, so a failure counts only where the CPU agrees or the library said so itself.
    """
    try:
        return _try_on("meta", entry, resolution)
    except Exception as error:  # whatever it is, it is looked at here and, where in doubt, below
        about_sizes = isinstance(error, AssertionError | ValueError) or "size" in str(error)
        if about_sizes and "meta" not in str(error):
            return first_line(error)
    try:
        return _try_on("cpu", entry, resolution)
    except Exception as error:  # any failure here is the answer
        # A machine too small for the largest networks says nothing about the resolution.
        return _size(0, NO_MEMORY) if "not enough memory" in str(error) else first_line(error)


def _try_on(device: str, entry: ModelEntry, resolution: int) -> Size | str:
    # In training mode: a batch norm over a single pixel fails only there.
    with torch.device(device), torch.no_grad():
        model = construct(entry, resolution, CLASSES).train()
        images = torch.zeros(IMAGES, 3, resolution, resolution)
        operations: Operations | str
        try:
            operations, scores = counted(lambda: logits(model(images)))
        except Exception as error:  # is it the network, or that it is counted?
            operations, scores = first_line(error), logits(model(images))
    if scores.shape != (IMAGES, CLASSES):
        return f"{NO_CLASSIFIER} (its output for {IMAGES} images is {list(scores.shape)})"
    return _size(sum(tensor.nbytes for tensor in model.state_dict().values()), operations)


def _size(weights: int, operations: Operations | str) -> Size:
    """Return the size by the operations of IMAGES images, or by the reason why these could not be counted."""
    if isinstance(operations, str):
        return {"weights": weights, "flops": None, "activations": None, "reason": operations}
    return {
        "weights": weights,
        "flops": operations.flops // IMAGES,
        "activations": operations.activations // IMAGES,
        "reason": None,
    }


def _nearest_that_works(entry: ModelEntry, resolution: int) -> int | None:
    """Return the nearest resolution that works among multiples of the usual patch and window sizes, or None."""
    steps = (14, 16, 32, 56)
    sizes = {step * (resolution // step + shift) for step in steps for shift in (0, 1)} | {
        32,
        64,
        96,
        128,
        224,
        256,
    }
    nearest = sorted((size for size in sizes - {0, resolution}), key=lambda size: (abs(size - resolution), size))
    return next(
        (size for size in nearest[:MOST_SUGGESTIONS_TRIED] if not isinstance(size_or_reason(entry, size), str)), None
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(try_pairs([(str(name), int(size)) for name, size in json.load(sys.stdin)])))
