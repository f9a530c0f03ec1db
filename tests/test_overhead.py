"""The benchmark of what a grid takes beyond its trainings: the time in which any of them trains."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overhead import seconds_of_any, trained_in

SPANS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 20)).map(lambda one: (one[0], one[0] + one[1])), max_size=8
)


@given(SPANS)
def test_time_in_which_any_trains_is_that_of_a_count_of_seconds(spans: list[tuple[int, int]]) -> None:
    assert seconds_of_any(spans) == sum(any(low <= second < high for low, high in spans) for second in range(100))


def test_a_training_ends_with_its_last_epoch_and_its_evaluation_is_beyond_it(tmp_path: Path) -> None:
    (tmp_path / "32.done").write_text(json.dumps({"cost": {"train_seconds": 30.5}}))
    (tmp_path / "32.log").write_text(
        "2026-01-02 10:00:00 m@32: attempt 1, process 7\n"
        "2026-01-02 10:00:20 epoch 1/2: train loss 0.7, val accuracy 0.5, 90 images/s\n"
        "2026-01-02 10:00:40 epoch 2/2: train loss 0.6, val accuracy 0.6, 90 images/s\n"
        "2026-01-02 10:00:44 done after 2 epochs (best 2): test accuracy 0.6, 30 s of training\n"
    )
    begin, end = trained_in(tmp_path / "32.done")
    assert datetime.fromtimestamp(end) == datetime(2026, 1, 2, 10, 0, 40)
    assert end - begin == pytest.approx(30.5)
