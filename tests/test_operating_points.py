"""Operating points, average precision and quadratic kappa: values, influence, thresholds, and what intervals cover."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from resomap.compute.further_metrics import further_metric
from resomap.compute.thresholds import OneVsRest, choose_threshold, least_held, log_odds, share_at
from resomap.statistics import Sample, estimate, intervals, quality
from resomap.statistics.agreement import quadratic_kappa
from resomap.statistics.carried import carried_influence, carry
from resomap.statistics.operating_point import cross_fitted, folds, low_quantile, missed_around
from resomap.statistics.operating_promises import PRECISION, RANKING, SENSITIVITY, SPECIFICITY
from resomap.statistics.operating_worlds import Scored
from resomap.statistics.prevalence import at_prevalence
from resomap.statistics.ranking import average_precision
from resomap.statistics.shares import Share, share

THRESHOLDS = (SENSITIVITY, SPECIFICITY, PRECISION)


def sample_of(odds: np.ndarray, labels: Any, groups: np.ndarray | None = None) -> Sample:
    logs = -np.logaddexp(0, np.stack([odds, -odds], axis=1))
    return Sample(np.asarray(labels), logs, groups)


def graded(random: np.random.Generator, images: int, classes: int = 4) -> Sample:
    labels = random.integers(0, classes, images)
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.5
    return Sample(labels, logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def weighted(sample: Sample, image: int, times: int) -> Sample:
    """The sample with one image that stands in it more often."""
    chosen = np.append(np.arange(len(sample.labels)), [image] * times)
    return Sample(sample.labels[chosen], sample.log_probabilities[chosen])


def test_log_odds_are_the_difference_of_two_logits_and_do_not_saturate() -> None:
    logits = np.array([[40.0, 0.0], [0.0, 60.0], [1.0, -1.0]])
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    assert log_odds(logs, 1) == pytest.approx([-40, 60, -2])
    assert log_odds(logs, 0) == pytest.approx([40, -60, 2])
    three = np.log(np.array([[0.2, 0.3, 0.5]]))
    assert log_odds(three, 2) == pytest.approx([0.0])
    assert log_odds(three, 0) == pytest.approx([np.log(0.25)])


def test_the_threshold_is_the_quantile_that_a_new_image_keeps_to() -> None:
    negatives = np.arange(1.0, 20.0)  # 19 of them: 18 of 20 parts lie below the 18th
    scores, truth = np.append(negatives, 99.0), np.append(np.zeros(19, bool), True)
    assert choose_threshold(scores, truth, SENSITIVITY) == pytest.approx(18.0)
    swapped = choose_threshold(scores, ~truth, SPECIFICITY)
    assert swapped is not None
    assert 1.999 < swapped < 2.0, "a positive at the second lowest score is called positive"
    assert choose_threshold(scores, np.ones(20, bool), SENSITIVITY) is None
    assert choose_threshold(scores, np.zeros(20, bool), SPECIFICITY) is None


@pytest.mark.parametrize("wanted", THRESHOLDS)
def test_the_wanted_share_is_never_missed_where_the_threshold_was_chosen(wanted: OneVsRest) -> None:
    random = np.random.default_rng(0)
    for images in range(2, 60):
        scores, at = random.integers(0, 15, images) * 0.5, float(random.uniform(0.5, 0.99))
        truth = np.arange(images) % 2 == 0
        point = OneVsRest(wanted.metric, 1, at)
        threshold = choose_threshold(scores, truth, point)
        assert threshold is not None
        kept = (scores > threshold) != point.holds_negatives
        assert kept[~truth if point.holds_negatives else truth].mean() >= at - 1e-9


@pytest.mark.parametrize(("at", "least"), [(0.9, 9), (0.95, 19), (0.5, 1), (0.99, 99)])
def test_fewer_images_cannot_hold_a_share_on_average(at: float, least: int) -> None:
    assert least_held(at) == least
    random, point = np.random.default_rng(0), OneVsRest("sensitivity_at_specificity", 1, at)

    def held(images: int) -> float:
        drawn = random.random((4000, images))
        truth = np.zeros(images, bool)
        return float(np.mean([choose_threshold(row, truth, point) for row in drawn]))

    assert held(least) == pytest.approx(at, abs=0.02)
    if least > 5:
        assert held(least // 2) < at - 0.005


def test_values_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    labels = (random.random(300) < 0.2).astype(int)
    odds = np.round(random.normal(size=300) + 1.5 * labels, 1)  # with ties
    sample, several = sample_of(odds, labels), graded(random, 300)
    found = average_precision(sample, 1)
    assert found is not None
    assert found.value == pytest.approx(metrics.average_precision_score(labels, odds))
    other = average_precision(sample, 0)
    assert other is not None
    assert other.value == pytest.approx(metrics.average_precision_score(1 - labels, -odds))
    kappa = quadratic_kappa(several)
    predicted = several.log_probabilities.argmax(axis=1)
    assert kappa is not None
    assert kappa.value == pytest.approx(metrics.cohen_kappa_score(several.labels, predicted, weights="quadratic"))
    one_class = average_precision(several, 2)
    assert one_class is not None
    ranked = log_odds(several.log_probabilities, 2)
    assert one_class.value == pytest.approx(metrics.average_precision_score(several.labels == 2, ranked))


def test_influence_is_what_one_more_image_changes() -> None:
    random = np.random.default_rng(2)
    labels = (random.random(400) < 0.3).astype(int)
    ranked, several = sample_of(random.normal(size=400) + 1.5 * labels, labels), graded(random, 400)
    for measured, sample in ((lambda one: average_precision(one, 1), ranked), (quadratic_kappa, several)):
        found = measured(sample)
        assert found is not None
        assert found.influence.sum() == pytest.approx(0, abs=1e-8)
        for image in range(0, 400, 23):
            more = measured(weighted(sample, image, 2))
            assert more is not None
            expected = (more.value - found.value) * 402 / 2
            assert found.influence[image] == pytest.approx(expected, abs=0.02 + 0.06 * abs(expected))


@pytest.mark.parametrize("wanted", THRESHOLDS)
def test_influence_holds_the_noise_of_the_threshold(wanted: OneVsRest) -> None:
    """The variance that influence values add up to is that over new samples, which a fixed threshold's is not."""
    world, random = Scored("binormal", 80, 120, is_mixed=wanted is PRECISION), np.random.default_rng(3)
    values, variances, fixed = [], [], []
    for _ in range(400):
        found = cross_fitted(world.draw(random), wanted)
        assert found is not None
        values.append(found.value)
        variances.append(found.influence @ found.influence / len(found.influence) ** 2)
        fixed.append(found.value * (1 - found.value) / found.counted)
    ratio = np.mean(variances) / np.var(values)
    assert 0.8 < ratio < 1.6  # noise of the slope makes it too large rather than too small
    if wanted is not PRECISION:
        assert np.mean(fixed) / np.var(values) < 0.75


def test_folds_keep_groups_whole_and_deal_out_the_positives() -> None:
    random = np.random.default_rng(4)
    truth, groups = random.random(500) < 0.1, random.integers(0, 100, 500)
    fold = folds(truth, groups)
    assert all(len(np.unique(fold[groups == one])) == 1 for one in np.unique(groups))
    alone = folds(truth, None)
    counts = np.bincount(alone[truth], minlength=10)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(alone, folds(truth, np.arange(500) + 7)), "groups of one are no groups"


def test_each_image_is_judged_at_a_threshold_of_other_groups() -> None:
    """A group whose negatives score above all others lifts the threshold for the other groups, not for its own."""
    random = np.random.default_rng(5)
    labels, groups = np.arange(400) % 2, np.arange(400) // 20
    odds, own = random.normal(size=400) + 2.0 * labels, groups == 3
    odds[own & (labels == 0)] += 100.0
    fold = folds(labels == 1, groups)
    rest = fold != fold[own][0]
    without = choose_threshold(odds[rest], labels[rest] == 1, SENSITIVITY)
    lifted = choose_threshold(odds, labels == 1, SENSITIVITY)
    assert without is not None
    assert lifted is not None
    assert without + 0.02 < lifted
    values = []
    for place in (without - 0.01, without + 0.01):
        odds[own & (labels == 1)] = place
        found = cross_fitted(sample_of(odds, labels, groups), SENSITIVITY)
        assert found is not None
        values.append(found.value)
    assert values[1] - values[0] == pytest.approx(10 / 200)


def test_undefined_where_a_class_is_missing() -> None:
    only = sample_of(np.array([1.0, 2.0, 3.0]), [0, 0, 0])
    for wanted in (*THRESHOLDS, RANKING):
        assert quality(wanted, only) is None
        assert wanted is RANKING or carry(only, only, wanted) is None
    same = Sample.of_probabilities(np.zeros(3, int), np.tile([0.9, 0.1], (3, 1)))
    assert quality("quadratic_kappa", same) is None


def test_kappa_of_reversed_grades_is_minus_one_and_its_interval_reaches_there() -> None:
    labels = np.repeat([0, 1], 20)
    reversed_grades = Sample.of_probabilities(labels, np.eye(2)[1 - labels])
    found = intervals(estimate({("", 0): [reversed_grades]}, "quadratic_kappa"))["", 0]
    assert found.value == pytest.approx(-1)
    assert found.low == pytest.approx(-1)
    assert -0.95 < found.high < -0.5


def test_one_vs_rest_of_several_classes_is_a_matter_of_two() -> None:
    random = np.random.default_rng(6)
    several = graded(random, 300)
    merged = sample_of(log_odds(several.log_probabilities, 2), (several.labels == 2).astype(int))
    for wanted in (*THRESHOLDS, RANKING):
        of_three = quality(OneVsRest(wanted.metric, 2, wanted.at), several)
        of_two = quality(wanted, merged)
        assert of_three is not None
        assert of_two is not None
        assert of_three.value == pytest.approx(of_two.value)
        assert of_three.influence == pytest.approx(of_two.influence)


def test_what_chooses_epochs_is_what_is_judged() -> None:
    random = np.random.default_rng(11)
    several = graded(random, 300)
    logs, labels = several.log_probabilities, several.labels
    is_positive, odds = labels == 2, log_odds(logs, 2)
    ranked = further_metric("average_precision", logs, labels, 2, 0.9)
    assert ranked == pytest.approx(metrics.average_precision_score(is_positive, odds))
    kappa = further_metric("quadratic_kappa", logs, labels, None, 0.9)
    assert kappa == pytest.approx(metrics.cohen_kappa_score(labels, logs.argmax(axis=1), weights="quadratic"))
    for name in ("sensitivity_at_specificity", "specificity_at_sensitivity", "precision_at_recall"):
        wanted = OneVsRest(name, 2, 0.8)
        threshold = choose_threshold(odds, is_positive, wanted)
        assert threshold is not None
        found = further_metric(name, logs, labels, 2, 0.8)
        assert found == share_at(odds > threshold, is_positive, name)
        judged = quality(wanted, several)  # at thresholds of other images: near, and not the same
        assert judged is not None
        assert found == pytest.approx(judged.value, abs=0.06)
    assert further_metric("average_precision", logs, np.zeros(300, int), 2, 0.9) is None
    assert further_metric("sensitivity_at_specificity", logs, np.full(300, 2), 2, 0.9) is None
    alike = np.log(np.tile([0.9, 0.1], (5, 1)))
    assert further_metric("quadratic_kappa", alike, np.zeros(5, int), None, 0.9) is None


def test_groups_of_copies_count_once() -> None:
    random = np.random.default_rng(7)
    hits = random.random(40) < 0.8
    alone = share(hits)
    copied = share(np.repeat(hits, 5), np.repeat(np.arange(40), 5))
    assert alone is not None
    assert copied is not None
    assert copied.value == pytest.approx(alone.value)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.1)
    validation, test = (Scored("binormal", 30, 90).draw(random) for _ in range(2))

    def times(sample: Sample) -> Sample:
        groups = np.repeat(np.arange(len(sample.labels)), 5)
        return Sample(sample.labels[groups], sample.log_probabilities[groups], groups)

    once, often = carry(validation, test, SENSITIVITY), carry(times(validation), times(test), SENSITIVITY)
    assert once is not None
    assert often is not None
    assert often.value.high - often.value.low == pytest.approx(once.value.high - once.value.low, rel=0.2)


def test_test_labels_choose_nothing() -> None:
    random = np.random.default_rng(8)
    world = Scored("binormal", 30, 90)
    validation, test = world.draw(random), world.draw(random)
    found = carry(validation, test, SENSITIVITY)
    shuffled = carry(validation, Sample(random.permutation(test.labels), test.log_probabilities), SENSITIVITY)
    assert found is not None
    assert shuffled is not None
    assert found.threshold == shuffled.threshold
    assert found.value != shuffled.value


def test_carried_influence_has_the_variance_of_carried_values() -> None:
    world, random = Scored("binormal", 60, 90), np.random.default_rng(9)
    values, variances = [], []
    for _ in range(400):
        found = carried_influence(world.draw(random), world.draw(random), SENSITIVITY)
        assert found is not None
        values.append(found.value)
        variances.append(found.influence @ found.influence / len(found.influence) ** 2)
    assert 0.8 < np.mean(variances) / np.var(values) < 1.6


def test_levels_around_a_share_and_the_tail_below_the_lowest_value() -> None:
    low, high = missed_around(0.1, 20.0, 0.05)
    assert 0 < low < 1 / 21 < 0.1 < high < 0.4
    ranked = np.sort(np.random.default_rng(10).exponential(size=99))
    assert low_quantile(ranked, 0.01) == pytest.approx(ranked[0])
    assert low_quantile(ranked, 0.001) < low_quantile(ranked, 0.005) < ranked[0]


def test_predictive_values_by_hand() -> None:
    found = at_prevalence(Share(0.8, 0.6, 0.9, 20), Share(0.9, 0.87, 0.93, 380), 0.1)
    assert found.accuracy.value == pytest.approx(0.1 * 0.8 + 0.9 * 0.9)
    assert found.ppv.value == pytest.approx(0.08 / (0.08 + 0.09))
    assert found.npv.value == pytest.approx(0.81 / (0.81 + 0.02))
    for one in (found.accuracy, found.ppv, found.npv):
        assert one.value is not None
        assert 0 < one.low < one.value < one.high < 1
    nothing = at_prevalence(Share(0.0, 0.0, 0.1, 20), Share(1.0, 0.9, 1.0, 20), 0.1)
    assert nothing.ppv.value is None
    assert (nothing.ppv.low, nothing.ppv.high) == (0.0, 1.0)
    perfect = at_prevalence(Share(1.0, 0.9, 1.0, 20), Share(1.0, 0.9, 1.0, 20), 0.1)
    assert perfect.ppv.value == perfect.ppv.high == 1.0
    assert perfect.ppv.low < 0.7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "world"),
    [
        (SENSITIVITY, Scored("binormal", 20, 60)),
        (SENSITIVITY, Scored("heavy tails", 200, 800, False, 10, 0.5)),
        (SPECIFICITY, Scored("binormal", 20, 380)),
        (PRECISION, Scored("skewed", 50, 150, True)),
    ],
    ids=str,
)
def test_an_interval_on_test_covers_with_the_choice_in_it(wanted: OneVsRest, world: Scored) -> None:
    truth, random, held = world.truth(wanted), np.random.default_rng(0), []
    for _ in range(2000):
        found = carry(world.draw(random), world.draw(random), wanted)
        assert found is not None
        held.append(found.value.low <= truth <= found.value.high)
    assert 0.93 <= np.mean(held) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "world"),
    [
        (SENSITIVITY, Scored("binormal", 20, 380)),
        (RANKING, Scored("binormal", 20, 380, True)),
    ],
    ids=str,
)
def test_an_interval_of_the_map_covers(wanted: OneVsRest, world: Scored) -> None:
    truth, random, held = world.truth(wanted), np.random.default_rng(1), []
    for _ in range(2000):
        found = intervals(estimate({("", 0): [world.draw(random)]}, wanted))["", 0]
        held.append(found.low <= truth <= found.high)
    assert 0.925 <= np.mean(held) <= 0.985
