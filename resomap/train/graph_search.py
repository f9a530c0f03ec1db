"""Search for whether steps are recorded, where `training.graphs` is `auto`: by their speed, then by their bits.

Speed is measured once for a model, on noise at the study's smallest resolution, and kept for the study. Bits are
compared by each training before its first step.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from resomap.cells import graph_choice, microbatch_choice
from resomap.cells.cell import Cell
from resomap.cells.lock import step_lock
from resomap.cells.study import Study
from resomap.compute.device import Device, is_out_of_memory
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation
from resomap.models.build import build_model, first_line
from resomap.train import step_graph
from resomap.train.augment import COLUMNS
from resomap.train.batches import Batch
from resomap.train.gradients import BatchPass, GradientPass
from resomap.train.objective import Objective, make_scaler
from resomap.train.policies import KINDS
from resomap.train.self_check import SelfCheck
from resomap.train.step_graph import GraphPass, Recording

LEAST_GAIN = 0.05  # of the time of a step: for less a graph is not worth its memory
ROUNDS, STEPS = 5, 10  # pairs of runs, of so many steps each
OTHER_BITS = "steps replayed from a CUDA graph, whose bits are not those of plain steps"


def choose_graphs(study: Study, cell: Cell, check: SelfCheck, execution: Execution, say: Callable[[str], None]) -> None:
    """Set `graphs` of the check's state, before its first step, where the configuration leaves it open.

    Steps stay plain where recording them gains too little or fails, or where their bits would be others under
    `deterministic: true`; without it other bits are a deviation.
    """
    state, kind = check.state, step_graph.recording_on(execution.device.torch)
    if check.recipe.graphs == "off" or kind is None or check.recipe.trainable == "head":
        return
    if not _is_faster(study, cell.model, check.data.classes, execution.device, kind, say):
        return
    try:
        compared = check.compare_graph(execution, kind)
    except (RuntimeError, MemoryError) as error:
        say(f"steps are not recorded: {_words(error)}")
        if not is_out_of_memory(error):  # at another resolution neither
            graph_choice.write(study, cell.model, {"graphs": False, "reason": _words(error)})
        step_graph.require_sound(execution.device.torch)
        return
    if compared.apart or (compared.differing and check.is_deterministic):
        say(f"steps are not recorded: {compared.differing[0]} would have other bits")
        return
    state.graphs = True
    if compared.differing:
        state.deviations.append(OTHER_BITS)
    say(f"steps are replayed from a CUDA graph, {'with other bits than' if compared.differing else 'to the bit'} plain")


def is_worth_it(plain: float, recorded: float) -> bool:
    """Return True if recorded steps take enough less time than plain ones."""
    return recorded <= (1 - LEAST_GAIN) * plain


def _is_faster(
    study: Study, model: str, classes: int, device: Device, kind: type[Recording], say: Callable[[str], None]
) -> bool:
    with step_lock(f"graphs {model}", say):  # of trainings that start together one measures
        found = graph_choice.read(study, model)
        if found is None:
            measured = _measure(study, graph_choice.cell_of(study, model), classes, device, kind)
            graph_choice.write(study, model, measured)
            say(f"recorded steps of {model}: {measured['reason']}")
            step_graph.require_sound(device.torch)
            found = measured["graphs"]
    return found


def _measure(study: Study, cell: Cell, classes: int, device: Device, kind: type[Recording]) -> dict[str, Any]:
    """Return the choice and what it was made by: seconds of a plain and of a recorded step, in turns."""
    recipe, channels = study.recipe(cell), study.config.data.input_channels
    execution = Execution.of(device, recipe.amp, recipe.channels_last)
    content = {"resolution": cell.resolution, "device": device.name, "found_at": time.time()}
    with torch.random.fork_rng(devices=[device.torch] if device.is_cuda else []):
        model = execution.place(build_model(cell.model, cell.resolution, classes, channels=channels).model.train())
        batch = noise_batch(recipe.batch_size, cell.resolution, channels, classes)
        plain = GradientPass(
            recipe=recipe,
            classes=classes,
            normalisation=Normalisation((0.5,) * channels, (0.25,) * channels, channels),
            objective=Objective(recipe, batch.labels.numpy(), classes, device.torch),
            execution=execution,
        )
        scaler, size = make_scaler(execution), microbatch_choice.require(study, cell)

        def seconds(each: BatchPass) -> float:
            model.zero_grad(set_to_none=True)
            _wait(device)
            begun = time.perf_counter()
            for _ in range(STEPS):
                each.accumulate(model, scaler, batch, size)
                model.zero_grad(set_to_none=True)
            _wait(device)
            return (time.perf_counter() - begun) / STEPS

        recorded = GraphPass(plain, kind, recipe.batch_size)
        try:
            seconds(plain), seconds(recorded)  # kernels are chosen and the graph is recorded
            times = [(seconds(plain), seconds(recorded)) for _ in range(ROUNDS)]
        except (RuntimeError, MemoryError) as error:
            return {**content, "graphs": False, "reason": _words(error)}
    one, other = (median(each) for each in zip(*times, strict=True))
    reason = f"{1000 * other:.2f} ms in place of {1000 * one:.2f} ms at {cell.resolution} px"
    return {**content, "graphs": is_worth_it(one, other), "reason": reason, "plain": one, "recorded": other}


def noise_batch(images: int, size: int, channels: int, classes: int) -> Batch:
    """Return a batch of noise, as it comes to a training: nothing of its work depends on what images show."""
    return Batch(
        pixels=torch.randint(0, 256, (images, size, size, channels), dtype=torch.uint8),
        size=size,
        labels=torch.arange(images) % classes,
        draws=torch.rand(images, COLUMNS),
        share=1.0,
        seeds=torch.zeros(images, KINDS, dtype=torch.int64),
        cut=None,
        rows=torch.arange(images),
    )


def _wait(device: Device) -> None:
    if device.is_cuda:
        torch.cuda.synchronize(device.torch)


def _words(error: BaseException) -> str:
    return "out of memory" if is_out_of_memory(error) else f"they cannot be ({first_line(error)})"
