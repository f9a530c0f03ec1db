"""Rates of several trainings at a time on one device, in images a second of all of them together."""

import os
from collections.abc import Iterator

from resomap.bench.gpu.gpu_record import Row
from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.cells.slots_choice import fastest
from resomap.config import parse_config
from resomap.core.errors import ResomapError
from resomap.train.slots_search import Question, ask


def rates_shared(settings: GpuSettings) -> Iterator[Row]:
    """Yield a row for each number of trainings, and one for the number that `gpu.per_device: auto` would take.

    Steps on noise, each training a process that shares the device in turns. Raises ResomapError where it fails.
    """
    model, resolution = settings.timm_models[0], settings.resolutions[0]
    config = parse_config({"device": settings.device, "training": {"batch_size": settings.batch}})
    answer = ask(
        Question(
            config=config.model_dump(),
            model=model,
            resolution=resolution,
            kind=settings.device,
            cores=os.cpu_count() or 1,
            most=settings.most_shared,
            seconds=settings.epoch_seconds,
            rounds=settings.repeats,
        )
    )
    if "rates" not in answer:
        raise ResomapError(answer["reason"])
    rates = {int(number): float(rate) for number, rate in answer["rates"].items()}
    for number, rate in rates.items():
        ratio = rate / rates[1]
        yield Row(
            f"{model} at {resolution} px, {number} at a time",
            f"{rate:,.0f} images/s together, {ratio:.2f} times those of one",
            figures={"model": model, "resolution": resolution, "at_once": number, "images_per_second": rate},
        )
    chosen = fastest(rates, settings.most_shared)
    yield Row("gpu.per_device: auto", f"{chosen} at a time, where they fit", figures={"at_once": chosen})
