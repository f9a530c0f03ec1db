"""Events of a training: where each fires, and what an observer has to answer."""

from typing import Protocol

import numpy as np

from resomap.train.state import TrainingState


class Observer(Protocol):
    """Listener to the events of a training. Each may end the training by raising; what it raises passes through.

    A training, with every place where an event fires; a test runs one and holds this against what fired. The first
    part is `Loop.run`, the loop after it is `evaluate_best`:

        while state.epoch < recipe.epochs and not stops_early(state):
            for batch in batches.epoch(state.epoch, first_step=state.step):
                while out_of_memory(forward_and_backward(batch, state.microbatch)):
                    state.microbatch = half(state.microbatch)
                    observer.after_deviation(state)
                    check_again(state.microbatch)
                update_weights(state)
                require_finite(loss_of_the_step_before)
                state.step += 1
                if observer.needs_checked_state():
                    require_finite(loss_of_this_step)
                observer.after_step(state)
            for images in validation:
                predict(state, images)
                observer.during_validation(state)
            observer.after_validation(state, log_probabilities)
            state.epoch, state.step = state.epoch + 1, 0
            state.history.append(metrics)
            if is_best(metrics):
                state.keep_best(metrics)
            observer.after_epoch(state)
        observer.after_training(state)
        for images in validation + test:
            predict_with_best_weights(state, images)
            observer.during_evaluation()
    """

    def needs_checked_state(self) -> bool:
        """True where `after_step` is going to save: the loop then waits for the step's loss and checks it."""
        ...

    def after_step(self, state: TrainingState) -> None:
        """Called after each optimizer step, once it is counted; `state` may be saved."""

    def after_deviation(self, state: TrainingState) -> None:
        """Called where the microbatch had to be halved; the reason is the last of `state.deviations`."""

    def during_validation(self, state: TrainingState) -> None:
        """Called after each batch of validation; all steps of the epoch are done, and `state` may be saved."""

    def after_validation(self, state: TrainingState, log_probabilities: np.ndarray) -> None:
        """Called with the log-probabilities [N, classes] of the validation images, before the epoch is counted."""

    def after_epoch(self, state: TrainingState) -> None:
        """Called when an epoch is counted; its metrics are the last row of `state.history`."""

    def after_training(self, state: TrainingState) -> None:
        """Called when no epoch is left; weights files and evaluation are made from this `state`."""

    def during_evaluation(self) -> None:
        """Called after each batch of the last evaluation."""


class NullObserver(Observer):
    """Observer that does nothing, for a loop that nobody looks at."""

    def needs_checked_state(self) -> bool:
        """No step is saved."""
        return False

    def after_step(self, state: TrainingState) -> None:
        """Do nothing."""

    def after_deviation(self, state: TrainingState) -> None:
        """Do nothing."""

    def during_validation(self, state: TrainingState) -> None:
        """Do nothing."""

    def after_validation(self, state: TrainingState, log_probabilities: np.ndarray) -> None:
        """Do nothing."""

    def after_epoch(self, state: TrainingState) -> None:
        """Do nothing."""

    def after_training(self, state: TrainingState) -> None:
        """Do nothing."""

    def during_evaluation(self) -> None:
        """Do nothing."""
