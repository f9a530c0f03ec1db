"""The winner: refitted by the plain command, resumed to the same bits, never retrained by a map, taken over, used."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MODEL, done_marker, environment_with, small_config, snakemake
from waiting import wait_for

from resomap.cells import winner_record
from resomap.cells.cell import Cell
from resomap.cells.decision import TRANSFERRED
from resomap.cells.predictions import Predictions, SplitPredictions
from resomap.cells.study import CURRENT, Study
from resomap.cells.winner_cell import Choice, Winner, begun, winner_of
from resomap.cli import main
from resomap.compute.checkpoint import load_sealed
from resomap.compute.temperature import fit_temperature, tempered
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.data import DATA_DIRECTORY
from resomap.data.joined_pixels import JoinedPixels
from resomap.data.store import Images, Store
from resomap.summary.trained import Trained
from resomap.train.refit_request import RefitRequest
from resomap.train.signals import SignalWatch
from resomap.winner.begin import begin
from resomap.winner.choosing import choose, pool
from resomap.winner.ensemble import averaged
from resomap.winner.refitting import refit

of_one_winner = pytest.mark.xdist_group("winner")  # which is trained once: its tests run in one process
CELL = f"{MODEL}@32"
SEEDS = (0, 1)
Won = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def won(server: str, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Won:
    """A study of one cell and two seeds with its winner, made by one command; its weights are in the tracker."""
    directory = tmp_path_factory.mktemp("won")
    tracking = {"uri": server, "drain_seconds": 60, "keep_weights": True}
    config = small_config(images, seeds=list(SEEDS), experiment="winner", tracking=tracking)
    config |= {"report": {"metric": "sensitivity_at_specificity", "at": 0.5}}
    finished = snakemake("--cores", "1", "winner", directory=directory, config=config)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.search(r"epoch 1/\d: ", (directory / "results" / "winner.log").read_text())
    assert re.search(r"winner done in .*, test balanced_accuracy \d", finished.stderr), finished.stderr
    return directory, config


@pytest.fixture
def copied(won: Won, tmp_path: Path) -> Path:
    """A copy of that study, at which a test may work."""
    return Path(shutil.copytree(won[0], tmp_path / "copied"))


def best(directory: Path) -> Path:
    return directory / "checkpoints" / "resnet" / MODEL / "32" / "winner" / "best.pt"


def held(directory: Path) -> dict[str, Any]:
    return dict(read_json(directory / "results" / "winner.done"))


def with_config(directory: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Study:
    """Enter the study and write it with another configuration, as a run does."""
    monkeypatch.chdir(directory)
    values = Study.load(CURRENT).config.model_dump()
    study = Study.open({**values, **changes})
    study.save(CURRENT)
    return study


def refitted() -> list[str]:
    """Make the winner of this directory, without the seconds that a process takes to start; return what it said."""
    said: list[str] = []
    study = Study.load(CURRENT)
    found = begin(study, None, said.append)
    with SignalWatch() as signals:
        refit(RefitRequest(study, found.cell, 1, 1, said.append, found.choice), found, signals)
    return said


@of_one_winner
def test_it_is_the_cell_on_train_and_validation(won: Won, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, _ = won
    monkeypatch.chdir(directory)
    markers = [read_json(Path("results", MODEL, name)) for name in ("32.done", "32.seed1.done")]
    marker = held(directory)
    epochs = max(one["best_epoch"] for one in markers)  # of two the later one
    assert (marker["epochs"], marker["best_epoch"], marker["winner"]["epochs"]) == (epochs,) * 3
    # The same schema as the cells', and what differs.
    assert set(marker) == set(markers[0]) | {"winner"}
    assert all("winner" not in one for one in markers)
    assert all(name.startswith("test/") for name in marker["metrics"])
    store = Store.open(DATA_DIRECTORY, 32)
    both = sum(len(store.split(split).labels) for split in ("train", "val"))
    seconds = marker["cost"]["train_seconds"]
    assert round(marker["cost"]["images_per_second"] * seconds) == both // 8 * 8 * epochs  # whole batches
    # The learning rate at the last epoch is that of the whole schedule, which a shorter one would have ended.
    rows = Path("results/winner.history.csv").read_text().splitlines()
    theirs = Path("results", MODEL, "32.history.csv").read_text().splitlines()
    assert rows[0].split(",") == [name for name in theirs[0].split(",") if not name.startswith("val/")]
    assert len(rows) == epochs + 1
    weights = load_sealed(best(directory))
    assert (weights["epoch"], weights["fingerprint"], weights["uid"]) == (epochs, marker["fingerprint"], marker["uid"])
    assert sorted(path.name for path in best(directory).parent.iterdir()) == [
        "best.pt",
        "cell.json",
        "decision.json",
        "done.json",
    ]


@of_one_winner
def test_temperature_and_threshold_are_those_of_the_pooled_trainings(won: Won) -> None:
    directory, _ = won
    kept = [Predictions.load(directory / "results" / MODEL / f"{name}.predictions.npz") for name in ("32", "32.seed1")]
    parts = [one.splits["val"] for one in kept if one is not None]
    logs = np.concatenate([part.log_probabilities for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    decision = read_json(best(directory).with_name("decision.json"))
    assert decision["basis"] == TRANSFERRED == held(directory)["winner"]["basis"]
    assert decision["images"] == len(labels)
    assert decision["temperature"] == pytest.approx(fit_temperature(logs, labels))
    assert decision["metric"] == "sensitivity_at_specificity"
    scores = logs[:, 1] - logs[:, 0]
    assert (scores[labels == 0] <= decision["threshold"]).mean() >= 0.5
    of_a_cell = read_json(directory / "checkpoints" / "resnet" / MODEL / "32" / "decision.json")
    assert of_a_cell["basis"] is None


@of_one_winner
def test_neither_a_second_call_nor_a_newer_map_trains_it_again(copied: Path, won: Won) -> None:
    summary = copied / "results" / "summary.json"
    content = read_json(summary)
    write_json(summary, {**content, "answer": {**content["answer"], "resolution": 48}})  # newer than the winner
    before = held(copied)
    listed = snakemake("-n", "winner", directory=copied, config=won[1])
    assert "rule winner:" not in listed.stdout
    finished = snakemake("winner", directory=copied, config=won[1])
    assert finished.returncode == 0, finished.stderr
    for called in (listed, finished):
        (line,) = [line for line in called.stderr.splitlines() if "now recommends" in line]
        assert f"the winner is {CELL}, and the map now recommends {MODEL}@48" in line
        assert "`resomap forget winner`" in line
    assert "Nothing to be done" in finished.stdout + finished.stderr
    assert held(copied) == before


@of_one_winner
def test_killed_and_resumed_it_has_the_same_bits(
    copied: Path, won: Won, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A tracker of its own: in the server's the winner is complete, and would be taken over.
    with_config(copied, monkeypatch, checkpoints={"every_minutes": 0}, tracking={"drain_seconds": 0})
    assert main(["report"]) == 0
    assert "first winner evaluated on this test split" in (copied / "results/report.html").read_text()
    page = (copied / "results/report.html").read_text()
    assert re.search(r"On test images its sensitivity at specificity 0.5 for down is \d", page)
    first, config = held(copied), won[1]
    assert main(["forget", "winner"]) == 0
    assert not (copied / "results" / "winner.done").exists()
    assert not (copied / "results" / "winner.choice.json").exists()
    words = [sys.executable, "-m", "resomap", "winner", "--threads", "1"]
    process = subprocess.Popen(words, env=environment_with(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    progress = copied / "results" / "winner.progress.json"
    wait_for(lambda: (read_json(progress) or {}).get("epoch", 0) >= 1, 120)
    wait_for(lambda: best(copied).with_name("last.pt").exists())
    process.kill()
    process.wait()
    # The map recommends another cell meanwhile: the winner that was begun stays with its own.
    content = read_json(copied / "results" / "summary.json")
    answer = {**content["answer"], "resolution": 48}
    write_json(copied / "results" / "summary.json", {**content, "answer": answer})
    capsys.readouterr()
    assert main(["status"]) == 0
    assert f"{CELL}.winner  interrupted after epoch" in capsys.readouterr().out
    # The training images have gone with the last of the cells: they are prepared again, and go again.
    images = copied / "results" / "data" / "32" / "train.npy"
    images.unlink()
    with_config(copied, monkeypatch, data={**config["data"], "keep_train": False})
    assert any("going on at epoch" in sentence for sentence in refitted())
    assert not images.exists()
    again = held(copied)
    assert main(["report"]) == 0
    assert again["uid"] != first["uid"]
    assert (again["fingerprint"], again["metrics"]) == (first["fingerprint"], first["metrics"])
    mine, theirs = (load_sealed(best(place))["model"] for place in (copied, won[0]))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert (copied / "results/winner.history.csv").read_bytes() == (won[0] / "results/winner.history.csv").read_bytes()
    assert winner_record.place_of(again["uid"]) == (2, 2)
    assert "It is the second winner evaluated on this test split" in (copied / "results/report.html").read_text()


@of_one_winner
def test_a_clean_folder_takes_it_over_from_the_tracker(won: Won, tmp_path: Path) -> None:
    directory, config = won
    config = {**config, "winner": {"cell": CELL}}
    finished = snakemake("winner", directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "1 training is complete in the tracker: " in (tmp_path / "results" / "winner.log").read_text()
    theirs, mine = held(directory), held(tmp_path)
    assert (mine["origin"], mine["uid"], mine["fingerprint"]) == ("tracker", theirs["uid"], theirs["fingerprint"])
    assert best(tmp_path).read_bytes() == best(directory).read_bytes()
    decisions = [read_json(best(place).with_name("decision.json")) for place in (tmp_path, directory)]
    assert decisions[0] == decisions[1]
    (recorded,) = (tmp_path / "results" / "test-evaluations.jsonl").read_text().splitlines()
    assert json.loads(recorded)["uid"] == theirs["uid"]
    listed = snakemake("-n", "winner", directory=tmp_path, config=config)
    assert "rule winner:" not in listed.stdout


@of_one_winner
def test_predict_uses_it_where_no_cell_is_named(
    copied: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    kept = Predictions.load(Path("results/winner.predictions.npz"), ("test",))
    assert kept is not None
    part = kept.splits["test"]
    assert main(["predict", "--json", *(str(images / name) for name in part.names)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["weights"] == str(best(Path()))
    assert said["basis"] == TRANSFERRED
    wanted = np.exp(tempered(part.log_probabilities, said["temperature"])).max(axis=1)
    found = [one["predictions"][0]["probability"] for one in said["images"]]
    assert np.abs(np.array(found) - wanted).max() < 1e-6
    # Without its weights it is said where they may be had; without a winner the recommended cell answers.
    best(Path()).unlink()
    assert main(["predict", str(images / part.names[0])]) == 2
    assert "the winner test_resnet@32.winner has no best.pt" in capsys.readouterr().err
    assert main(["forget", "winner"]) == 0
    capsys.readouterr()
    assert main(["predict", "--json", str(images / part.names[0])]) == 0
    answer = capsys.readouterr()
    assert f"there is no winner yet (`snakemake winner` trains it): {CELL} answers" in answer.err
    assert json.loads(answer.out)["weights"].endswith("/32/best.pt")
    Path("results/summary.json").unlink()
    assert main(["predict", str(images / part.names[0])]) == 2
    assert "there is no winner here and no map" in capsys.readouterr().err


@of_one_winner
def test_an_ensemble_averages_the_trainings_and_a_refit_comes_back(
    copied: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = held(copied)
    study = with_config(copied, monkeypatch, winner={"kind": "ensemble", "cell": None})
    assert begun(study) is None
    assert main(["winner"]) == 0
    marker = held(copied)
    assert (marker["winner"]["kind"], set(marker["winner"]["trainings"])) == ("ensemble", {CELL, f"{CELL}.seed1"})
    assert (marker["epochs"], marker["cost"]["train_seconds"]) == (None, 0.0)
    kept = [Predictions.load(Path("results", MODEL, f"{name}.predictions.npz")) for name in ("32", "32.seed1")]
    together = averaged([one.splits["test"].log_probabilities for one in kept if one is not None])
    mine = Predictions.load(Path("results/winner.predictions.npz"), ("test",))
    assert mine is not None
    assert np.array_equal(mine.splits["test"].log_probabilities, together)
    capsys.readouterr()
    names = mine.splits["test"].names[:5]
    assert main(["predict", "--json", *(str(images / name) for name in names)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["ensemble"]) == 2
    assert said["basis"] == TRANSFERRED
    alone = [np.exp(tempered(one.splits["test"].log_probabilities[:5], said["temperature"])) for one in kept if one]
    found = [one["predictions"][0]["probability"] for one in said["images"]]
    assert np.abs(np.array(found) - np.mean(alone, axis=0).max(axis=1)).max() < 1e-6
    assert winner_record.place_of(marker["uid"]) == (2, 2)
    # The refit of before is found again where it was set aside: nothing trains.
    with_config(copied, monkeypatch, winner={"kind": "refit", "cell": None})
    assert any("its marker is written again" in sentence for sentence in refitted())
    assert held(copied) == before


@of_one_winner
def test_other_settings_are_another_winner(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = with_config(copied, monkeypatch)
    found = begun(study)
    assert found is not None
    assert found.marker is not None
    assert begun(study, named=f"{MODEL}@48") is None
    assert begun(study, named=CELL) == found
    study = with_config(copied, monkeypatch, training={**study.config.training.model_dump(), "learning_rate": 0.002})
    assert begun(study) is None
    with pytest.raises(ResomapError, match="recommends no cell under these settings"):
        choose(study, None)
    with pytest.raises(ResomapError, match=f"no training of {CELL} is finished"):
        choose(study, CELL)


@of_one_winner
def test_status_and_sync_know_it(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    assert main(["status", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["winner"]["state"] == "done"
    assert said["winner"]["value"] is None
    assert [cell["cell"] for cell in said["cells"]] == [CELL, f"{CELL}.seed1"]
    assert said["counts"]["completed"] == 2
    receipt = Path("results/winner.journal.sent.json")
    run = read_json(receipt)["run_id"]
    receipt.unlink()
    assert main(["sync"]) == 0
    assert f"sent results/winner.journal.jsonl as run {run}" in capsys.readouterr().out
    (Path("checkpoints/resnet") / MODEL / "32/winner/last.pt").write_bytes(b"of a kill")
    assert main(["forget", "winner"]) == 0
    assert not list(Path("results").glob("winner.*"))
    assert not best(Path()).exists()
    assert len(winner_record.recorded()) == 1  # a look at test images is not forgotten


def trained(best_epoch: int | None, values: list[float]) -> tuple[Any, Predictions]:
    """A marker, and predictions of validation images of which each is given the first class's probability."""
    study_cell = Winner("m", 32, 0, "f")
    logs = np.log(np.array([[value, 1 - value] for value in values], dtype=np.float32))
    part = SplitPredictions([str(index) for index in range(len(values))], np.zeros(len(values), np.int64), logs)
    marker = replace(done_marker(study_cell, "f"), best_epoch=best_epoch)
    return marker, Predictions("f", "u", ["a", "b"], {"val": part, "test": part})


@pytest.mark.parametrize(
    ("epochs", "median"),
    [([3], 3), ([3, 9], 9), ([9, 1, 4], 4), ([None, 5], 5), ([2, 7, 7, 8], 7), ([None, None], None)],
)
def test_trainings_of_a_cell_are_pooled(epochs: list[int | None], median: int | None) -> None:
    parts = [trained(epoch, [0.1 * (index + 1), 0.5]) for index, epoch in enumerate(epochs)]
    cell = Cell(MODEL, 32, 0, "resnet")
    pairs = [*parts, (replace(parts[0][0], best_epoch=None), None)]  # one whose predictions are not here
    found = pool([Trained(cell, marker, None, predictions) for marker, predictions in pairs])
    assert found.epochs == median
    assert len(found.labels) == len(found.log_probabilities) == 2 * len(epochs)


def test_fingerprints_tell_cell_epochs_and_members_apart(study_in: Callable[..., Study]) -> None:
    study = study_in(resolutions=[32, 48], seeds=[0, 1])
    of = {
        (resolution, epochs): study.fingerprint(Winner(MODEL, resolution, 0, "resnet", ".winner", epochs=epochs))
        for resolution in (32, 48)
        for epochs in (3, 4)
    }
    members = [study.fingerprint(cell) for cell in study.cells()]
    for some in (members[:2], members[2:], members):
        of[0, len(of)] = study.fingerprint(Winner(MODEL, 32, 0, "resnet", ".winner", members=tuple(some)))
    assert len({*of.values(), *members}) == len(of) + len(members)


def test_a_choice_outlives_its_file_in_the_marker(study_in: Callable[..., Study]) -> None:
    study = study_in()
    cell = study.cells()[0]
    told = {f"{MODEL}@32.seed{seed}": {"fingerprint": "f" * 12, "uid": "u" * 32, "best_epoch": 3} for seed in range(99)}
    choice = replace(CHOICE, cell_fingerprint=study.fingerprint(cell), trainings=told, images=10, temperature=1.5)
    winner = winner_of(study, choice)
    marker = replace(done_marker(winner, study.fingerprint(winner)), winner=choice.for_marker())
    marker.write(winner.marker)
    found = begun(study)
    assert found is not None
    assert found.marker == marker
    assert (found.cell, found.choice.epochs, found.choice.temperature) == (winner, 3, 1.5)
    assert len(json.dumps(marker.as_json())) < 4000  # a tag of a tracker takes 5000 characters


def test_a_torn_line_hides_no_evaluation(study_in: Callable[..., Study]) -> None:
    study_in()
    choice, winner = replace(CHOICE, test_split="t"), Winner(MODEL, 32, 0, "resnet", ".winner", epochs=3)
    for uid in ("a", "a", "b"):
        winner_record.record(winner, choice, {"test/accuracy": 0.5}, fingerprint="f", uid=uid)
    with winner_record.PATH.open("a") as stream:
        stream.write('{"schema": 1, "at"')  # by a kill
    winner_record.record(winner, choice, {"test/accuracy": 0.5}, fingerprint="f", uid="c")
    winner_record.record(winner, replace(choice, test_split="u"), {}, fingerprint="f", uid="d")
    assert [one.uid for one in winner_record.recorded()] == ["a", "b", "c", "d"]
    assert [winner_record.place_of(uid) for uid in "abcde"] == [(1, 3), (2, 3), (3, 3), (1, 1), None]


CHOICE = Choice(
    schema=1,
    kind="refit",
    model=MODEL,
    resolution=32,
    seed=0,
    chosen_by="map",
    cell_fingerprint="f",
    content_digest=None,
    epochs=3,
    trainings={},
    images=0,
    basis=TRANSFERRED,
    temperature=1.0,
)


def test_joined_images_are_those_of_their_parts() -> None:
    random = np.random.default_rng(0)
    parts = [
        Images(
            random.integers(0, 256, (count, 4, 4, 1), dtype=np.uint8),
            np.arange(count),
            [f"{count}-{i}" for i in range(count)],
        )
        for count in (5, 3, 1)
    ]
    whole, found = np.concatenate([part.pixels for part in parts]), Images.joined(parts)
    assert isinstance(found.pixels, JoinedPixels)
    assert found.pixels.shape == whole.shape
    assert found.names == [name for part in parts for name in part.names]
    assert found.labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0]
    for rows in (slice(None), slice(3, 8), np.array([8, 0, 5, 4, 5]), np.array([], dtype=int), 6, -1):
        assert np.array_equal(found.pixels[rows], whole[rows])


@pytest.mark.parametrize(
    ("winner", "sentence"),
    [
        ({"cell": "nonsense"}, "'nonsense' names no cell; write MODEL@RESOLUTION"),
        ({"cell": f"{MODEL}@32.seed1"}, f"a winner is made of all trainings of a cell; write {MODEL}@32"),
        ({"cell": "vgg99@32"}, "unknown model 'vgg99'"),
        ({"kind": "best"}, "winner.kind"),
        ({"sell": CELL}, "did you mean 'winner.cell'"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_sentence(winner: dict[str, str], sentence: str, images: Path) -> None:
    with pytest.raises(ResomapError) as raised:
        Study.open(small_config(images, winner=winner))
    assert sentence in str(raised.value)
