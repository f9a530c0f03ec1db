"""Lines of a journal that lack what their kind needs are passed over, as a torn line is."""

import json
from pathlib import Path

import pytest

from resomap.tracking.journal import Journal, read_events
from resomap.tracking.sender import Receipt, receipt_path

STRANGE = [
    {"kind": "start", "time": 1, "name": "a", "params": {}, "tags": {}},
    {"kind": "start", "time": 1, "uid": [], "name": "a", "params": {}, "tags": {}},
    {"kind": "metrics", "time": 1, "step": 1, "values": None},
    {"kind": "metrics", "time": 1, "step": 1, "values": {"a": "x"}},
    {"kind": "metrics", "time": "now", "step": 1, "values": {}},
    {"kind": "artifact", "time": 1, "name": "a"},
    {"kind": "end", "time": 1, "status": "FINISHED", "tags": []},
    {"kind": [], "time": 1},
    ["kind"],
]


@pytest.mark.parametrize("line", STRANGE)
def test_a_strange_line_is_passed_over(line: object, tmp_path: Path) -> None:
    path = tmp_path / "32.journal.jsonl"
    path.write_text(json.dumps(line) + "\n" + "[" * 100_000 + "\n")
    book = Journal(path)
    book.start("u", "cell", {}, {})
    book.metrics(1, {"a": 0.5})
    book.end("FINISHED", {})
    book.close()
    events, offset = read_events(path)
    assert [event["kind"] for event in events] == ["start", "metrics", "end"]
    assert offset == path.stat().st_size


@pytest.mark.parametrize("change", [{"offset": -5}, {"offset": 10**6}, {"offset": "3"}, {"run_id": []}, {"uri": None}])
def test_a_receipt_of_another_shape_is_none(change: dict[str, object], tmp_path: Path) -> None:
    journal = tmp_path / "32.journal.jsonl"
    journal.write_text("x" * 100)
    content = {"uri": "https://a", "offset": 50, "run_id": "r", "uid": "u", "is_open": False}
    receipt_path(journal).write_text(json.dumps(content))
    assert Receipt.read(journal) is not None
    receipt_path(journal).write_text(json.dumps(content | change))
    assert Receipt.read(journal) is None
