"""Runs of an older script in a real MLflow server: listed, and adopted by explicit choice."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, command, snakemake
from test_marker import KEYS, LATER
from test_workflow import trainings

from resomap.cells.marker import Marker, TrainingCost
from resomap.cells.study import Study
from resomap.commands.adoption import Adoption
from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.tracking.metric_names import meanings, our_metrics


@pytest.fixture
def older(server: str) -> Any:
    """Makes a run as a plain script does: start_run(run_name=...), log_params, log_metric; its id."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server)

    def make(experiment: str, name: str, metrics: dict[str, float], status: str = "FINISHED", **params: Any) -> str:
        known = client.get_experiment_by_name(experiment)
        place = known.experiment_id if known else client.create_experiment(experiment)
        run = client.create_run(place, run_name=name).info.run_id
        for key, value in params.items():
            client.log_param(run, key, value)
        for key, value in metrics.items():
            client.log_metric(run, key, value)
        client.set_terminated(run, status)
        return str(run)

    make.client = client  # type: ignore[attr-defined]
    return make


@pytest.mark.slow
def test_listed_then_adopted_by_choice(older: Any, server: str, study_in: Callable[..., Study]) -> None:
    study = study_in(
        experiment="older", resolutions=[32, 40, 48, 56], training={"batch_size": 5}, tracking={"uri": server}
    )
    metrics = {"test_acc": 87.5, "val_loss": 0.4, "best_val_accuracy": 0.9, "val_accuracy": 0.8, "train_loss": 0.1}
    first = older("older", f"{MODEL}_32", metrics, epochs=10, lr="1e-3", batch_size=5)
    time.sleep(0.01)
    twice = [older("older", f"{MODEL}_40", {"test_accuracy": value}) for value in (0.5, 0.6)]
    failed = older("older", f"{MODEL}_48", {"test_accuracy": 0.5}, "FAILED")
    dumb = older("older", f"{MODEL}_56", {"score": 0.5, "test_loss": float("nan")})
    strange = older("older", "no_such_model_32", {"test_accuracy": 0.5})
    older("older", "notes", {"test_accuracy": 0.5})
    tags_before = older.client.get_run(first).data.tags

    listed = command("resomap", "adopt", cwd=Path.cwd())
    assert listed.returncode == 0, listed.stderr
    line = next(line for line in listed.stdout.splitlines() if first[:8] in line)
    assert "test/accuracy 0.8750, val/accuracy 0.9000, val/loss 0.4000; epochs 10, wanted 3" in line
    assert "test_acc is taken for percent" in line
    for run, why in (
        (failed, "it ended FAILED"),
        (dumb, "none of its metrics is known"),
        (strange, "no model of that"),
    ):
        line = next(line for line in listed.stdout.splitlines() if run[:8] in line)
        assert f"(cannot be adopted: {why}" in line
    assert "notes" not in listed.stdout
    assert older.client.get_run(first).data.tags == tags_before  # listing changes nothing

    adopted = command("resomap", "adopt", f"{MODEL}_32", cwd=Path.cwd())
    assert adopted.stdout == f"{MODEL}@32 is complete: run {first[:8]}, adopted\n", adopted.stderr
    tags = older.client.get_run(first).data.tags
    assert {key: tags[key] for key in tags_before} == tags_before
    assert tags["resomap.complete"] == "1"
    assert json.loads(tags["resomap.marker"])["exact_reasons"][0] == f"adopted from run {first} of an older script"

    config = study.config.model_dump()
    listed = snakemake("-n", directory=Path.cwd(), config=config)
    assert trainings(listed.stdout + listed.stderr) == 3
    assert f"1 training is complete in the tracker: {MODEL}@32" in listed.stderr
    [cell, *_] = study.cells()
    marker = Marker.of_done(cell, study.fingerprint(cell))
    assert marker is not None
    assert (marker.origin, marker.exact, marker.epochs) == ("tracker", False, 10)
    assert marker.cost == TrainingCost()
    shown = command("resomap", "status", cwd=Path.cwd())
    assert "0.8750" not in shown.stdout  # the table is about balanced accuracy, which that run did not log
    assert "undefined" in shown.stdout

    # Adopted once, it has a fingerprint and is no candidate any more; the other choices are clear or refused.
    for words, why in (
        ([f"{MODEL}_32"], f"has no run {MODEL}_32 without fingerprint"),
        ([f"{MODEL}_40"], "several runs are named"),
        ([f"{MODEL}_48"], "it ended FAILED"),
        (["--run", "zzz"], "has no run without fingerprint"),
        (["--metric", "score=test/beauty", "--all"], "must be THEIRS=test/NAME"),
    ):
        refused = command("resomap", "adopt", *words, cwd=Path.cwd())
        assert refused.returncode == 2
        assert why in refused.stderr
        assert "Traceback" not in refused.stderr
    assert command("resomap", "adopt", "--run", twice[0], cwd=Path.cwd()).returncode == 0
    refused = command("resomap", "adopt", f"{MODEL}_40", cwd=Path.cwd())
    assert f"{MODEL}@40 is complete already" in refused.stderr
    everything = command("resomap", "adopt", "--all", "--metric", "score=test/accuracy", cwd=Path.cwd())
    assert everything.stdout == f"{MODEL}@56 is complete: run {dumb[:8]}, adopted\n", everything.stderr


def test_a_run_of_another_experiment_is_copied_once(older: Any, server: str, study_in: Callable[..., Study]) -> None:
    study = study_in(experiment="newer", training={"batch_size": 7}, tracking={"uri": server})
    run = older("much older", f"{MODEL}_32", {"test/f1_score": 0.5}, num_epochs=4)
    before = older.client.get_run(run)
    adoption = Adoption(study, "much older", [])
    assert len(list(adoption.adopt([f"{MODEL}_32"], [], False))) == 1
    assert older.client.get_run(run).data.tags == before.data.tags  # only the copy is tagged
    newer = older.client.get_experiment_by_name("newer").experiment_id
    [copy] = older.client.search_runs([newer])
    assert copy.data.tags["resomap.adopted_from"] == run
    assert copy.data.metrics == before.data.metrics
    assert copy.data.params == before.data.params
    assert copy.info.end_time == before.info.end_time
    listed = snakemake("-n", directory=Path.cwd(), config=study.config.model_dump())
    assert trainings(listed.stdout + listed.stderr) == 0
    with pytest.raises(ResomapError, match="is complete already"):
        list(Adoption(study, "much older", []).adopt([f"{MODEL}_32"], [], False))


def test_the_local_database_gives_the_marker_at_once(study_in: Callable[..., Study]) -> None:
    study = study_in()
    from resomap.tracking.client import connect
    from resomap.tracking.rest import tracking_uri

    client = connect(tracking_uri(study.config.tracking))
    place = client.create_experiment(study.config.experiment)
    run = client.create_run(place, run_name=f"{MODEL}_32").info.run_id
    client.log_metric(run, "test_accuracy", 0.75)
    client.set_terminated(run, "FINISHED")
    assert list(Adoption(study, None, []).adopt([], [], True))
    [cell] = study.cells()
    marker = Marker.of_done(cell, study.fingerprint(cell))
    assert marker is not None
    assert (marker.origin, marker.run_id) == ("tracker", run)
    known = [key for key in KEYS if key not in ("weights_in_tracker", "microbatch")]
    assert list(read_json(cell.marker)) == [*known, *LATER]


def test_no_experiment_and_no_server_are_one_sentence(
    server: str, study_in: Callable[..., Study], tmp_path: Path
) -> None:
    study_in(experiment="nobody made this", tracking={"uri": server})
    asked = command("resomap", "adopt", cwd=Path.cwd())
    assert asked.returncode == 2
    assert "has no experiment nobody made this; name it by --experiment" in asked.stderr
    study_in(tracking={"uri": "http://127.0.0.1:9"})
    asked = command("resomap", "adopt", cwd=Path.cwd())
    assert asked.returncode == 2
    assert "cannot be used: nothing listens there" in asked.stderr
    assert "Traceback" not in asked.stderr


def names() -> Iterator[tuple[str, str | None]]:
    yield from {"test_accuracy": "test/accuracy", "Test Acc": "test/accuracy", "valid-f1_score": "val/macro_f1"}.items()
    yield from {"test/balanced_accuracy": "test/balanced_accuracy", "best_val_loss": "val/loss"}.items()
    yield from {"final.test.roc_auc": "test/auroc", "validation_top1": "val/accuracy"}.items()
    # Which split is not said, or another one, or another average: not guessed.
    yield from dict.fromkeys(("accuracy", "train_acc", "test_f1_weighted", "test_val_acc", "test_time")).items()


@pytest.mark.parametrize(("theirs", "ours"), list(names()))
def test_names_of_metrics(theirs: str, ours: str | None) -> None:
    found, _ = our_metrics({theirs: 0.5}, {})
    assert found == ({} if ours is None else {ours: 0.5})


def test_values_of_metrics() -> None:
    values = {"test_acc": 250.0, "val_acc": -1.0, "test_f1": float("inf"), "test_loss": 3.5}
    assert our_metrics(values, {}) == ({"test/loss": 3.5}, [])
    assert our_metrics({"score": 50.0}, meanings(["score=val/accuracy"]))[0] == {"val/accuracy": 0.5}
    assert our_metrics({"val_acc": 0.1, "score": 0.5}, meanings(["score=val/accuracy"]))[0] == {"val/accuracy": 0.5}
