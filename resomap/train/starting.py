"""Start of a training: its network, its state before the first step, and its images."""

from collections.abc import Callable
from typing import get_args

import torch
from timm.utils import ModelEmaV3

from resomap.cells.cell import Cell
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation
from resomap.config import Config, Training
from resomap.config.judging import FurtherMetric
from resomap.config.positive import ONE_VS_REST, positive_index
from resomap.data.store import Images, Store
from resomap.machine.mps import BY_MPS, computes_by_mps
from resomap.models.build import BuiltModel, build_model
from resomap.models.weights_store import weights_directory
from resomap.train.batches import TrainingBatches
from resomap.train.loop import TrainingData
from resomap.train.objective import make_optimizer, make_scaler
from resomap.train.state import RunningSums, TrainingState
from resomap.train.stopping import BestSoFar


def starting_network(config: Config, recipe: Training, cell: Cell, classes: int, seed: int) -> BuiltModel:
    """Build a cell's network with the weights that the recipe says; what is random in it is drawn from the seed."""
    torch.manual_seed(seed)
    return build_model(
        cell.model,
        cell.resolution,
        classes,
        weights=recipe.weights,
        dropout=recipe.dropout,
        directory=weights_directory(config.weights_directory),
        channels=config.data.input_channels,
    )


def initial_state(built: BuiltModel, recipe: Training, execution: Execution) -> TrainingState:
    """Return the state before the first step, on the device."""
    model = execution.place(built.model)
    return TrainingState(
        model=model,
        optimizer=make_optimizer(model, recipe),
        scaler=make_scaler(execution),
        ema=ModelEmaV3(model, decay=recipe.ema_decay) if recipe.ema_decay is not None else None,
        best=BestSoFar(recipe.monitor),
        sums=RunningSums.zero(execution.device.torch),
    )


def crop_store(store: Store, recipe: Training) -> Store:
    """Return the images that a training's random crops are taken from, opened for the same fold.

    Without crops they are the store's own. Raises ResomapError as `Store.open` does.
    """
    size = recipe.crop_source(store.resolution)
    return store if size == store.resolution else Store.open(store.place.parent, size, fold=store.fold)


def note_sharing(state: TrainingState, say: Callable[[str], None]) -> None:
    """Note, once, that kernels of others run beside this training's, by MPS; it stays so after a resume without."""
    if computes_by_mps() and BY_MPS not in state.deviations:
        say(f"{BY_MPS}: the result will be marked as not exact")
        state.deviations.append(BY_MPS)


def normalisation_of(config: Config, store: Store, built: BuiltModel) -> Normalisation:
    """Return the normalisation that pretrained weights were trained with, else the store's own statistics."""
    return Normalisation(tuple(built.mean or store.mean), tuple(built.std or store.std), config.data.input_channels)


def training_data(
    config: Config, recipe: Training, store: Store, built: BuiltModel, batches: TrainingBatches, validation: Images
) -> TrainingData:
    """Return prepared images, normalised as pretrained weights were trained, else by the store's own statistics."""
    report = config.report
    # The metric that chooses the epoch, and the one that a person looks at while it trains.
    further = tuple(one for one in get_args(FurtherMetric) if one in (recipe.monitor, report.metric))
    speaks_of_class = any(one in ONE_VS_REST for one in further)
    return TrainingData(
        batches=batches,
        validation=validation,
        classes=len(store.classes),
        normalisation=normalisation_of(config, store, built),
        further=further,
        positive=positive_index(report, store.classes) if speaks_of_class else None,
        at=report.at,
    )
