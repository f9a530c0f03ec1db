"""Costs whose measurement was disturbed: they are told from steady ones (tests/test_map.py has what follows)."""

from typing import Any

import pytest

from resomap.cells.measurement import SCHEMA, why_unsteady

STEADY = {"latency_ms_median": 10.0, "latency_ms_q1": 9.9, "latency_ms_q3": 10.4, "reference": None}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"latency_ms_q1": 8.0, "latency_ms_q3": 12.9}, None),
        ({"latency_ms_q1": 8.0, "latency_ms_q3": 13.1}, "half of its runs took 8 to 13.1 ms"),
        ({"reference": {"latency_ms_before": 4.0, "latency_ms_now": 5.9}}, None),
        ({"reference": {"latency_ms_before": 4.0, "latency_ms_now": 6.1}}, "a@32 beside it took 6.1 ms, and 4 before"),
        ({"reference": {"latency_ms_before": 6.1, "latency_ms_now": 4.0}}, "a@32 beside it took 4 ms, and 6.1 before"),
        ({"reference": {"latency_ms_before": 4.0, "latency_ms_now": None}}, None),
        ({"latency_ms_median": None, "latency_ms_q1": None, "latency_ms_q3": None}, None),
    ],
)
def test_what_counts_as_unsteady(changes: dict[str, Any], why: str | None) -> None:
    content = {**STEADY, **changes}
    if content["reference"]:
        content["reference"] |= {"model": "a", "resolution": 32}
    assert why_unsteady(content) == why


def test_ten_percent_are_the_most_since_rounds_end_where_it_is_steady() -> None:
    content = {**STEADY, "schema": SCHEMA, "latency_ms_q1": 9.5, "latency_ms_q3": 10.4}
    assert why_unsteady(content) is None
    assert why_unsteady({**content, "latency_ms_q3": 10.6}) == "half of its runs took 9.5 to 10.6 ms"


def test_a_measurement_of_an_earlier_version_is_judged_by_its_quartiles() -> None:
    assert why_unsteady({"latency_ms_median": 1.0}) is None
    assert why_unsteady({name: value for name, value in STEADY.items() if name != "reference"}) is None
    assert why_unsteady({"latency_ms_median": 1.0, "latency_ms_q1": 0.5, "latency_ms_q3": 1.5}) is not None
