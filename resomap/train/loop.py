"""Training loop: steps, validation, choice of the best epoch, early stopping.

The loop knows nothing of files, trackers or signals; what happens around a step is an observer's business. Its order,
with every event, stands in `events.Observer`.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resomap.compute.device import is_out_of_memory, memory_left
from resomap.compute.execution import Execution
from resomap.compute.further_metrics import further_metric
from resomap.compute.inference import Inference, Predictor, evaluation_batch, predict, require_finite
from resomap.compute.memory import memory_of, wanted
from resomap.compute.metrics import measure
from resomap.compute.normalisation import Normalisation
from resomap.config import Training
from resomap.config.judging import FurtherMetric
from resomap.core.errors import Diverged, PermanentFailure, ResomapError
from resomap.data.store import Images
from resomap.train import draws, step_graph
from resomap.train.batches import Batch, TrainingBatches
from resomap.train.events import Observer
from resomap.train.freezing import begin_epoch
from resomap.train.gradients import BatchPass, GradientPass
from resomap.train.objective import Objective
from resomap.train.schedule import learning_rate
from resomap.train.state import RunningSums, TrainingState

CheckAgain = Callable[[Execution], Execution]


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Images of one training: batches to learn from, a split to choose the best epoch by, and how it is measured.

    validation: None where nothing chooses an epoch, as all images are learned from. further: metrics beside those of
    `measure`; positive, at: class and share that they speak of.
    """

    batches: TrainingBatches
    validation: Images | None
    classes: int
    normalisation: Normalisation
    further: tuple[FurtherMetric, ...] = ()
    positive: int | None = None
    at: float = 0.9

    def gradient_pass(self, recipe: Training, objective: Objective, execution: Execution) -> BatchPass:
        """Return the pass that computes gradients of these images' batches."""
        return GradientPass(
            recipe=recipe,
            classes=self.classes,
            normalisation=self.normalisation,
            objective=objective,
            execution=execution,
        )

    def scores(self, inference: Inference, images: Images, batch_size: int, between: Callable[[], None]) -> np.ndarray:
        """Return log-probabilities float32 [N, classes] of the validation images; `between` runs after each batch."""
        return predict(Predictor(inference, self.normalisation), images, batch_size, between)


class Loop:
    """Training of a state to its end, from wherever it stands."""

    def __init__(
        self,
        *,
        state: TrainingState,
        recipe: Training,
        seed: int,
        data: TrainingData,
        objective: Objective,
        execution: Execution,
        observer: Observer,
    ) -> None:
        self._state = state
        self._recipe = recipe
        self._seed = seed
        self._data = data
        self._execution = execution
        self._objective = objective
        self._eager = data.gradient_pass(recipe, objective, execution)
        self._device = execution.device.torch
        self._pass = self._eager
        if state.graphs:
            self._pass = step_graph.recorded(self._eager, self._device, data.batches.batch_size)
        self._observer = observer
        self._check_again: CheckAgain | None = None
        # The loss of the step before, still on its way from the device: looked at one step later, so that the
        # device never waits for the host.
        self._unchecked: tuple[int, int, Tensor] | None = None

    @property
    def execution(self) -> Execution:
        """Way of computing, which a check after the start may have changed."""
        return self._execution

    def run(self, check_again: CheckAgain | None = None) -> None:
        """Train until the last epoch or until early stopping.

        `check_again` is called where the microbatch was halved, before the step is taken: other shapes may take other
        kernels. It is given the way of computing, and returns the one to take from there on.

        Raises Diverged where loss or weights stop being finite; whatever the observer raises passes through.
        """
        state, self._check_again = self._state, check_again
        while not state.is_over(self._recipe):
            self._train_epoch()
            state.require_finite()
            metrics = {} if self._data.validation is None else self._validate(self._data.validation)
            state.epoch, state.step = state.epoch + 1, 0
            state.history.append(self._history_row(metrics))
            state.sums = RunningSums.zero(self._device)
            least = self._recipe.early_stopping.min_delta
            if metrics and state.best.offer(state.epoch, metrics[self._recipe.monitor], least):
                state.keep_best(metrics)
            self._observer.after_epoch(state)
        self._observer.after_training(state)

    def _train_epoch(self) -> None:
        state = self._state
        begin_epoch(state.model, state.epoch, self._recipe)
        before = time.monotonic()
        for batch in self._data.batches.epoch(state.epoch, state.step):
            loss = self._step(batch)
            self._check_finite()
            self._unchecked = (state.epoch + 1, state.step + 1, loss)
            state.step += 1
            state.images_seen += len(batch.labels)
            now = time.monotonic()
            state.seconds, before = state.seconds + now - before, now
            if self._observer.needs_checked_state():
                self._check_finite()  # no checkpoint holds a step whose loss was not finite
            self._observer.after_step(state)
        self._check_finite()

    def _step(self, batch: Batch) -> Tensor:
        """Make one optimizer step; returns the batch's mean loss, on the device.

        Where memory is short, the gradients are computed again with a smaller microbatch. The update itself is never
        repeated: it may have changed a part of the weights already, so that running out of memory there ends the
        attempt, and the next one goes on from the checkpoint.
        """
        state, recipe = self._state, self._recipe
        number = state.epoch * self._data.batches.steps + state.step
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(number, self._data.batches.steps, recipe) * group.get("lr_scale", 1.0)
        loss, hits = self._gradients(batch, draws.step_seed(self._seed, number))
        if recipe.gradient_clip is not None:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.gradient_clip)
        try:
            state.scaler.step(state.optimizer)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ResomapError(
                f"out of memory while the weights were updated at epoch {state.epoch + 1}, step {state.step + 1} "
                f"({memory_left(self._device)}); the next attempt goes on from the checkpoint: free memory first, "
                "or set a smaller training.microbatch"
            ) from None
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        if state.ema is not None:
            state.ema.update(state.model, step=number + 1)
        state.sums.hits += hits
        state.sums.loss += loss * len(batch.labels)
        state.sums.images += len(batch.labels)
        return loss

    def _gradients(self, batch: Batch, seed: int) -> tuple[Tensor, Tensor]:
        """Compute the gradients of a batch, in the parameters; returns its mean loss and its hits, on the device."""
        while True:
            try:
                torch.manual_seed(seed)
                return self._pass.accumulate(self._state.model, self._state.scaler, batch, self._state.microbatch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                shortage = wanted(error, memory_of(self._device))
            # Outside the handler: the error's traceback holds on to the tensors that have to go.
            self._state.optimizer.zero_grad(set_to_none=True)
            self._halve_microbatch(batch, shortage)

    def _halve_microbatch(self, batch: Batch, shortage: str) -> None:
        """Put half as many images into a forward pass from now on: the batch stays the same, the bits do not."""
        state = self._state
        tried = state.microbatch or len(batch.labels)
        if tried == 1:
            raise PermanentFailure(
                f"out of memory with one image at a time ({shortage}); free memory, use a lower resolution or a "
                "smaller model, or train this one elsewhere"
            )
        self._pass, state.graphs = self._eager, False  # the memory of a recorded step, while memory is short
        half, size = (tried + 1) // 2, batch.size
        if half == 1 and not self._takes_single_image(size):
            raise PermanentFailure(
                f"out of memory with {tried} images a forward pass ({shortage}), and batch normalisation cannot train "
                f"with one at {size} px; free memory, or train this one elsewhere"
            )
        state.microbatch = half
        state.deviations.append(
            f"out of memory with {tried} images a forward pass at epoch {state.epoch + 1}, step {state.step + 1} "
            f"({shortage}): "
            f"{state.microbatch} from there on"
        )
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._observer.after_deviation(state)
        checked = self._execution if self._check_again is None else self._check_again(self._execution)
        if checked != self._execution:
            self._execution = checked
            self._pass = self._eager = self._data.gradient_pass(self._recipe, self._objective, checked)

    def _takes_single_image(self, size: int) -> bool:
        """Return False if the network cannot train with one image of so many pixels; True where memory ends too."""
        try:
            image = torch.zeros(1, self._data.normalisation.channels, size, size, device=self._device)
            return self._pass.least_images(self._state.model, image) == 1
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return True

    def _check_finite(self) -> None:
        """Raise Diverged where the loss that was not looked at yet is not finite."""
        if self._unchecked is None:
            return
        epoch, step, loss = self._unchecked
        self._unchecked = None
        if not math.isfinite(value := loss.item()):
            raise Diverged(
                f"diverged at epoch {epoch}, step {step} (the loss is {value}); "
                "lower training.learning_rate or set training.gradient_clip for this model in `overrides`"
            )

    def _validate(self, images: Images) -> dict[str, float | None]:
        """Metrics of the present weights (their moving average, if there is one) on the validation images.

        Raises Diverged where the network answers with anything but finite numbers.
        """
        log_probabilities = self._data.scores(
            Inference(self._state.evaluated_model(), self._execution),
            images,
            evaluation_batch(self._recipe, self._state.microbatch),
            lambda: self._observer.during_validation(self._state),
        )
        require_finite(log_probabilities, f"validation images after epoch {self._state.epoch + 1}")
        self._observer.after_validation(self._state, log_probabilities)
        found = measure(log_probabilities, images.labels)
        for name in self._data.further:
            found[name] = further_metric(name, log_probabilities, images.labels, self._data.positive, self._data.at)
        return found

    def _history_row(self, metrics: dict[str, float | None]) -> dict[str, float | int | None]:
        """Row of the history for the epoch: only figures that a resumed training reproduces, so no times."""
        state = self._state
        images = max(1, state.sums.images)
        last = state.epoch * self._data.batches.steps - 1
        return {
            "epoch": state.epoch,
            "learning_rate": learning_rate(last, self._data.batches.steps, self._recipe),
            "train/loss": state.sums.loss.item() / images,
            "train/accuracy": state.sums.hits.item() / images,
            **{f"val/{name}": value for name, value in metrics.items()},
        }
