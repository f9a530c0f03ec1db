"""Times of whole training processes: start, checkpoints, and the rate beside timm's train.py."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resomap.bench.checkpoint_stall import checkpoint_stall
from resomap.bench.gpu.drawn_images import drawn, study_on_drawn
from resomap.bench.gpu.gpu_record import Row
from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.bench.start_time import seconds_to_first_step
from resomap.bench.timm_script import EPOCHS, beside_script
from resomap.cells.study import Study

SAVED_EPOCHS = 4


def start(settings: GpuSettings) -> Iterator[Row]:
    """Yield the seconds from the start of a training's process to its first step."""
    directory = Path(settings.place, "start")
    study = study_on_drawn(settings, directory, _config(settings, 1))
    seconds = statistics.median(seconds_to_first_step(study, directory, settings.repeats))
    figures: dict[str, Any] = {**_subject(settings), "seconds": seconds}
    yield Row(_what(settings), f"{seconds:.1f} s from the start of the process to its first step", None, figures)


def saves(settings: GpuSettings) -> Iterator[Row]:
    """Yield what one save makes a training longer by, and the share of it at the default interval."""

    def prepare(directory: Path, config: dict[str, Any]) -> Study:
        return study_on_drawn(settings, directory, config)

    config = _config(settings, SAVED_EPOCHS)
    stall = checkpoint_stall(
        Path(settings.place, "saves"), config, settings.repeats, threads=settings.threads, prepare=prepare
    )
    seconds, share = statistics.median(stall.a_save), statistics.median(stall.shares())
    words = f"a save makes the training {seconds:.2f} s longer, {share:.2%} of the default interval"
    figures: dict[str, Any] = {**_subject(settings), "seconds_a_save": seconds, "share": share}
    yield Row(_what(settings), f"{words} ({sum(stall.saves)} saves)", None, {**figures, "saves": sum(stall.saves)})


def beside_train_script(settings: GpuSettings) -> Iterator[Row]:
    """Yield the rate of `resomap train` beside timm's train.py, where that is given."""
    if settings.timm_train is None:
        yield Row("timm's train.py", "not given (--timm-train FILE): left out")
        return
    for model in settings.timm_models:
        resolution = settings.resolutions[0]

        def study_in(directory: Path, model: str = model, resolution: int = resolution) -> Study:
            changed = {**_config(settings, EPOCHS), "models": [model], "resolutions": [resolution]}
            return study_on_drawn(settings, directory, changed)

        place = Path(settings.place, f"script-{model}")
        found = beside_script(
            Path(settings.timm_train), drawn(settings), place, study_in, settings.workers, settings.repeats
        )
        ours, other = statistics.median(found.ours), statistics.median(found.other)
        words = f"{ours:,.0f} images/s, {found.ratio:.2f} times the {other:,.0f} of timm's train.py"
        figures: dict[str, Any] = {"model": model, "resolution": resolution, "images_per_second": ours}
        yield Row(f"{model} at {resolution} px", words, None, {**figures, "timm": other, "ratio": found.ratio})


def _config(settings: GpuSettings, epochs: int) -> dict[str, Any]:
    model, resolution = settings.large
    training = {"epochs": epochs, "batch_size": settings.batch, "early_stopping": {"enabled": False}}
    return {"models": [model], "resolutions": [resolution], "training": training}


def _subject(settings: GpuSettings) -> dict[str, Any]:
    return {"model": settings.large[0], "resolution": settings.large[1]}


def _what(settings: GpuSettings) -> str:
    return f"{settings.large[0]} at {settings.large[1]} px"
