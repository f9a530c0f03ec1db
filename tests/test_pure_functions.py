"""Order, draws, learning rate and stopping depend on their arguments and on nothing else."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resomap.compute.metrics import measure
from resomap.config import Training
from resomap.config.schema import EarlyStopping
from resomap.train import draws
from resomap.train.schedule import learning_rate
from resomap.train.stopping import BestSoFar


@given(images=st.integers(1, 200), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 100))
def test_order_is_a_permutation_of_its_own(images: int, seed: int, epoch: int) -> None:
    order = draws.order(images, seed, epoch)
    assert sorted(order) == list(range(images))
    assert np.array_equal(order, draws.order(images, seed, epoch))


def test_order_changes_with_epoch_and_seed() -> None:
    first = draws.order(100, 0, 0)
    assert not np.array_equal(first, draws.order(100, 0, 1))
    assert not np.array_equal(first, draws.order(100, 1, 0))


def test_order_is_the_same_on_every_machine() -> None:
    assert list(draws.order(8, seed=0, epoch=0)) == [7, 2, 3, 0, 6, 5, 1, 4]


def test_draws_belong_to_images_and_step_seeds_differ() -> None:
    table = draws.uniforms(50, 3, seed=1, epoch=2)
    assert table.shape == (50, 3)
    assert table.min() >= 0
    assert table.max() < 1
    assert len({draws.step_seed(0, step) for step in range(1000)}) == 1000


def test_warmup_rises_and_cosine_falls_to_the_lowest_rate() -> None:
    recipe = Training(epochs=10, warmup_epochs=2, learning_rate=0.1, min_learning_rate=0.001)
    rates = [learning_rate(step, 10, recipe) for step in range(100)]
    assert rates[0] < rates[10] < rates[19] < 0.1
    assert max(rates) == rates[20] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[20:]))
    assert rates[-1] == pytest.approx(0.001)


def test_linear_is_half_way_in_the_middle_and_constant_stays() -> None:
    linear = Training(epochs=1, warmup_epochs=0, learning_rate=0.1, min_learning_rate=0.0, schedule="linear")
    assert learning_rate(50, 101, linear) == pytest.approx(0.05)
    constant = Training(epochs=1, warmup_epochs=0, learning_rate=0.1, schedule="constant")
    assert {learning_rate(step, 100, constant) for step in range(100)} == {0.1}


def test_warmup_longer_than_the_training_does_not_divide_by_zero() -> None:
    recipe = Training(epochs=1, warmup_epochs=50)
    assert 0 < learning_rate(0, 1, recipe) <= recipe.learning_rate


def test_patience_counts_from_the_best_epoch_and_not_during_warmup() -> None:
    best = BestSoFar("loss")
    assert best.offer(1, 0.5)
    assert not best.offer(2, 0.6)
    strategy = EarlyStopping(patience=2, warmup_epochs=3)
    assert [best.is_exhausted(epoch, strategy) for epoch in (2, 3, 4, 5)] == [False, False, False, True]
    assert not best.is_exhausted(9, EarlyStopping(enabled=False, patience=2))


def test_best_goes_down_for_loss_and_up_for_accuracy() -> None:
    assert BestSoFar("loss", 0.5, 1).offer(2, 0.4)
    assert not BestSoFar("accuracy", 0.5, 1).offer(2, 0.4)
    assert not BestSoFar("accuracy", 0.5, 1).offer(2, 0.505, min_delta=0.01)
    assert not BestSoFar("accuracy", 0.5, 1).offer(2, None)
    assert BestSoFar("accuracy").offer(1, None)


def test_metrics_are_those_of_the_definition_and_undefined_ones_are_none() -> None:
    labels = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]], dtype=np.float32)
    found = measure(np.log(probabilities), labels)
    assert found["accuracy"] == pytest.approx(0.75)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7]).mean(), rel=1e-5)
    assert found["auroc"] == pytest.approx(1.0)
    assert measure(np.log(probabilities[:3]), labels[:3])["auroc"] is None
