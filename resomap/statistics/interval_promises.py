"""Measurement of what the 95 % intervals promise: groups, rare classes, few images, several seeds, chosen epochs."""

from collections.abc import Iterator

import numpy as np

from resomap.statistics.claims import Claim, share_of
from resomap.statistics.confusion_worlds import ClassWorld
from resomap.statistics.interval_estimates import estimate, intervals
from resomap.statistics.optimism import validation_gap
from resomap.statistics.promises import held_intervals
from resomap.statistics.quality import Metric
from resomap.statistics.samples import Sample
from resomap.statistics.simulation import World, grid

INTERVAL = "0.93 to 0.985"
RESOLUTIONS = (64, 96, 128, 192, 256)
CLASS_WORLDS = (
    ((197, 197), (0.9, 0.9)),
    ((374, 20), (0.95, 0.8)),
    ((152, 8), (0.98, 0.98)),
    ((57, 3), (0.95, 0.8)),
    ((40,) * 9 + (3,), (0.9,) * 10),
    ((40,) * 9 + (3,), (0.98,) * 10),
    ((3,) * 10, (0.9,) * 10),
    ((10,) * 10, (0.8,) * 10),
)


def of_grouped_images(draws: int) -> Iterator[Claim]:
    """Yield coverage with groups: of one class each, or of both; and with few positive groups, where it is shown."""
    metrics: tuple[Metric, ...] = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")
    for metric in metrics:
        for groups, size, alike, pure, positives in (
            (40, 10, 0.3, True, 200),
            (40, 10, 0.6, True, 200),
            (40, 10, 0.6, False, 0.5),
            (100, 5, 0.3, True, 250),
            (100, 20, 0.6, True, 1000),
        ):
            for quality in (0.75, 0.9):
                world = _grouped(groups, size, alike, pure, positives, quality)
                yield _coverage(world, metric, draws, "0.93")
    for metric in metrics[1:]:
        yield _coverage(_grouped(40, 10, 0.3, True, 50, 0.9), metric, draws, "shown")
        yield _coverage(_grouped(20, 20, 0.3, True, 200, 0.9), metric, draws, "shown")


def of_classes(draws: int) -> Iterator[Claim]:
    """Yield coverage of means over classes down to three images in a class."""
    metrics: tuple[Metric, ...] = ("balanced_accuracy", "macro_f1", "macro_precision")
    for metric in metrics:
        for images, recalls in CLASS_WORLDS:
            for mixed in (False, True):
                world, random = ClassWorld(images, recalls, mixed), np.random.default_rng(0)
                held: list[bool] = []
                while len(held) < draws:
                    sample = world.draw(random)
                    if len(np.unique(sample.labels)) == len(images):
                        one = intervals(estimate({("", 0): [sample]}, metric))["", 0]
                        held.append(one.low <= world.truth(metric) <= one.high)
                yield share_of(f"95 % interval of {metric}", str(world), "0.92", held)


def of_rare_positives(draws: int) -> Iterator[Claim]:
    """Yield coverage of the area under the ROC curve with few positives."""
    for positives in (3, 8, 20, 197):
        for quality in (0.75, 0.9):
            yield _coverage(World({("model", 64): quality}, 394, positives=positives), "auroc", draws, INTERVAL)


def of_seeds(draws: int) -> Iterator[Claim]:
    """Yield coverage with several seeds, in a map whose cells share their images and pool their scatter."""
    for seeds in (2, 3, 5):
        for training in (0.003, 0.02):
            world = World(grid(dict.fromkeys(RESOLUTIONS, 0.9), 2), 400, seeds, training)
            yield _coverage(world, "balanced_accuracy", max(20, draws // 10), INTERVAL)


def of_the_gap(draws: int) -> Iterator[Claim]:
    """Yield coverage of the gap between validation and test, where each training's epoch is the best of ten."""
    for images in (60, 400):
        random, found = np.random.default_rng(0), []
        world = World(grid(dict.fromkeys(RESOLUTIONS, 0.9), 2), 2 * images, 10, 0.005)
        for _ in range(draws):
            cells = {cell: _best_epoch(epochs, images) for cell, epochs in world.draw(random)[0].items()}
            splits = [{cell: [pair[split]] for cell, pair in cells.items()} for split in (0, 1)]
            gap = validation_gap(*(estimate(one, "accuracy") for one in splits))
            assert gap is not None
            found.append(gap)
        true = float(np.mean([one.value for one in found]))
        held = [one.low <= true <= one.high for one in found]
        yield share_of("95 % interval of validation minus test", f"best of 10 epochs, {images} images", "0.93", held)


def _best_epoch(epochs: list[Sample], images: int) -> tuple[Sample, Sample]:
    """Return the validation and the test half of the epoch that is best on the first."""
    halves = [
        tuple(Sample(one.labels[rows], one.log_probabilities[rows]) for rows in (slice(images), slice(images, None)))
        for one in epochs
    ]
    right = [float((val.log_probabilities.argmax(axis=1) == val.labels).mean()) for val, _ in halves]
    val, test = halves[int(np.argmax(right))]
    return val, test


def _grouped(groups: int, size: int, alike: float, pure: bool, positives: float, quality: float) -> World:
    return World({("model", 64): quality}, groups * size, positives=positives, group_size=size, alike=alike, pure=pure)


def _coverage(world: World, metric: Metric, draws: int, wanted: str) -> Claim:
    return share_of(f"95 % interval of {metric}", str(world), wanted, held_intervals(world, metric, draws))
