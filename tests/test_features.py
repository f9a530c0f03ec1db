"""Features of a frozen network that trainings share: the same bits, chunks that outlive a kill, and the plan."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MODEL, RESOLUTION, environment_with, small_config, snakemake, trainer
from endings import End, assert_same_bits

from resomap.cells import shared_features
from resomap.cells.study import Study
from resomap.core.errors import Interrupted, ResomapError
from resomap.models.build import build_model
from resomap.train import feature_files
from resomap.train.feature_step import write_features
from resomap.train.signals import SignalWatch

CELL = f"{MODEL}@{RESOLUTION}"
LIST = f"results/features/{MODEL}/{RESOLUTION}.json"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights."""
    path = tmp_path_factory.mktemp("weights") / "network.pt"
    torch.manual_seed(3)
    torch.save(build_model(MODEL, RESOLUTION, 1000).model.state_dict(), path)
    return path


def probe(weights: Path | None, **changes: Any) -> dict[str, Any]:
    """The section `training` of a linear probe."""
    return {"recipe": "linear_probe", "weights": weights and str(weights), "epochs": 3, **changes}


def write(study: Study, threads: int = 1) -> str:
    """Write the features of the study's network; returns what was said."""
    said: list[str] = []
    write_features(study, MODEL, RESOLUTION, threads, SignalWatch(), said.append)
    return said[-1]


def log(directory: Path, suffix: str = "") -> str:
    return (directory / "results" / MODEL / f"{RESOLUTION}{suffix}.log").read_text()


def test_what_is_shared_and_what_is_not(images: Path, weights: Path) -> None:
    for changes, is_shared in (
        ({"training": probe(weights), "seeds": [0, 1]}, True),
        ({"training": probe(weights), "data": {"folds": 2}}, True),
        ({"training": probe(weights)}, False),
        ({"training": probe(None), "seeds": [0, 1]}, False),
        ({"training": {"weights": str(weights)}, "seeds": [0, 1]}, False),
    ):
        study = Study.open(small_config(images, **changes))
        assert shared_features.are_shared(study, study.cells()[0]) == is_shared
        if not is_shared:
            with pytest.raises(ResomapError, match=f"the trainings of {CELL} share no features"):
                shared_features.require_shared(study, MODEL, RESOLUTION)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"data": {"folds": 3}}, {"seeds": [1, 2]}], ids=["folds", "seeds"])
def test_shared_or_not_a_training_has_the_same_bits(
    study_in: Callable[..., Study], tmp_path: Path, weights: Path, changes: dict[str, Any]
) -> None:
    suffix = ".fold2" if "data" in changes else ".seed2"
    ends = []
    for name in ("computed", "read", "damaged", "other threads"):
        directory = tmp_path / name
        study = study_in(directory, training=probe(weights), **changes)
        if name != "computed":
            write(study, threads=2 if name == "other threads" else 1)
        if name == "damaged":
            chunk = next((directory / LIST).with_suffix("").glob("*/train-0.pt"))
            content = bytearray(chunk.read_bytes())
            content[len(content) // 2] ^= 1
            chunk.write_bytes(content)
        process = trainer(f"{CELL}{suffix}", directory)
        assert process.wait(timeout=120) == 0, process.communicate()[1]
        assert ("images: read, as others have" in log(directory, suffix)) == (name == "read")
        ends.append(End.of(directory, suffix=suffix))
        assert ends[-1].marker["exact"] is True
    for end in ends[1:]:
        assert_same_bits(ends[0], end)


KILLED = """
import os, signal, sys
from resomap.cli import main
from resomap.train import feature_files

feature_files.CHUNK_IMAGES = 16
save = feature_files.save_sealed

def save_and_die(*words):
    save(*words)
    os.kill(os.getpid(), signal.SIGKILL)

feature_files.save_sealed = save_and_die
main(["features", *sys.argv[1:], "--threads", "1"])
"""


def test_chunks_outlive_a_kill_and_are_of_one_key(
    study_in: Callable[..., Study], tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_files, "CHUNK_IMAGES", 16)
    settings = {"training": probe(weights, batch_size=8), "seeds": [0, 1]}
    whole = study_in(tmp_path / "whole", **settings)
    assert write(whole) == f"{CELL}: features in 8 chunks, 0 of them found"  # 84 and 18 images
    study = study_in(tmp_path / "killed", **settings)
    words = (sys.executable, "-c", KILLED, MODEL, str(RESOLUTION))
    for _ in range(2):
        assert subprocess.run(words, env=environment_with(), timeout=120).returncode == -signal.SIGKILL
    assert not Path(LIST).exists()
    assert not shared_features.are_there(study, study.cells()[0])
    assert write(study) == f"{CELL}: features in 8 chunks, 2 of them found"
    assert shared_features.are_there(study, study.cells()[0])
    first, second = (sorted((tmp_path / name / LIST).with_suffix("").glob("*/*.pt")) for name in ("whole", "killed"))
    assert [path.relative_to(tmp_path / "whole") for path in first] == [
        path.relative_to(tmp_path / "killed") for path in second
    ]
    for one, other in zip(first, second, strict=True):
        loaded = [torch.load(path, weights_only=True)["features"] for path in (one, other)]
        assert torch.equal(*loaded)
    # Of other weights nothing is taken, and nothing stays.
    other = study_in(tmp_path / "killed", training=probe(weights, batch_size=8, amp="bf16"), seeds=[0, 1])
    assert not shared_features.are_there(other, other.cells()[0])
    assert write(other) == f"{CELL}: features in 8 chunks, 0 of them found"
    assert len(list(Path(LIST).with_suffix("").iterdir())) == 1


def test_a_signal_ends_the_step_between_two_batches(study_in: Callable[..., Study], weights: Path) -> None:
    study = study_in(training=probe(weights), seeds=[0, 1])
    with SignalWatch() as signals:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM between two batches"):
            write_features(study, MODEL, RESOLUTION, 1, signals, lambda sentence: None)
    assert not Path(LIST).exists()


@pytest.mark.slow
def test_the_workflow_computes_them_once_a_square(images: Path, tmp_path: Path, weights: Path) -> None:
    config = small_config(images, training=probe(weights), data={"folds": 2})
    markers = [f"results/{MODEL}/{RESOLUTION}{suffix}.done" for suffix in ("", ".fold2")]
    listed = snakemake("-n", *markers, directory=tmp_path, config=config)
    assert (listed.stdout.count("rule features:"), listed.stdout.count("rule train:")) == (1, 2), listed.stderr
    finished = snakemake("--cores", "2", *markers, directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    assert all("read, as others have" in log(tmp_path, Path(one).stem.removeprefix("32")) for one in markers)
    listed = snakemake("-n", *markers, directory=tmp_path, config=config)
    assert not any(f"rule {rule}:" in listed.stdout for rule in ("features", "train")), listed.stdout
    # A further seed takes what is there; other weights are other features.
    more = {**config, "seeds": [0, 1]}
    listed = snakemake("-n", f"results/{MODEL}/{RESOLUTION}.seed1.done", directory=tmp_path, config=more)
    assert (listed.stdout.count("rule features:"), listed.stdout.count("rule train:")) == (0, 1), listed.stdout
    other = tmp_path / "other.pt"
    torch.save(build_model(MODEL, RESOLUTION, 1000).model.state_dict(), other)
    changed = small_config(images, training=probe(other), data={"folds": 2})
    listed = snakemake("-n", *markers, directory=tmp_path, config=changed)
    assert (listed.stdout.count("rule features:"), listed.stdout.count("rule train:")) == (1, 2), listed.stdout
    # A single training computes them itself.
    single = small_config(images, training=probe(weights))
    refused = snakemake(LIST, directory=tmp_path, config=single)
    assert refused.returncode != 0
    assert f"the trainings of {CELL} share no features" in refused.stdout + refused.stderr
