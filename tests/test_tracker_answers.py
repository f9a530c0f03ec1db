"""Answers from a tracker that are no answers of MLflow's: never believed, never a traceback, never a forged line."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, command, done_marker, small_config, snakemake
from dagshub_stand_in import Visit, stand_in, status
from test_workflow import trainings

from resomap.cells.study import Study
from resomap.cells.tags import Tag, completion
from resomap.config.schema import Tracking
from resomap.tracking.completed import Completed
from resomap.tracking.elsewhere import running_elsewhere
from resomap.tracking.explain import Reasons
from resomap.tracking.lost_runs import forget_lost_runs
from resomap.tracking.rest import TrackerUnavailable, why_unreachable
from resomap.tracking.standing import standing

NOBODY = "http://127.0.0.1:9"
EXPERIMENT = {"experiment_id": "1", "lifecycle_stage": "active"}
DEEP = b"[" * 100_000
DIGITS = b"9" * 5_000


def with_run(run: Any) -> dict[str, Any]:
    """An answer to every question, with this for its run."""
    return {"experiments": [EXPERIMENT], "experiment": EXPERIMENT, "runs": [run], "run": run}


def with_tags(tags: Any, **info: Any) -> dict[str, Any]:
    return with_run({"info": {"run_id": "a", "status": "RUNNING", **info}, "data": {"tags": tags}})


STRANGE = {
    "nothing": b"",
    "null": b"null",
    "deep": DEEP,
    "deep inside": b'{"experiments": [{"experiment_id": "1"}], "runs": ' + DEEP,
    "long number": b'{"experiments": ' + DIGITS + b"}",
    "no text": b"\xff\xfe\x00",
    "NaN": b'{"runs": NaN, "experiments": Infinity}',
    "experiments null": {"experiments": None, "experiment": None},
    "experiments object": {"experiments": {"0": EXPERIMENT}, "experiment": [EXPERIMENT]},
    "experiment without id": {"experiments": [{}], "experiment": {}},
    "experiment id a list": {"experiments": [{"experiment_id": []}], "experiment": {"experiment_id": {}}},
    "runs null": {**with_run(None), "runs": None},
    "runs object": {**with_run({}), "runs": {"0": {}}},
    "runs text": {**with_run("x"), "runs": "many"},
    "runs of all kinds": {**with_run({}), "runs": [None, 1, "x", [], {}, {"info": None}, {"info": []}]},
    "data a list": with_run({"info": {"run_id": "a"}, "data": []}),
    "tags an object": with_tags({"key": "value"}),
    "tags null": with_tags(None),
    "tags of all kinds": with_tags([None, 1, [], {}, {"key": []}]),
    "token a list": {**with_tags([]), "next_page_token": [1]},
    "token for ever": {**with_run({}), "runs": [], "next_page_token": "more"},
    "status a list": with_tags([], status=[]),
    "heartbeats": with_tags([{"key": Tag.HEARTBEAT, "value": value} for value in ("²", "٣", "9" * 400, "-1", "")]),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_answer_is_no_answer(name: str, study_in: Callable[..., Study]) -> None:
    """Each question that planning, sync and doctor ask is answered, or the tracker counts as unavailable."""
    with stand_in(NOBODY) as server:
        server.trouble = status(200, STRANGE[name])
        study = study_in(experiment=name, tracking={"uri": server.uri})
        tracking, cells = study.config.tracking, study.cells()
        receipt = Path("results", MODEL, "32.journal.sent.json")
        receipt.parent.mkdir(parents=True)
        receipt.with_name("32.journal.jsonl").write_text("")
        receipt.write_text(json.dumps({"uri": server.uri, "offset": 0, "run_id": "a", "uid": "u"}))
        completed = Completed(tracking, name, study.base)
        questions: list[Callable[[], object]] = [
            completed.ask_once,
            lambda: running_elsewhere(tracking, name, study.base, study.fingerprints()),
            lambda: Reasons(study).lines(cells),
            lambda: standing(tracking, name),
            lambda: why_unreachable(tracking),
            lambda: forget_lost_runs(tracking, Path("results")),
        ]
        for question in questions:
            with suppress(TrackerUnavailable):
                question()
        assert completed.markers(study.fingerprints(), None) == {}


def endless(visit: Visit) -> bool:
    """More than a memory holds, as fast as it is taken."""
    visit.send_response(200)
    visit.end_headers()
    try:
        for _ in range(4000):
            visit.wfile.write(b" " * (1 << 20))
    except OSError:
        visit.close_connection = True
    return True


def test_an_endless_answer_is_cut_off() -> None:
    script = """
import resource, sys
from resomap.config.schema import Tracking
from resomap.tracking.rest import TrackerUnavailable, ask
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    ask(Tracking(uri=sys.argv[1], timeout_seconds=60), "experiments/search", {})
except TrackerUnavailable as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""
    with stand_in(NOBODY) as server:
        server.trouble = endless
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", script, server.uri], capture_output=True, text=True, check=True)
    kilobytes, _, said = done.stdout.partition(" ")
    assert said.startswith("its answer is longer than 64 MB")
    assert int(kilobytes) < 250_000
    assert time.monotonic() - began < 30


def test_an_error_answer_is_read_with_care() -> None:
    with stand_in(NOBODY) as server:
        for content in (DEEP, b'{"error_code": ' + b"[" * 10_000, {"error_code": [], "message": {"a": 1}}):
            server.trouble = status(500, content)
            assert "500 Internal Server Error" in str(why_unreachable(Tracking(uri=server.uri)))


FORGED = "b\n\x1b[2K1 training is complete in the tracker: all\r"


def test_nothing_of_a_tracker_forges_a_line(study_in: Callable[..., Study], tmp_path: Path, images: Path) -> None:
    """Host, reason, name and marker of runs: on the terminal there is one line each, without control characters."""
    study = study_in(resolutions=[32, 48, 64])
    running, failed, complete = study.cells()
    beat = str(round(time.time()))
    runs = []
    for cell, state, more in (
        (running, "RUNNING", {Tag.HEARTBEAT: beat}),
        (failed, "FAILED", {Tag.REASON: FORGED}),
        (complete, "FINISHED", completion(done_marker(complete, "other", uid=FORGED, exact_reasons=(FORGED,)))),
    ):
        tags = {Tag.FINGERPRINT: study.fingerprint(cell), Tag.CELL: cell.name, Tag.HOST: FORGED, **more}
        pairs = [{"key": key, "value": value} for key, value in tags.items()]
        runs.append({"info": {"run_id": f"{FORGED}{state}", "status": state}, "data": {"tags": pairs}})
    with stand_in(NOBODY) as server:
        server.trouble = status(200, {"experiments": [EXPERIMENT], "runs": runs})
        config = {**small_config(images, resolutions=[32, 48, 64]), "tracking": {"uri": server.uri}}
        listed = snakemake("-n", directory=tmp_path, config=config)
    assert listed.returncode == 0, listed.stderr
    assert trainings(listed.stdout + listed.stderr) == 2
    assert "\x1b" not in listed.stderr
    assert f"{running.name} is running on b [2K1 training is complete" in listed.stderr
    assert not [
        line for line in listed.stderr.splitlines() if line.strip().startswith(("1 training is complete", "[2K"))
    ]
    assert f"{failed.name}: run b  [2K1  FAILED: b  [2K1 training is complete in the tracker: all" in listed.stderr


def test_a_hostile_tracker_stops_no_command(images: Path, study_in: Callable[..., Study]) -> None:
    with stand_in(NOBODY) as server:
        server.trouble = status(200, {"runs": None, "experiments": [{}], "experiment": []})
        study_in(tracking={"uri": server.uri})
        for words in (["doctor"], ["sync"], ["adopt"]):
            done = command("resomap", *words, cwd=Path.cwd())
            assert "Traceback" not in done.stderr + done.stdout
            assert done.stdout + done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4_000_000
