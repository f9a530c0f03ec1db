"""Metrics and their influence values: the definitions of resomap.compute.metrics, the variances of a real bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from resomap.compute.metrics import measure
from resomap.core.errors import ResomapError
from resomap.statistics import Sample, estimate, intervals, mcnemar, quality
from resomap.statistics.quality import Metric

METRICS: tuple[Metric, ...] = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")


def a_sample(images: int, classes: int, seed: int, decimals: int = 6) -> Sample:
    """Predictions that are right more often than not; few decimals make many ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    scores = random.normal(size=(images, classes)) + 1.2 * np.eye(classes)[labels]
    shares = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).round(decimals) + 1e-4
    return Sample.of_probabilities(labels, (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(images=st.integers(2, 60), classes=st.integers(2, 5), seed=st.integers(0, 10**6), decimals=st.integers(1, 6))
def test_values_are_those_of_measure(images: int, classes: int, seed: int, decimals: int) -> None:
    sample = a_sample(images, classes, seed, decimals)
    expected = measure(sample.log_probabilities, sample.labels)
    for metric in METRICS:
        found = quality(metric, sample)
        if expected[metric] is None:
            assert found is None
        else:
            assert found is not None
            assert found.value == pytest.approx(expected[metric], abs=1e-9)
            assert found.influence.sum() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classes", [2, 4])
def test_variance_is_that_of_a_bootstrap_over_images(metric: Metric, classes: int) -> None:
    sample = a_sample(400, classes, seed=3)
    found = quality(metric, sample)
    assert found is not None

    def resampled(rows: np.ndarray) -> float:
        one = quality(metric, Sample(sample.labels[rows], sample.log_probabilities[rows]))
        assert one is not None
        return one.value

    bootstrap = stats.bootstrap(
        (np.arange(400),), resampled, vectorized=False, n_resamples=2000, method="percentile", rng=0
    )
    error = np.sqrt(found.influence @ found.influence) / 400
    assert error == pytest.approx(bootstrap.standard_error, rel=0.06)


@pytest.mark.parametrize("metric", METRICS)
def test_covariance_of_two_trainings_is_that_of_a_paired_bootstrap(metric: Metric) -> None:
    first = a_sample(500, 2, seed=5)
    mixed = 0.6 * np.exp(first.log_probabilities) + 0.4 * np.exp(a_sample(500, 2, seed=6).log_probabilities)
    second = Sample.of_probabilities(first.labels, mixed)
    covariance = estimate({("a", 1): [first], ("b", 1): [second]}, metric).image_covariance
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(1500):
        rows = random.integers(0, 500, 500)
        pair = [quality(metric, Sample(one.labels[rows], one.log_probabilities[rows])) for one in (first, second)]
        drawn.append([one.value for one in pair if one is not None])
    expected = np.cov(np.array(drawn).T)
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert correlation == pytest.approx(np.corrcoef(np.array(drawn).T)[0, 1], abs=0.06)
    assert covariance[1, 1] == pytest.approx(expected[1, 1], rel=0.15)


def test_accuracy_of_one_training_has_wilson_s_interval() -> None:
    labels = np.zeros(200, dtype=int)
    right = np.arange(200) < 196
    sample = Sample.of_probabilities(labels, np.where(right[:, None], [0.9, 0.1], [0.1, 0.9]))
    interval = intervals(estimate({("a", 1): [sample]}, "accuracy"))[("a", 1)]
    expected = stats.binomtest(196, 200).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert interval.value == pytest.approx(0.98)
    assert interval.deviation is None
    assert not interval.includes_training_noise


@pytest.mark.parametrize("metric", METRICS)
def test_a_flawless_training_is_not_certain(metric: Metric) -> None:
    labels = np.arange(100) % 2
    sample = Sample.of_probabilities(labels, np.where(labels[:, None] == 0, [0.9, 0.1], [0.2, 0.8]))
    interval = intervals(estimate({("a", 1): [sample]}, metric))[("a", 1)]
    assert interval.value == interval.high == 1.0
    assert 0.95 < interval.low < 0.98


def test_what_is_undefined_is_none_and_an_absent_class_is_left_out_of_balanced_accuracy() -> None:
    labels = np.array([0, 0, 1, 1])
    shares = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    absent = Sample.of_probabilities(labels, shares)  # the third class has no images
    assert quality("auroc", absent) is None
    balanced = quality("balanced_accuracy", absent)
    assert balanced is not None
    assert balanced.value == 0.75
    broken = Sample.of_probabilities(labels, np.where(shares == 0.7, np.nan, shares))
    assert quality("accuracy", broken) is None
    assert quality("accuracy", Sample(labels[:0], absent.log_probabilities[:0])) is None
    with pytest.raises(ResomapError, match="'loss' cannot be compared"):
        quality("loss", absent)  # type: ignore[arg-type]


def test_mcnemar_counts_disagreements_and_is_exact() -> None:
    labels = np.zeros(20, dtype=int)
    right = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    first = Sample.of_probabilities(labels, np.array([right[0] if image < 16 else right[1] for image in range(20)]))
    second = Sample.of_probabilities(labels, np.array([right[0] if image >= 8 else right[1] for image in range(20)]))
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (8, 4)
    assert found.p == pytest.approx(stats.binomtest(8, 12).pvalue)
    assert mcnemar(first, first).p == 1.0
