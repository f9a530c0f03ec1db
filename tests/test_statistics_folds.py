"""Statistics of folds: what trainings add to the variance, held against trainings of data sets drawn anew."""

from dataclasses import replace

import numpy as np
import pytest

from resomap.core.errors import ResomapError
from resomap.statistics import Position, Sample, decide, estimate, intervals, posterior, recommend, sentences
from resomap.statistics.answer import Answer
from resomap.statistics.fold_noise import HIDDEN, fold_noise
from resomap.statistics.fold_promises import Found
from resomap.statistics.fold_worlds import FURTHER, by_folds, by_seeds
from resomap.statistics.groups import Groups
from resomap.statistics.recommendation import Recommendation


def sample(right: np.ndarray, folds: np.ndarray | None, groups: np.ndarray | None = None) -> Sample:
    """Predictions of two classes that are right or wrong on these images."""
    labels = np.arange(len(right)) % 2
    said = np.where(right, labels, 1 - labels)
    probabilities = np.full((len(right), 2), 0.2)
    probabilities[np.arange(len(right)), said] = 0.8
    return (
        Sample.of_probabilities(labels, probabilities, groups)
        if folds is None
        else Sample(labels, np.log(probabilities), groups, folds)
    )


FOLDS = np.repeat([1, 2, 3, 4], 50)


def cells(random: np.random.Generator, shift: float, count: int = 4) -> dict[Position, list[Sample]]:
    """Cells right on nine of ten images, whose trainings differ by a shift of what they get right."""
    found = {}
    for cell in range(count):
        chance = 0.85 + shift * random.standard_normal(4)[FOLDS - 1]
        found["model", 32 + cell] = [sample(random.random(200) < chance, FOLDS)]
    return found


def test_trainings_that_differ_widen_the_intervals() -> None:
    widths = []
    for shift in (0.0, 0.1):
        found = intervals(estimate(cells(np.random.default_rng(0), shift), "accuracy"))
        widths.append(np.mean([one.high - one.low for one in found.values()]))
    assert widths[1] > 1.4 * widths[0]


def test_the_value_is_that_of_all_images_together_and_noise_is_in_it() -> None:
    found = cells(np.random.default_rng(1), 0.0)
    alone = {cell: [Sample(one.labels, one.log_probabilities)] for cell, (one,) in found.items()}
    folded, single = estimate(found, "balanced_accuracy"), estimate(alone, "balanced_accuracy")
    assert folded.values.tolist() == single.values.tolist()
    assert (folded.folds, single.folds) == (4, None)
    assert folded.includes_training_noise
    assert not single.includes_training_noise
    assert (folded.between >= HIDDEN * 4 / 3 * single.variances * (1 - 1e-9)).all()


def test_with_one_fold_noise_is_not_known() -> None:
    random = np.random.default_rng(2)
    found = estimate({("m", 32): [sample(random.random(100) < 0.8, np.ones(100, dtype=int))]}, "accuracy")
    assert found.folds == 1
    assert not found.includes_training_noise


def test_cells_that_are_right_on_every_image_have_an_interval() -> None:
    right = np.ones(200, dtype=bool)
    found = {("m", size): [sample(right, FOLDS)] for size in (32, 64)}
    for cells_of_map in (found, {("m", 32): found["m", 32]}):
        for one in intervals(estimate(cells_of_map, "accuracy")).values():
            assert one.high == 1
            assert 0.95 < one.low < 1


def test_a_training_that_collapsed_widens_its_own_cell_most() -> None:
    found = cells(np.random.default_rng(3), 0.0, 6)
    right = np.random.default_rng(4).random(200) < np.where(FOLDS == 2, 0.2, 0.85)
    found["model", 37] = [sample(right, FOLDS)]
    estimates = estimate(found, "accuracy")
    assert estimates.between[-1] > 10 * estimates.between[:-1].max()


def test_images_of_a_group_are_one_in_the_scatter_between_folds() -> None:
    random = np.random.default_rng(5)
    groups = np.repeat(np.arange(40), 5)
    of_group = np.repeat(random.random((3, 40)) < 0.8, 5, axis=1)
    influence = of_group - of_group.mean(axis=1, keepdims=True)
    found = []
    for known in (groups, None):
        made = fold_noise(influence, FOLDS, Groups.of(known, 200), np.zeros(3), np.ones(3))
        assert made is not None
        found.append(made.training)
    assert found[0] < found[1], "what a group has in common is no noise of trainings"


def test_intervals_and_posterior_hold_on_data_sets_that_are_drawn_anew() -> None:
    found, seeds = Found(), Found()
    for draw in range(12):
        found.add(by_folds(150, 3, draw))
        seeds.add(by_seeds(150, 3, draw))
    truth = found.truth()
    held = [low <= truth[cell] <= high for cell, limits in found.limits.items() for low, high in limits]
    assert np.mean(held) > 0.85
    held = [low <= truth[cell] <= high for cell, limits in found.credible.items() for low, high in limits]
    assert np.mean(held) > 0.85
    wide, narrow = (
        np.mean([high - low for limits in one.limits.values() for low, high in limits]) for one in (seeds, found)
    )
    assert narrow < 0.75 * wide, "as many trainings as seeds on one split tell less"


def test_cells_that_differ_near_1_are_not_drawn_together() -> None:
    """A point is a large part of what is wrong where all are nearly always right: effects are large in log odds."""
    found = Found()
    for draw in range(30):
        found.add(by_folds(150, 3, draw, FURTHER["nearly always right"]))
    truth = found.truth()
    apart = {pair: truth[pair[0]] - truth[pair[1]] for pair in found.differences}
    held = [low <= apart[pair] <= high for pair, limits in found.differences.items() for low, high in limits]
    assert np.mean(held) > 0.94


def test_the_noise_of_folds_is_less_certain_than_their_scatter_says() -> None:
    """Learners differ in what the scatter of folds hides, so the noise is less certain than its degrees of freedom."""
    folded = estimate(cells(np.random.default_rng(7), 0.02, 12), "accuracy")
    widths = [
        priors[-1][1]
        for priors in (posterior(folded).model.priors, posterior(replace(folded, folds=None)).model.priors)
    ]
    assert widths[0] > 0.5 > widths[1]


def answered(found: dict[Position, list[Sample]]) -> tuple[Recommendation, Answer]:
    estimates = estimate(found, "accuracy")
    result = recommend(estimates, {}, 0.02)
    return result, decide(posterior(estimates), result)


def test_sentences_name_what_is_estimated() -> None:
    said = sentences(*answered(cells(np.random.default_rng(6), 0.0)))
    assert "200 images, each judged by a training that did not see it (4 folds)" in said
    assert "is said of training on 3/4 of such data" in said
    assert "one seed" not in said


def test_sentences_of_a_single_fold_say_what_is_not_known() -> None:
    random = np.random.default_rng(7)
    fold = np.full(80, 3)
    result, answer = answered({("m", size): [sample(random.random(80) < 0.8, fold)] for size in (32, 64)})
    said = sentences(result, answer)
    assert "80 images of one fold" in said
    assert "nothing is decided" in said
    assert not answer.decided


def test_predictions_of_other_folds_are_refused() -> None:
    random = np.random.default_rng(8)
    right = random.random(200) < 0.8
    with pytest.raises(ResomapError, match="other images"):
        estimate({("m", 32): [sample(right, FOLDS)], ("m", 64): [sample(right, FOLDS[::-1].copy())]}, "accuracy")
