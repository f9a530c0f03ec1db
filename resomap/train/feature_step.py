"""Features of a frozen network at a resolution, computed once for all trainings of the square that share them."""

from collections.abc import Callable

from resomap.cells import microbatch_choice, shared_features
from resomap.cells.study import Study
from resomap.compute.device import choose_device, keep_freed_memory, prepare_backend
from resomap.compute.execution import Execution
from resomap.compute.inference import evaluation_batch
from resomap.core.errors import Interrupted
from resomap.data import DATA_DIRECTORY
from resomap.data.store import Store
from resomap.train.known_features import FeaturePass
from resomap.train.signals import SignalWatch
from resomap.train.starting import normalisation_of, starting_network


def write_features(
    study: Study, model: str, resolution: int, threads: int, signals: SignalWatch, say: Callable[[str], None]
) -> None:
    """Compute the features that are not there yet, and write their list.

    Raises Interrupted after a signal, PermanentFailure where the head is not one linear layer, ResomapError for a
    mistake in settings or environment.
    """
    cell = shared_features.require_shared(study, model, resolution)
    recipe, config = study.recipe(cell), study.config
    device = choose_device(config.device)
    prepare_backend(device, config.deterministic, threads)
    if not device.is_cuda:
        keep_freed_memory()
    store = Store.open(DATA_DIRECTORY, resolution)
    built = starting_network(config, recipe, cell, len(store.classes), cell.seed)
    execution = Execution.of(device, recipe.amp, recipe.channels_last)
    execution.activate()

    def stop_after_signal() -> None:
        if signals.received is not None:
            raise Interrupted(f"{signals.name} between two batches: the same command goes on behind whole chunks")

    one_pass = FeaturePass(
        cell=cell,
        model=execution.place(built.model),
        execution=execution,
        normalisation=normalisation_of(config, store, built),
        batch=evaluation_batch(recipe, microbatch_choice.require(study, cell)),
        between=stop_after_signal,
    )
    found, made = one_pass.files.write(one_pass.splits, one_pass.compute, shared_features.settings(study, cell))
    say(f"{model}@{resolution}: features in {found + made} chunks, {found} of them found")
