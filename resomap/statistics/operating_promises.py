"""Measurement of what operating points promise, in simulated worlds: each function returns rows of the claims' table.

A row is (claim, condition, measured, Monte Carlo standard error).
"""

from typing import TypeAlias

import numpy as np
from scipy import stats

from resomap.compute.thresholds import OneVsRest
from resomap.statistics.carried import carry
from resomap.statistics.interval_estimates import estimate, intervals
from resomap.statistics.operating_worlds import DISTANCE, Scored
from resomap.statistics.prevalence import at_prevalence
from resomap.statistics.quality import Question, quality
from resomap.statistics.samples import Sample

Row: TypeAlias = tuple[str, str, float, float]

KINDS = ("binormal", "heavy tails", "skewed", "some missed")
# Positives, negatives, images a group, correlation within one.
WORLDS = ((20, 380, 1, 0.0), (50, 150, 1, 0.0), (200, 200, 1, 0.0), (400, 600, 10, 0.5))
SENSITIVITY = OneVsRest("sensitivity_at_specificity", 1, 0.9)
SPECIFICITY = OneVsRest("specificity_at_sensitivity", 1, 0.9)
PRECISION = OneVsRest("precision_at_recall", 1, 0.9)
RANKING = OneVsRest("average_precision", 1)


def carried_coverage(draws: int, seed: int = 0) -> list[Row]:
    """Intervals of an operating point on test, its threshold chosen on validation: the choice is in them."""
    rows = []
    for wanted, mixed in ((SENSITIVITY, False), (SPECIFICITY, False), (PRECISION, True)):
        for kind in KINDS:
            for positives, negatives, size, within in WORLDS:
                world = Scored(kind, positives, negatives, mixed, size, within)
                truth, random, held = world.truth(wanted), np.random.default_rng(seed), []
                for _ in range(draws):
                    found = carry(world.draw(random), world.draw(random), wanted)
                    if found is not None:
                        held.append(found.value.low <= truth <= found.value.high)
                rows.append(_row(f"{_words(wanted)}, threshold carried to test: 95 % interval", world, held))
    return rows


def achieved_coverage(draws: int, seed: int = 0) -> list[Row]:
    """Intervals of the share that a threshold holds on test, and the mean of what it truly holds."""
    rows = []
    for wanted in (SENSITIVITY, SPECIFICITY):
        for positives, negatives in ((20, 380), (50, 50)):
            world = Scored("binormal", positives, negatives)
            random, held, true = np.random.default_rng(seed), [], []
            for _ in range(draws):
                found = carry(world.draw(random), world.draw(random), wanted)
                assert found is not None
                true.append(_truly_held(found.threshold, wanted))
                held.append(found.held.low <= true[-1] <= found.held.high)
            share = "specificity" if wanted.holds_negatives else "sensitivity"
            rows.append(_row(f"{share} that the threshold holds on test: 95 % interval", world, held))
            name, error = f"{share} held on new images, {wanted.at} wanted: mean", float(np.std(true)) / draws**0.5
            rows.append((name, _condition(world), float(np.mean(true)), error))
    return rows


def judged_coverage(draws: int, seed: int = 0) -> list[Row]:
    """Intervals of the map, from one validation split: operating points cross-fitted, and average precision."""
    rows = []
    for wanted in (SENSITIVITY, SPECIFICITY, PRECISION, RANKING):
        for kind in KINDS:
            for positives, negatives, size, within in WORLDS:
                world = Scored(kind, positives, negatives, wanted in (PRECISION, RANKING), size, within)
                truth, random = world.truth(wanted), np.random.default_rng(seed)
                held = [_holds(world.draw(random), wanted, truth) for _ in range(draws)]
                rows.append(_row(f"{_words(wanted)} on validation: 95 % interval", world, held))
    return rows


def kappa_coverage(draws: int, seed: int = 0) -> list[Row]:
    """Intervals of quadratic kappa for four grades, of which the highest is rare."""
    rows = []
    for images, noise in ((60, 0.5), (200, 0.5), (200, 1.5), (1000, 0.25)):
        random = np.random.default_rng(seed)
        value = quality("quadratic_kappa", _graded(random, 400_000, noise))
        assert value is not None
        held = [_holds(_graded(random, images, noise), "quadratic_kappa", value.value) for _ in range(draws)]
        condition = f"{images} images, kappa {value.value:.2f}"
        rows.append(("quadratic kappa: 95 % interval", condition, *_share(held)))
    return rows


def prevalence_coverage(draws: int, seed: int = 0) -> list[Row]:
    """Intervals of accuracy and positive predictive value at another prevalence than that of the images."""
    rows = []
    for positives, negatives, prevalence in ((20, 380, 0.01), (50, 50, 0.05), (200, 800, 0.3)):
        world, random = Scored("binormal", positives, negatives), np.random.default_rng(seed)
        held: dict[str, list[bool]] = {"accuracy": [], "positive predictive value": []}
        for _ in range(draws):
            found = carry(world.draw(random), world.draw(random), SENSITIVITY)
            assert found is not None
            sensitivity = _truly_held(found.threshold, SPECIFICITY)
            specificity = _truly_held(found.threshold, SENSITIVITY)
            right, wrong = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
            figures = at_prevalence(found.sensitivity, found.specificity, prevalence)
            accuracy = right + (1 - prevalence) * specificity
            held["accuracy"].append(figures.accuracy.low <= accuracy <= figures.accuracy.high)
            held["positive predictive value"].append(figures.ppv.low <= right / (right + wrong) <= figures.ppv.high)
        for name, each in held.items():
            rows.append(_row(f"{name} at prevalence {prevalence}: 95 % interval", world, each))
    return rows


ALL = (carried_coverage, achieved_coverage, judged_coverage, kappa_coverage, prevalence_coverage)


def _holds(sample: Sample, wanted: Question, truth: float) -> bool:
    if quality(wanted, sample) is None:
        return True  # nothing is said of it
    found = intervals(estimate({("", 0): [sample]}, wanted))["", 0]
    return found.low <= truth <= found.high


def _truly_held(threshold: float, wanted: OneVsRest) -> float:
    """Return the share that a threshold holds in the binormal world, in closed form."""
    return float(stats.norm.cdf(threshold) if wanted.holds_negatives else stats.norm.sf(threshold - DISTANCE))


def _graded(random: np.random.Generator, images: int, noise: float) -> Sample:
    labels = random.choice(4, images, p=(0.4, 0.3, 0.25, 0.05))
    seen = labels + noise * random.standard_normal(images)
    logits = -((seen[:, None] - np.arange(4)) ** 2)
    return Sample(labels, logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def _row(claim: str, world: Scored, held: list[bool]) -> Row:
    return (claim, _condition(world), *_share(held))


def _share(held: list[bool]) -> tuple[float, float]:
    share = float(np.mean(held))
    return share, (max(share * (1 - share), 1 / len(held)) / len(held)) ** 0.5


def _condition(world: Scored) -> str:
    text = f"{world.kind}, {world.positives} positives, {world.negatives} negatives"
    return f"{text}, {world.group_size} a group (correlation {world.within:g})" if world.group_size > 1 else text


def _words(wanted: OneVsRest) -> str:
    return str(wanted).replace("_", " ")
