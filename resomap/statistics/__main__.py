"""Long form of the simulations in tests/test_statistics_promises.py: `python -m resomap.statistics [MAPS]`."""

import sys
from itertools import product
from typing import get_args

from resomap.statistics.calibration_promises import calibrated_inside, error_covered, uncalibrated_called
from resomap.statistics.operating_promises import ALL as OPERATING
from resomap.statistics.promises import (
    bounds_held,
    interval_coverage,
    maps_with_claims,
    recommendations,
    thresholds_found,
)
from resomap.statistics.quality import Metric
from resomap.statistics.simulation import World, grid

FLAT = (64, 96, 128, 192, 256)


def main(maps: int) -> None:
    """Print what the statistics promise beside what was measured in so many maps."""
    print(f"{maps} maps a line; their share has a standard error of {(0.05 * 0.95 / maps) ** 0.5:.3f} at 0.95")
    print("95 % intervals, one seed: share that holds the truth (0.93 to 0.97)")
    for metric, positives in product(get_args(Metric), (0.5, 0.15)):
        for images, quality in product((200, 500, 2000), (0.7, 0.9, 0.98)):
            world = World({("model", 64): quality}, images, positives=positives)
            held = interval_coverage(world, metric, maps)
            print(f"  {metric}, {images} images, {positives:.0%} of one class, true accuracy {quality}: {held:.3f}")
    print("95 % intervals, several seeds (0.93 to 0.97)")
    for models, seeds, training in product((0, 1, 8), (2, 3, 5), (0.003, 0.01, 0.02)):
        for images, quality in ((400, 0.9), (2000, 0.9), (2000, 0.97)):
            cells = grid(dict.fromkeys(FLAT, quality), models) if models else {("model", 64): quality}
            world = World(cells, images, seeds, training)
            held = interval_coverage(world, "balanced_accuracy", max(20, maps // len(cells)))
            print(f"  {len(cells)} cells, {images} images, {quality}, {seeds} seeds, noise {training}: {held:.3f}")
    print("no effect of resolution: maps that tell two apart, and that claim one to be better (at most 0.05)")
    for models, seeds, training, images in product((1, 4, 8), (1, 2, 3, 5), (0.003, 0.01, 0.02), (400, 2000)):
        world = World(grid(dict.fromkeys(FLAT, 0.9), models), images, seeds, training)
        apart, claimed = maps_with_claims(world, "balanced_accuracy", maps)
        print(f"  {models} models, {images} images, {seeds} seeds, noise {training}: {apart:.3f}, {claimed:.3f}")
    print(
        "the same where trainings at the first resolution scatter four times as much: more than 0.05 is to be expected"
    )
    for models, seeds, training in product((1, 4), (2, 3, 5), (0.005, 0.01)):
        cells = grid(dict.fromkeys(FLAT, 0.9), models)
        unsteady = frozenset(cell for cell in cells if cell[1] == FLAT[0])
        world = World(cells, 2000, seeds, training, unsteady=unsteady)
        _, claimed = maps_with_claims(world, "balanced_accuracy", maps)
        print(f"  {models} models, 2000 images, {seeds} seeds, noise {training}: {claimed:.3f}")
    print("a threshold at the third resolution: models whose threshold is found")
    for images, training in product((400, 2000), (0.01, 0.02)):
        world = World(grid(dict(zip(FLAT, (0.7, 0.8, 0.9, 0.9, 0.9), strict=True)), 4), images, 3, training)
        share = thresholds_found(world, "balanced_accuracy", FLAT[2], maps)
        print(f"  {images} images, 3 seeds, noise {training}: {share:.3f}")
    print("deficits: maps in which all bounds hold (at least 0.95); recommended; recommended wrongly (at most 0.05)")
    for seeds, training, images in product((1, 2, 3, 5), (0.003, 0.01), (200, 2000)):
        world = World(grid(dict(zip(FLAT, (0.86, 0.89, 0.90, 0.905, 0.905), strict=True)), 2), images, seeds, training)
        held = bounds_held(world, "balanced_accuracy", maps)
        given, wrong = recommendations(world, "balanced_accuracy", 0.02, maps)
        print(f"  {images} images, {seeds} seeds, noise {training}: {held:.3f}, {given:.3f}, {wrong:.3f}")
    calibration_claims(maps)
    print("operating points, average precision, quadratic kappa, prevalence (0.93 to 0.98, and what is wanted)")
    for claims in OPERATING:
        for claim, condition, measured, error in claims(maps):
            print(f"  {claim}; {condition}: {measured:.3f} (standard error {error:.3f})")


def calibration_claims(draws: int) -> None:
    """Print what the calibration errors promise beside what was measured in so many models."""
    print("calibration errors (intervals 0.93 to 0.985; logits x 1.5 called uncalibrated by 400 images in 0.80)")
    found = [
        calibrated_inside(accuracy, images, draws) for accuracy in (0.75, 0.85, 0.95) for images in (60, 400, 2000)
    ]
    found += [
        error_covered(accuracy, images, factor, draws)
        for accuracy, images, factor in product((0.75, 0.85, 0.95), (400, 2000), (1 / 1.5, 1.5, 2.5))
    ]
    found += [
        uncalibrated_called(accuracy, 400, factor, draws) for accuracy in (0.75, 0.85, 0.9) for factor in (1 / 1.5, 1.5)
    ]
    found += [calibrated_inside(0.85, 400, draws, groups=40), error_covered(0.85, 400, 1.5, draws, groups=40)]
    for one in found:
        print(f"  {one.claim}: {one.condition}: {one.measured:.3f} ± {one.error:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
