"""Checks of a whole study when it is opened: models, resolutions and settings are possible, before anything runs."""

from typing import TYPE_CHECKING, Any

from resomap.cells.names import Suffix, first_named, resolution_of
from resomap.config.load import training_for
from resomap.config.positive import needs_positive, positive_index
from resomap.config.values import RESOLUTIONS
from resomap.core.errors import ResomapError
from resomap.models.fits import require_supported
from resomap.models.optimizer_names import require_optimizers

if TYPE_CHECKING:
    from resomap.cells.study import Study


def require_possible(study: "Study") -> None:
    """Raise ResomapError for what no training, map or winner of the study could do."""
    config = study.config
    for model in {*config.models, *(name.partition("@")[0] for name in config.overrides)}:
        study.index.entry(model)
    for name in config.priority:
        _require_priority(study, name)
    if config.winner.cell is not None:
        study.require_square(config.winner.cell, "winner.cell")
    require_supported((model, res) for model in config.models for res in config.resolutions)
    _require_trials(study)
    _require_crops(study)
    require_optimizers([config.training.optimizer, *_overridden(study, "optimizer")])
    _require_positive(study)


def _require_priority(study: "Study", name: str) -> None:
    """Raise ResomapError where an entry of the configuration's `priority` can name nothing of a grid."""
    where = "the configuration's priority"
    if name.isdecimal():
        resolution_of(name, where)
        return
    model, at, _ = name.partition("@")
    study.index.entry(model)
    if not at:
        return
    cell = study.find(name)
    if cell.seed not in study.config.seeds:
        raise ResomapError(
            f"{where} has '{name}', and seeds has no {cell.seed}; add it there, or name one of "
            f"{', '.join(map(str, study.config.seeds))}"
        )
    if cell.name != name:
        _, dot, suffix = name.rpartition("@")[2].partition(".")
        first = first_named(Suffix.parse(dot + suffix, name), cell.seed)
        raise ResomapError(f"{where} has '{name}', and {first}, whose training has no suffix: {cell.name}")


def _require_trials(study: "Study") -> None:
    """Raise ResomapError where a model whose learning rate is to be found does not take the resolution of trials."""
    config = study.config
    cells = (study.cell(model, resolution) for model in config.models for resolution in config.resolutions)
    models = dict.fromkeys(cell.model for cell in cells if study.recipe(cell).learning_rate == "auto")
    try:
        require_supported((model, training_for(config, model).learning_rate_search.resolution) for model in models)
    except ResomapError as error:
        raise ResomapError(f"for training.learning_rate_search.resolution: {error}") from None


def _require_crops(study: "Study") -> None:
    """Raise ResomapError where random crops need images larger than any that are prepared."""
    config, most = study.config, RESOLUTIONS[-1]
    for model in config.models:
        for resolution in config.resolutions:
            recipe = study.recipe(study.cell(model, resolution))
            if (size := recipe.crop_source(resolution)) > most:
                raise ResomapError(
                    f"training.augment.scale is {recipe.augment.scale:g}, so that crops for {model}@{resolution} need "
                    f"images of {size:,} pixels, and {most:,} are the most; raise it, or leave that resolution out"
                )


def _require_positive(study: "Study") -> None:
    """Raise ResomapError where a setting speaks of a positive class that the images do not have."""
    config = study.config
    monitors = [study.recipe(study.cell(model, config.resolutions[0])).monitor for model in config.models]
    monitors += _overridden(study, "monitor")
    if study.data.classes and needs_positive(config, monitors):
        positive_index(config.report, study.data.classes)


def _overridden(study: "Study", name: str) -> list[Any]:
    """Values of a `training` key in the recipes that `overrides` makes."""
    return [getattr(training_for(study.config, target), name) for target in study.config.overrides]
