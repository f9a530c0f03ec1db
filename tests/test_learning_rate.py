"""Learning rate `auto`: a search for each model, its outcome in the training, and what a plan and a kill make of it."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, RESOLUTION, done_marker, environment_with, small_config, snakemake, trainer
from endings import End, assert_same_bits, last
from waiting import wait_for

from resomap.cells import learning_rate_choice, microbatch_choice
from resomap.cells.learning_rate_choice import RateSearch
from resomap.cells.measurement import Measurement
from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed
from resomap.config import Training, parse_config
from resomap.core.errors import Interrupted, PermanentFailure, ResomapError
from resomap.core.files import read_json, write_json
from resomap.train.learning_rate_search import best_rate, find_learning_rate, next_rate
from resomap.train.signals import SignalWatch

CELL = f"{MODEL}@{RESOLUTION}"
# So low that the best of the three is always the highest, and two more are tried.
LOW = [1e-6, 3e-6, 1e-5]
SEARCH: dict[str, Any] = {"rates": [0.0003, 0.003, 0.03], "epochs": 1, "resolution": RESOLUTION}


def auto(changes: dict[str, Any] | None = None, **search: Any) -> dict[str, Any]:
    """The section `training` with a rate to be found."""
    return {"learning_rate": "auto", "learning_rate_search": {**SEARCH, **search}, **(changes or {})}


def find(study: Study) -> tuple[RateSearch, list[str]]:
    """The outcome of the search in the study's directory, and what it said."""
    said: list[str] = []
    find_learning_rate(study, MODEL, 1, SignalWatch(), said.append)
    found = learning_rate_choice.read(study, MODEL)
    assert found is not None
    return found, said


# The ladder


def trial(value: float | None) -> dict[str, Any]:
    return {"value": value, "epoch": 1, "reason": None}


def test_the_ladder_is_extended_at_its_edge_at_most_twice() -> None:
    ladder = [0.001, 0.003, 0.01]
    tried: dict[float, dict[str, Any]] = {}
    for rate in ladder:
        assert next_rate(tried, ladder, "loss") == rate
        tried[rate] = trial(-rate)  # the higher, the better
    assert next_rate(tried, ladder, "loss") == 0.0333
    tried[0.0333] = trial(-1)
    assert next_rate(tried, ladder, "loss") == 0.111
    tried[0.111] = trial(-2)
    assert next_rate(tried, ladder, "loss") is None
    assert best_rate(tried, "loss") == 0.111
    # Of an accuracy the lowest rate is the best one here.
    tried = {rate: trial(-rate) for rate in ladder}
    assert next_rate(tried, ladder, "accuracy") == 0.000333
    tried[0.000333] = trial(-1)  # no better: it is the edge, and not the best
    assert next_rate(tried, ladder, "accuracy") is None
    assert best_rate(tried, "accuracy") == 0.001


def test_a_rate_that_diverges_is_no_best_one_and_lower_ones_are_tried_where_all_do() -> None:
    ladder = [0.1, 1.0]
    assert next_rate({0.1: trial(0.5), 1.0: trial(None)}, ladder, "loss") == 0.01
    assert next_rate({0.1: trial(None), 1.0: trial(None)}, ladder, "loss") == 0.01
    assert best_rate({0.1: trial(None)}, "loss") is None
    assert best_rate({0.1: trial(0.5), 1.0: trial(0.5)}, "loss") == 0.1


# Configuration and fingerprints


def study_of(images: Path, **changes: Any) -> Study:
    return Study.open(small_config(images, **changes))


def test_fixed_rates_keep_their_fingerprints_whatever_a_search_would_do(images: Path) -> None:
    plain = study_of(images)
    searching = study_of(images, training={"learning_rate_search": SEARCH})
    assert (searching.base, searching.fingerprints()) == (plain.base, plain.fingerprints())
    # A model with a rate of its own beside others that search.
    named = {"overrides": {MODEL: {"learning_rate": 0.001}}}
    one = study_of(images, training=auto(), **named)
    other = study_of(images, training=auto(seed=5), **named)
    assert one.fingerprints() == other.fingerprints()


@pytest.mark.parametrize(
    "change",
    [
        auto(rates=[0.0003, 0.003]),
        auto(epochs=2),
        auto(held_out=0.3),
        auto(resolution=48),
        auto(seed=1),
        auto({"weight_decay": 0.1}),
        auto({"monitor": "accuracy"}),
    ],
    ids=["rates", "epochs", "held_out", "resolution", "seed", "weight_decay", "monitor"],
)
def test_settings_of_the_search_are_in_the_fingerprint(images: Path, change: dict[str, Any]) -> None:
    one, other = study_of(images, training=auto()), study_of(images, training=change)
    assert one.fingerprint(one.cells()[0]) != other.fingerprint(other.cells()[0])
    assert one.rate_search(MODEL) != other.rate_search(MODEL)


def test_length_and_stopping_of_trainings_are_no_settings_of_the_search(images: Path) -> None:
    one = study_of(images, training=auto())
    other = study_of(images, training=auto({"epochs": 9, "early_stopping": {"patience": 3}}))
    assert one.rate_search(MODEL) == other.rate_search(MODEL)
    assert one.fingerprints() != other.fingerprints()
    # An override of one cell changes that cell alone; a sub-grid changes none.
    overridden = study_of(images, training=auto(), overrides={CELL: {"batch_size": 16}})
    assert overridden.rate_search(MODEL) == one.rate_search(MODEL)
    smaller = study_of(images, training=auto(), resolutions=[48])
    assert smaller.rate_search(MODEL) == one.rate_search(MODEL)


def test_mistakes_are_one_sentence(images: Path) -> None:
    with pytest.raises(ResomapError, match="rates has fewer than two rates"):
        parse_config({"training": auto(rates=[0.1])})
    with pytest.raises(ResomapError, match="rates has a rate more than once"):
        parse_config({"training": auto(rates=[0.1, 0.1])})
    with pytest.raises(ResomapError, match="freeze_epochs 1 leaves none of the 1 epochs of a trial"):
        parse_config({"training": auto({"freeze_epochs": 1})})
    with pytest.raises(ResomapError, match=f"serves all cells of a model; set it for {MODEL}"):
        parse_config({"overrides": {CELL: {"learning_rate_search": {"epochs": 2}}}})
    with pytest.raises(ResomapError, match="not auto for test_resnet: there is nothing to find"):
        learning_rate_choice.trial_cell(study_of(images), MODEL)
    with pytest.raises(ResomapError, match=r"for training\.learning_rate_search\.resolution: .*test_vit"):
        study_of(images, models=["test_vit"], resolutions=[64], training=auto(resolution=9))
    with pytest.raises(ValueError, match="was not found yet"):
        _ = Training(learning_rate="auto").highest_rate


# The search


def test_the_outcome_is_a_pure_function_of_its_settings(study_in: Callable[..., Study]) -> None:
    found, said = find(study_in(training=auto()))
    assert list(found.tried)[:3] == ["0.0003", "0.003", "0.03"]
    assert found.images == {"train": 67, "held_out": 17}
    assert said[0].startswith(f"{MODEL}: rate 0.0003: loss ")
    values = {float(rate): one["value"] for rate, one in found.tried.items()}
    assert found.rate == min(values, key=lambda rate: values[rate])
    again, _ = find(study_in(training=auto()))
    assert (again.rate, again.tried) == (found.rate, found.tried)
    # What is found is not looked for again; each setting has its effect on the trials.
    others = [auto(epochs=2), auto(held_out=0.4), auto(seed=1)]
    changed = [find(study_in(training=change))[0] for change in others]
    assert len({str(one.tried) for one in (found, *changed)}) == 4
    assert changed[1].images == {"train": 50, "held_out": 34}
    assert {one["epoch"] for one in changed[0].tried.values()} <= {1, 2}


def test_a_best_rate_at_the_edge_extends_the_ladder(study_in: Callable[..., Study]) -> None:
    study = study_in(training=auto(rates=LOW))
    found, said = find(study)
    assert list(found.tried) == ["1e-06", "3e-06", "1e-05", "3.33e-05", "0.000111"]
    assert found.rate == 0.000111
    assert said[-1] == f"{MODEL}: learning rate 0.000111, of 5 tried"
    assert not learning_rate_choice.trials_path(MODEL).exists()
    assert find(study)[1] == [f"{MODEL}: learning rate 0.000111 was found already"]


def test_rates_that_diverge_are_noted_and_where_all_do_it_is_told(study_in: Callable[..., Study]) -> None:
    steep = {"optimizer": "sgd", "gradient_clip": None}
    found, _ = find(study_in(training=auto(steep, rates=[0.01, 1e12])))
    assert found.tried["1000000000000.0"]["value"] is None
    assert found.tried["1000000000000.0"]["reason"].startswith("diverged at epoch 1, step ")
    with pytest.raises(PermanentFailure, match=r"diverges at each learning rate from 1e\+0?8 to 1e\+12"):
        find(study_in(training=auto(steep, rates=[1e10, 1e11, 1e12])))


KILLED = """
import os, signal, sys
from resomap.cli import main
from resomap.train import learning_rate_search
add = learning_rate_search._Kept.add
def add_and_die(self, rate, trial):
    add(self, rate, trial)
    if len(self.tried) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
learning_rate_search._Kept.add = add_and_die
main(["learning_rate", sys.argv[1], "--threads", "1"])
"""


def test_finished_trials_outlive_a_kill(study_in: Callable[..., Study], tmp_path: Path) -> None:
    whole, _ = find(study_in(tmp_path / "whole", training=auto()))
    study = study_in(tmp_path / "killed", training=auto())
    killed = subprocess.run([sys.executable, "-c", KILLED, MODEL], env=environment_with(), timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert learning_rate_choice.read(study, MODEL) is None
    trials = learning_rate_choice.trials_path(MODEL)
    text = trials.read_text()
    found, said = find(study)
    assert len(said) == len(whole.tried) - 2 + 1, said
    assert (found.rate, found.tried) == (whole.rate, whole.tried)
    # Of a damaged file no trial counts.
    learning_rate_choice.path_of(MODEL).unlink()
    trials.write_text(text.replace("0.003", "0.004"))
    assert len(find(study)[1]) == len(whole.tried) + 1


def test_a_signal_ends_the_search_between_two_steps(study_in: Callable[..., Study]) -> None:
    study = study_in(training=auto())
    with SignalWatch() as signals:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM during a trial"):
            find_learning_rate(study, MODEL, 1, signals, lambda sentence: None)
    assert learning_rate_choice.read(study, MODEL) is None


@pytest.mark.parametrize(
    "training",
    [
        {"recipe": "finetune", "weights": None, "freeze_epochs": 1, "layer_decay": 0.7, "warmup_epochs": 1},
        {"recipe": "linear_probe", "weights": None},
        {"microbatch": 4, "monitor": "average_precision"},
    ],
    ids=["finetune", "probe", "microbatch"],
)
def test_every_recipe_has_its_search(study_in: Callable[..., Study], training: dict[str, Any]) -> None:
    report = {"report": {"positive": "down"}} if "monitor" in training else {}
    study = study_in(training=auto({**training, "epochs": 3}, epochs=2, rates=[0.001, 0.01]), **report)
    found, _ = find(study)
    assert found.monitor == training.get("monitor", "loss")
    assert all(one["reason"] is None for one in found.tried.values())


def test_with_folds_all_images_outside_the_test_split_are_tried(study_in: Callable[..., Study]) -> None:
    found, _ = find(study_in(training=auto(rates=[0.001, 0.003]), data={"folds": 3}))
    assert sum(found.images.values()) == 102
    assert found.images["held_out"] == 20


# The training


@pytest.mark.slow
def test_a_training_takes_the_rate_and_keeps_it(study_in: Callable[..., Study], tmp_path: Path) -> None:
    """Its weights are those of the same rate given by hand; last.pt, marker and journal name it."""
    searching = tmp_path / "auto"
    study = study_in(searching, training=auto({"epochs": 2}), checkpoints={"every_minutes": 0})
    with pytest.raises(ResomapError, match=f"`snakemake results/learning-rate/{MODEL}.json` finds it"):
        learning_rate_choice.require(study, study.cells()[0])
    found, _ = find(study)
    process = trainer(CELL, searching)
    wait_for(lambda: last(searching).exists())
    process.kill()
    process.wait()
    kept = load_sealed(last(searching))
    assert (kept["learning_rate"], kept["learning_rate_search"]["tried"]) == (found.rate, found.tried)
    # From its first step on the rate is the training's own, whatever is found later.
    learning_rate_choice.path_of(MODEL).unlink()
    assert trainer(CELL, searching).wait(timeout=120) == 0
    given = tmp_path / "given"
    study_in(given, training={"epochs": 2, "learning_rate": found.rate})
    assert trainer(CELL, given).wait(timeout=120) == 0
    ours, theirs = End.of(searching), End.of(given)
    assert_same_bits(ours, theirs)
    assert ours.marker["learning_rate"] == theirs.marker["learning_rate"] == found.rate
    assert ours.marker["learning_rate_search"]["search"] == study.rate_search(MODEL)
    assert theirs.marker["learning_rate_search"] is None
    journal = (searching / f"results/{MODEL}/{RESOLUTION}.journal.jsonl").read_text()
    assert f'"learning_rate.found": {found.rate}' in journal
    assert f'"learning_rate.found": {found.rate}' not in (given / f"results/{MODEL}/32.journal.jsonl").read_text()


@pytest.mark.slow
def test_the_workflow_finds_it_once_a_model(images: Path, tmp_path: Path) -> None:
    config = small_config(images, resolutions=[32, 48], training=auto({"epochs": 1}))
    markers = [f"results/{MODEL}/{res}.done" for res in (32, 48)]
    listed = snakemake("-n", *markers, directory=tmp_path, config=config)
    assert listed.stdout.count("rule learning_rate:") == 1, listed.stderr
    finished = snakemake("--cores", "2", *markers, directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    outcome = read_json(tmp_path / learning_rate_choice.path_of(MODEL))
    done = [read_json(tmp_path / marker) for marker in markers]
    assert {marker["learning_rate"] for marker in done} == {outcome["rate"]}
    # On a clean clone the word and the settings of the search are the same: markers that are carried over count.
    clone = tmp_path / "clone"
    (clone / "results" / MODEL).mkdir(parents=True)
    for marker in markers:
        (clone / marker).write_bytes((tmp_path / marker).read_bytes())
    listed = snakemake("-n", *markers, directory=clone, config=config)
    assert "rule train:" not in listed.stdout + listed.stderr
    assert "rule learning_rate:" not in listed.stdout + listed.stderr
    assert Study.open(config).base == done[0]["base"]
    # Another setting of the search is another training.
    other = small_config(images, resolutions=[32, 48], training=auto({"epochs": 1}, seed=3))
    listed = snakemake("-n", *markers, directory=tmp_path, config=other)
    assert (listed.stdout.count("rule learning_rate:"), listed.stdout.count("rule train:")) == (1, 2), listed.stdout


def hours(plan: str) -> int:
    """Hours that a plan's last line says."""
    said = re.search(r"about (\d+) h", plan)
    assert said is not None, plan
    return int(said[1])


@pytest.mark.slow
def test_microbatch_and_rate_are_both_found_in_their_order(images: Path, tmp_path: Path) -> None:
    """The trials have the microbatch that the trainings have; what is found is in no fingerprint."""
    both = auto({"epochs": 1, "microbatch": "auto"})
    config, marker = small_config(images, training=both), f"results/{MODEL}/{RESOLUTION}.done"
    before = Study.open(config)
    costs = tmp_path / Measurement(MODEL, RESOLUTION, "cpu").path
    write_json(costs, {"throughput_images_per_second_median": 1e-3})  # a pass takes 1,000 s
    listed = snakemake("-n", marker, directory=tmp_path, config=config)
    assert [listed.stdout.count(f"rule {rule}:") for rule in ("microbatch", "learning_rate", "train")] == [1, 1, 1]
    assert "1 learning_rate, 1 microbatch" in listed.stdout
    # 84 images to train on and 18 to validate, once; 4 trials with 67 and 17.
    expected = (84 * 3 + 18 + 4 * (0.8 * 84 * 3 + 0.2 * 84)) * 1000 / 3600
    assert hours(listed.stdout) == pytest.approx(expected, abs=1)
    finished = snakemake("--cores", "2", marker, directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    size, rate = (read_json(tmp_path / choice.path_of(MODEL)) for choice in (microbatch_choice, learning_rate_choice))
    done = read_json(tmp_path / marker)
    assert size["found_at"] < rate["found_at"] < done["finished_at"]
    assert (done["microbatch"], done["learning_rate"]) == (size["microbatch"], rate["rate"])
    with contextlib.chdir(tmp_path):
        after = Study.open(config)
        assert (after.base, after.fingerprints()) == (before.base, before.fingerprints())
    assert done["fingerprint"] == before.fingerprint(before.cells()[0])
    again = snakemake("-n", marker, directory=tmp_path, config=config)
    assert not any(f"rule {rule}:" in again.stdout for rule in ("microbatch", "learning_rate", "train")), again.stdout
    # Found before, they are no work of a further training.
    more = {**config, "seeds": [0, 1]}
    listed = snakemake("-n", f"results/{MODEL}/{RESOLUTION}.seed1.done", directory=tmp_path, config=more)
    assert [listed.stdout.count(f"rule {rule}:") for rule in ("microbatch", "learning_rate", "train")] == [0, 0, 1]


# Adoption


def test_what_trainings_began_with_counts_as_found(study_in: Callable[..., Study]) -> None:
    study = study_in(training=auto(), resolutions=[32, 48])
    first, second = study.cells()
    assert learning_rate_choice.of_trained(study, MODEL) is None
    outcome = {
        "schema": 1,
        "model": MODEL,
        "rate": 0.02,
        "search": study.rate_search(MODEL),
        "monitor": "loss",
        "resolution": 32,
        "epochs": 1,
        "images": {},
        "tried": {"0.02": trial(0.1)},
    }
    marker = done_marker(first, study.fingerprint(first), learning_rate=0.02, learning_rate_search=outcome)
    marker.write(first.marker)
    found = learning_rate_choice.require(study, second)
    assert found is not None
    assert (found.rate, found.origin) == (0.02, f"{CELL}, the training u")
    # The latest of several; never one of another search, of other images, or without a rate.
    later = replace(marker, finished_at=2.0, learning_rate_search={**outcome, "rate": 0.03})
    others = [
        {"search": "0" * 12},
        {"content_digest": "other"},
        {"rate": 0.0},
        {"rate": None},
        {"tried": {"1": 2}},
        {"tried": {"x": {}}},
    ]
    wrong = [replace(marker, finished_at=3.0, learning_rate_search={**outcome, **change}) for change in others]
    of_all = learning_rate_choice.of_markers(study, MODEL, [marker, later, *wrong])
    assert of_all is not None
    assert of_all.rate == 0.03
    assert learning_rate_choice.of_markers(study, MODEL, wrong) is None


@pytest.mark.slow
def test_what_another_copy_found_is_adopted_from_the_tracker(server: str, images: Path, tmp_path: Path) -> None:
    tracking = {"uri": server, "drain_seconds": 60}
    training = auto({"epochs": 1}, rates=[0.001, 0.003])
    config = small_config(images, experiment="rates", resolutions=[32, 48], training=training, tracking=tracking)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    trained = snakemake(f"results/{MODEL}/32.done", directory=first, config=config)
    assert trained.returncode == 0, trained.stderr
    found = read_json(first / learning_rate_choice.path_of(MODEL))
    listed = snakemake("-n", directory=second, config=config)
    said = listed.stdout + listed.stderr
    assert (said.count("rule train:"), said.count("rule learning_rate:")) == (1, 0), said
    assert f"{MODEL}: the learning rate {found['rate']:g} is adopted, found for {CELL}, run " in listed.stderr
    finished = snakemake(f"results/{MODEL}/48.done", directory=second, config=config)
    assert finished.returncode == 0, finished.stderr
    assert "rule learning_rate" not in finished.stdout
    adopted, marker = (
        read_json(second / path) for path in (learning_rate_choice.path_of(MODEL), f"results/{MODEL}/48.done")
    )
    assert marker["learning_rate"] == adopted["rate"] == found["rate"]
    assert adopted["tried"] == found["tried"]
    # Another search adopts nothing.
    other = {**config, "training": {**config["training"], **auto({"epochs": 1}, seed=7)}}
    listed = snakemake("-n", directory=tmp_path / "first", config=other)
    said = listed.stdout + listed.stderr
    assert (said.count("rule train:"), said.count("rule learning_rate:")) == (2, 1), said
