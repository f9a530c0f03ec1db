"""The done marker as an object: what it takes from JSON, what it refuses, and that nothing is lost on the way back."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import done_marker
from hypothesis import given
from hypothesis import strategies as st

from resomap.cells import archive
from resomap.cells.cell import Cell
from resomap.cells.marker import LOCAL, SCHEMA, TRACKER, Marker, TrainingCost, require_done
from resomap.cells.study import Study
from resomap.cells.tags import Tag, complete_marker, completion
from resomap.core.errors import ResomapError
from resomap.tracking.elsewhere import Elsewhere

# Written by the version before the marker was an object (5fbc41f), as it stood on disk.
TEXT = """{
  "schema": 1,
  "model": "test_efficientnet",
  "resolution": 32,
  "seed": 0,
  "fingerprint": "b0e7590b176a",
  "base": "b4d9686bbf9f",
  "uid": "d7ac00a948fb4c1f80887ca660addb6d",
  "run_id": "fbfe8c2018f5485c9d8d4def7c6ea594",
  "origin": "local",
  "finished_at": 1795805712.0982199,
  "epochs": 3,
  "best_epoch": 1,
  "metrics": {
    "val/loss": 0.9414674980448865,
    "val/accuracy": 0.4444444444444444,
    "val/auroc": null,
    "test/loss": 0.7251324866049579,
    "test/accuracy": 0.5555555555555556
  },
  "cost": {
    "params": 99710,
    "flops": 4577664,
    "train_seconds": 3.006651826000052,
    "images_per_second": 39.91150520399429,
    "peak_training_memory_bytes": 957329408,
    "device": "AMD EPYC"
  },
  "weights_in_tracker": false,
  "microbatch": 8,
  "exact": false,
  "exact_reasons": [
    "resumed with instructions DEFAULT after AVX512"
  ],
  "content_digest": "a6268f696bb57509e73cf11aef9e3fdb7d333e0e79fb19d67ecf6cc7fbde3d8f",
  "environment": {
    "torch": "2.14.1",
    "torchvision": "0.29.1",
    "timm": "1.0.31",
    "device": "AMD EPYC",
    "instructions": "AVX512"
  },
  "attempt": 2
}
"""
CONTENT: dict[str, Any] = json.loads(TEXT)
KEYS, COST_KEYS = list(CONTENT), list(CONTENT["cost"])
# Keys of later versions, which come last, with the values of a training that does not use them.
LATER = {"precision": None, "fallback": None, "fold": None, "weights": None}
LATER |= {"learning_rate": None, "learning_rate_search": None, "graphs": False}
# Without these no version has taken a file for a marker.
REQUIRED = [*KEYS[:11], "metrics", "cost", "exact"]
OF = Cell("test_efficientnet", 32, 0, "test_efficientnet")
FINGERPRINT = CONTENT["fingerprint"]


def read(content: Any) -> Marker:
    found = Marker.parse(content)
    assert found is not None
    return found


def test_a_new_marker_has_the_bytes_that_it_always_had(tmp_path: Path) -> None:
    marker = Marker(
        schema=SCHEMA,
        model="test_efficientnet",
        resolution=32,
        seed=0,
        fingerprint="b0e7590b176a",
        base="b4d9686bbf9f",
        uid="d7ac00a948fb4c1f80887ca660addb6d",
        run_id="fbfe8c2018f5485c9d8d4def7c6ea594",
        origin=LOCAL,
        finished_at=1795805712.0982199,
        epochs=3,
        best_epoch=1,
        metrics={
            "val/loss": 0.9414674980448865,
            "val/accuracy": 0.4444444444444444,
            "val/auroc": float("nan"),  # JSON does not know it
            "test/loss": 0.7251324866049579,
            "test/accuracy": 0.5555555555555556,
        },
        cost=TrainingCost(
            params=99710,
            flops=4577664,
            train_seconds=3.006651826000052,
            images_per_second=39.91150520399429,
            peak_training_memory_bytes=957329408,
            device="AMD EPYC",
        ),
        weights_in_tracker=False,
        microbatch=8,
        exact=False,
        exact_reasons=("resumed with instructions DEFAULT after AVX512",),
        content_digest="a6268f696bb57509e73cf11aef9e3fdb7d333e0e79fb19d67ecf6cc7fbde3d8f",
        environment=CONTENT["environment"],
        attempt=2,
        precision="bfloat16",
    )
    marker.write(tmp_path / "32.done")
    cost = {**CONTENT["cost"], "reasons": None}
    content = {**CONTENT, "cost": cost, **LATER, "precision": "bfloat16"}
    assert (tmp_path / "32.done").read_text() == json.dumps(content, indent=2) + "\n"
    assert completion(marker) == {"resomap.marker": json.dumps(content), "resomap.complete": "1"}


def test_a_marker_is_read_into_named_values(tmp_path: Path) -> None:
    path = tmp_path / "32.done"
    path.write_text(TEXT)
    marker = Marker.read(path)
    assert marker is not None
    assert (marker.model, marker.resolution, marker.seed, marker.run_id) == (
        "test_efficientnet",
        32,
        0,
        CONTENT["run_id"],
    )
    assert marker.metrics["val/auroc"] is None
    assert marker.cost.train_seconds == 3.006651826000052
    assert marker.exact_reasons == ("resumed with instructions DEFAULT after AVX512",)
    assert not marker.is_from_tracker
    marker.write(path)
    assert path.read_text() == TEXT


# What earlier versions wrote, what `resomap adopt` writes, the least that any wrote, and what a later one may write.
LAYOUTS = {
    "first": {key: value for key, value in CONTENT.items() if key not in ("weights_in_tracker", "microbatch")},
    "before microbatch": {key: value for key, value in CONTENT.items() if key != "microbatch"},
    "adopted": {
        **{key: value for key, value in CONTENT.items() if key not in ("weights_in_tracker", "microbatch")},
        "origin": "tracker",
        "epochs": None,
        "best_epoch": None,
        "cost": dict.fromkeys(COST_KEYS),
        "content_digest": None,
        "environment": {},
        "attempt": 1,
    },
    "least": {**{key: CONTENT[key] for key in REQUIRED}, "cost": {}},
    "no run, whole seconds": {**CONTENT, "run_id": None, "finished_at": 1, "metrics": {"test/accuracy": 1}},
    "later": {
        **CONTENT,
        "schema": 2,
        "cost": {**CONTENT["cost"], "energy_joules": 5.0},
        "extra": {"a": [1, None]},
        "absent": ["model"],
        "teacher": None,
    },
}


@pytest.mark.parametrize("content", LAYOUTS.values(), ids=LAYOUTS)
def test_reading_and_writing_loses_and_adds_nothing(content: dict[str, Any], tmp_path: Path) -> None:
    marker = read(content)
    assert json.dumps(marker.as_json()) == json.dumps(content)  # the order of keys with them
    marker.write(tmp_path / "marker")
    assert json.loads((tmp_path / "marker").read_text()) == content
    assert marker.counts_for(OF, FINGERPRINT)


def test_unknown_keys_go_wherever_the_marker_goes(tmp_path: Path) -> None:
    later = LAYOUTS["later"]
    marker = replace(read(later), origin=TRACKER, run_id="r")
    wanted = {**later, "origin": "tracker", "run_id": "r"}
    assert marker.as_json() == wanted
    assert complete_marker("r", "FINISHED", completion(read(later))) == marker
    note = tmp_path / "32.elsewhere.json"
    Elsewhere("f", "r", "host", 1.0, 2.0, marker).write(note)
    assert json.loads(note.read_text())["marker"] == wanted
    other = Elsewhere.read(note)
    assert other is not None
    assert other.marker == marker


WRONG: dict[str, list[Any]] = {
    "schema": [None, "1", 1.0, True],
    "model": [None, 3, ["vgg11"]],
    "resolution": [None, "32", 32.0, True, [32]],
    "seed": [None, "0", False, 0.5],
    "fingerprint": [None, 5, {}],
    "base": [None, 5],
    "uid": [None, 5, []],
    "run_id": [5, [], {}, False],
    "origin": [None, 1, True],
    "finished_at": ["yesterday", True, []],
    "epochs": ["3", 3.5, True, {}],
    "best_epoch": ["1", 1.5, False],
    "metrics": [None, 3, [], "x", {"test/accuracy": "0.5"}, {"test/accuracy": True}, {"test/accuracy": {}}],
    "cost": [None, [], 3, "much", {"params": 1.5}, {"train_seconds": "3"}, {"device": 3}, {"flops": True}],
    "weights_in_tracker": [None, 0, "yes", []],
    "microbatch": ["8", 8.0, True],
    "exact": [None, 1, "true"],
    "exact_reasons": [None, "why", {}, [1], [None], [["why"]]],
    "content_digest": [5, [], {}],
    "environment": [[], "torch", 3],
    "attempt": ["2", 2.0, True],
}


def test_every_key_has_its_wrong_shapes() -> None:
    assert list(WRONG) == KEYS


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_shape_is_no_marker(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "32.done"
    path.write_text(json.dumps({**CONTENT, key: value}))
    assert Marker.read(path) is None
    tags = {Tag.MARKER: path.read_text(), Tag.COMPLETE: "1"}
    assert complete_marker("r", "FINISHED", tags) is None


@pytest.mark.parametrize("key", KEYS)
def test_only_keys_that_came_later_may_be_missing(key: str) -> None:
    without = {name: value for name, value in CONTENT.items() if name != key}
    assert (Marker.parse(without) is None) == (key in REQUIRED)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "3", '"marker"', TEXT[:200], TEXT + "}", "\x00", "{]"])
def test_a_damaged_file_is_no_marker(text: str, tmp_path: Path) -> None:
    path = tmp_path / "32.done"
    path.write_text(text)
    assert Marker.read(path) is None
    assert Marker.read(tmp_path / "none") is None
    assert Marker.read(path / "below a file") is None


TEXTS = st.text("aé1 /", max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from([*KEYS, "extra", "absent", "new"]), JSON, max_size=4),
    st.dictionaries(st.sampled_from([*COST_KEYS, "extra", "new"]), JSON, max_size=2),
    st.dictionaries(st.sampled_from(["test/accuracy", "val/loss"]), JSON),
)
def test_whatever_stands_there_is_kept_whole_or_refused(
    changes: dict[str, Any], cost: dict[str, Any], metrics: dict[str, Any]
) -> None:
    """No exception, no value of another type, nothing lost."""
    content = {**CONTENT, "cost": {**CONTENT["cost"], **cost}, "metrics": {**CONTENT["metrics"], **metrics}, **changes}
    marker = Marker.parse(content)
    if marker is None:
        return
    assert json.dumps(marker.as_json(), sort_keys=True) == json.dumps(content, sort_keys=True)
    assert marker == Marker.parse(marker.as_json())
    assert marker.counts_for(OF, FINGERPRINT) in (True, False)
    assert {type(value) for value in marker.metrics.values()} <= {int, float, type(None)}
    assert type(marker.resolution) is int
    assert type(marker.exact) is bool


@given(JSON)
def test_anything_but_an_object_is_refused(content: Any) -> None:
    assert Marker.parse(content) is None


def test_a_marker_counts_for_its_cell_and_settings_alone() -> None:
    marker = read(CONTENT)
    assert marker.counts_for(OF, FINGERPRINT)
    assert not marker.counts_for(OF, "another")
    for other in (replace(OF, model="x"), replace(OF, resolution=48), replace(OF, seed=1)):
        assert not marker.counts_for(other, FINGERPRINT)
    for metrics in ({}, {"test/loss": float("nan")}, {"test/loss": float("-inf")}, {"test/loss": 10**400}):
        assert not replace(marker, metrics=metrics).counts_for(OF, FINGERPRINT)
    assert replace(marker, metrics={"test/auroc": None}).counts_for(OF, FINGERPRINT)


def test_files_and_images_of_another_training_are_told_apart() -> None:
    marker = read(CONTENT)
    assert marker.is_of(marker.fingerprint, marker.uid)
    assert not marker.is_of(marker.fingerprint, "another")
    assert not marker.is_of(None, marker.uid)
    assert marker.is_of_other_images("0" * 64)
    assert not marker.is_of_other_images(marker.content_digest)
    assert not marker.is_of_other_images(None)
    assert not replace(marker, content_digest=None).is_of_other_images("0" * 64)


def test_a_cell_that_is_not_done_is_one_sentence(study_in: Callable[..., Study]) -> None:
    study = study_in()
    [cell] = study.cells()
    with pytest.raises(ResomapError, match=rf"{cell.name} is not done under these settings; run .*{cell.marker}"):
        require_done(study, cell)
    done_marker(cell, "another").write(cell.marker)
    with pytest.raises(ResomapError, match="is not done"):
        require_done(study, cell)
    wanted = done_marker(cell, study.fingerprint(cell))
    wanted.write(cell.marker)
    assert require_done(study, cell) == wanted == Marker.of_done(cell, study.fingerprint(cell))


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A cell whose directory holds a complete training, but for its marker."""
    monkeypatch.chdir(tmp_path)
    archive.activate(OF, {"fingerprint": FINGERPRINT, "uid": "u", "cell": OF.name})
    return OF


def test_the_copy_gives_the_marker_back_to_the_byte(cell: Cell) -> None:
    copy = archive.marker_copy_path(cell)
    copy.write_text(TEXT)
    assert archive.recover_marker(cell, FINGERPRINT)
    assert cell.marker.read_text() == TEXT
    later = LAYOUTS["later"]
    copy.write_text(json.dumps(later))
    assert archive.recover_marker(cell, FINGERPRINT)
    assert json.loads(cell.marker.read_text()) == later


def test_the_copy_comes_back_from_where_it_was_set_aside(cell: Cell) -> None:
    archive.marker_copy_path(cell).write_text(TEXT)
    archive.activate(cell, {"fingerprint": "another", "uid": "v", "cell": cell.name})
    assert not archive.marker_copy_path(cell).exists()
    assert archive.recover_marker(cell, FINGERPRINT)
    assert cell.marker.read_text() == TEXT


@pytest.mark.parametrize("content", [{**CONTENT, "metrics": 3}, {**CONTENT, "fingerprint": "another"}, {}, None])
def test_a_copy_that_does_not_count_gives_nothing_back(cell: Cell, content: Any) -> None:
    archive.marker_copy_path(cell).write_text(json.dumps(content))
    assert not archive.recover_marker(cell, FINGERPRINT)
    assert not cell.marker.exists()


def test_a_damaged_copy_in_the_way_of_a_whole_one_is_no_marker(cell: Cell) -> None:
    """The directory holds the wanted training, so the one set aside stays there: nothing to trust, no crash."""
    aside = cell.checkpoints / archive.SET_ASIDE / FINGERPRINT / "done.json"
    aside.parent.mkdir(parents=True)
    aside.write_text(TEXT)
    archive.marker_copy_path(cell).write_text(TEXT[:99])
    assert archive.is_recoverable(cell, FINGERPRINT)
    assert not archive.recover_marker(cell, FINGERPRINT)
    assert not cell.marker.exists()
    assert aside.read_text() == TEXT
