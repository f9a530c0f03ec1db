"""Worker of `slots_search.py`: takes training steps on noise when it is told to, and says how fast.

It reads JSON lines: first what it is to train, to which it answers with the device's name, then [threads, seconds], to
which it answers with the images a second of its steps.
"""

import json
import os
import sys
import time
from typing import Any

import torch

from resomap.compute.device import choose_device, keep_freed_memory, prepare_backend
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation
from resomap.config import parse_config
from resomap.config.load import training_for
from resomap.core.errors import ResomapError
from resomap.models.build import build_model
from resomap.train.gradients import GradientPass
from resomap.train.graph_search import noise_batch
from resomap.train.objective import Objective, make_optimizer, make_scaler

CLASSES = 2
LEAST_STEPS = 2
AHEAD = 10  # steps that a GPU is given before it is waited for: a training does not wait for each either


class Steps:
    """Network of one model at one resolution, with all that a step of its training takes."""

    def __init__(self, config: dict[str, Any], model: str, resolution: int) -> None:
        study = parse_config(config)
        recipe = training_for(study, f"{model}@{resolution}")
        # Any rate will do, and what a compiler gains it gains for one training and for several.
        self._recipe = recipe.with_rate(recipe.learning_rate_search.rates[0]).model_copy(update={"compile": False})
        self.device = choose_device(study.device)
        prepare_backend(self.device, study.deterministic, 1)
        if not self.device.is_cuda:
            keep_freed_memory()
        self._execution = Execution.of(self.device, recipe.amp, recipe.channels_last)
        channels = study.data.input_channels
        built = build_model(model, resolution, CLASSES, channels=channels)
        self._model = self._execution.place(built.model.train())
        self._optimizer, self._scaler = make_optimizer(self._model, self._recipe), make_scaler(self._execution)
        self._batch = noise_batch(recipe.batch_size, resolution, channels, CLASSES)
        self._pass = GradientPass(
            recipe=self._recipe,
            classes=CLASSES,
            normalisation=Normalisation((0.5,) * channels, (0.25,) * channels, channels),
            objective=Objective(self._recipe, self._batch.labels.numpy(), CLASSES, self.device.torch),
            execution=self._execution,
        )

    def rate(self, threads: int, seconds: float) -> float:
        """Return the images a second of steps that take at least so long."""
        torch.set_num_threads(threads)
        self._step()  # other kernels for another number of threads
        self._wait()
        began, steps = time.monotonic(), 0
        while steps < LEAST_STEPS or time.monotonic() - began < seconds:
            for _ in range(AHEAD if self.device.is_cuda else 1):
                self._step()
                steps += 1
            self._wait()
        return steps * len(self._batch.labels) / (time.monotonic() - began)

    def _step(self) -> None:
        microbatch = self._recipe.microbatch
        size = microbatch if isinstance(microbatch, int) else None
        self._pass.accumulate(self._model, self._scaler, self._batch, size)
        if self._recipe.gradient_clip is not None:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)

    def _wait(self) -> None:
        if self.device.is_cuda:
            torch.cuda.synchronize(self.device.torch)


def main() -> None:
    """Answer until the standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        steps = Steps(**json.loads(sys.stdin.readline()))
    except ResomapError as error:
        sys.exit(str(error))
    print(json.dumps(steps.device.name), file=answers, flush=True)
    for line in sys.stdin:
        threads, seconds = json.loads(line)
        print(json.dumps(steps.rate(threads, seconds)), file=answers, flush=True)


if __name__ == "__main__":
    main()
