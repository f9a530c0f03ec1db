"""`resomap predict --output`: every form has the same answers, and a call that was stopped is gone on with."""

import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from conftest import MODEL, draw_images, environment_with
from shards import write_parquet, write_tar
from test_predict import Said, write_fresh

from resomap.cells.decision import Decision
from resomap.cli import main
from resomap.core.errors import ResomapError
from resomap.core.temporary import temporary_beside
from resomap.data.pool import in_order
from resomap.prediction.progress_bar import progress_bar
from resomap.prediction.unfinished import Unfinished

# Of 32 images a batch, so that there are many: each folder is named often.
SIZE, TIMES = 224, 24


@dataclass(frozen=True)
class Place:
    """A folder with weights that say when an image is positive, and 24 images, one of which is torn."""

    directory: Path
    weights: Path
    photos: Path

    def words(self, output: str, times: int = 1, *more: str) -> list[str]:
        photos = [str(self.photos)] * times
        return ["predict", "--weights", str(self.weights), *photos, "--output", output, "--device", "cpu", *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    directory = tmp_path_factory.mktemp("predict")
    draw_images(directory / "photos", 12)
    torn = directory / "photos" / "down" / "005.png"
    torn.write_bytes(torn.read_bytes()[:100])
    weights = write_fresh(directory / "best.pt", MODEL, 32, "center", 1)
    decision = Decision(schema=1, fingerprint=weights.fingerprint, uid=weights.uid, temperature=1.5, images=9)
    Decision(**{**vars(decision), "metric": "average", "at": 0.9, "positive": "b", "threshold": -1.0}).write(
        weights.path
    )
    return Place(directory, weights.path, directory / "photos")


@pytest.fixture
def said(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """`resomap WORDS` in this process, in an empty folder, on one thread as in the processes that are stopped."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def run(words: list[str]) -> Said:
        code = main(words)
        return Said(code, *capsys.readouterr())

    yield run
    torch.set_num_threads(threads)


def test_every_form_has_the_same_answers(place: Place, said: Callable[..., Said]) -> None:
    plain = said(["predict", "--weights", str(place.weights), str(place.photos), "--json", "--device", "cpu"])
    wanted = json.loads(plain.stdout)
    for ending in ("csv", "json", "jsonl", "parquet"):
        found = said(place.words(f"answers.{ending}"))
        assert (found.returncode, found.stdout) == (1, "")
        first, last = found.stderr.splitlines()
        assert "005.png: truncated or damaged" in first
        assert "24 images by test_resnet at 32 px, temperature 1.5; b where the log odds are above -1" in last
        assert "1 could not be read" in last
    assert sorted(path.name for path in Path().iterdir()) == [
        f"answers.{e}" for e in ("csv", "json", "jsonl", "parquet")
    ]
    assert json.loads(Path("answers.json").read_text()) == wanted
    lines = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert lines == wanted["images"]
    with Path("answers.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    table = parquet.read_table("answers.parquet")
    assert list(rows[0]) == table.column_names
    assert json.loads(table.schema.metadata[b"resomap"])["temperature"] == 1.5
    for one, row, stored in zip(lines, rows, table.to_pylist(), strict=True):
        assert row["image"] == stored["image"] == one["image"]
        if "error" in one:
            assert row["error"] == stored["error"] == one["error"]
            assert {row[name] for name in row if name not in ("image", "error")} == {""}
            continue
        first, second, _ = one["predictions"]
        assert (row["class"], float(row["probability"])) == (first["class"], first["probability"])
        assert (stored["class"], stored["probability"]) == (first["class"], first["probability"])
        assert (row["class_2"], float(row["probability_2"])) == (second["class"], second["probability"])
        assert row["positive"] == str(stored["positive"]).lower() == str(one["positive"]).lower()
        assert float(row["log_odds"]) == stored["log_odds"] == one["log_odds"]
        assert stored["positive"] == (stored["log_odds"] > -1)
        assert (row["error"], stored["error"]) == ("", None)


def test_each_class_has_a_column(place: Place, said: Callable[..., Said]) -> None:
    said(place.words("answers.csv", 1, "--each-class"))
    with Path("answers.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = [f"probability: {name}" for name in "abc"]
    assert list(rows[0]) == ["image", "class", "probability", "log_odds", "positive", *columns, "error"]
    shares = np.array([[float(row[name]) for name in columns] for row in rows if not row["error"]])
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert [row["class"] for row in rows if not row["error"]] == ["abc"[index] for index in shares.argmax(axis=1)]


def stopped(place: Place, directory: Path, by: int, lines: int) -> "subprocess.CompletedProcess[str]":
    """The command, stopped by a signal as soon as its unfinished file has so many lines."""
    words = place.words("answers.jsonl", TIMES, "--resolution", str(SIZE), "--workers", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "resomap", *words],
        cwd=directory,
        env=environment_with(OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    unfinished = directory / "answers.jsonl.partial"
    until = time.monotonic() + 60
    while not unfinished.exists() or unfinished.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    (os.killpg if by == signal.SIGINT else os.kill)(process.pid, by)
    out, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, out, errors)


@pytest.mark.slow
def test_a_call_that_was_killed_and_interrupted_ends_with_the_same_bytes(
    place: Place, said: Callable[..., Said], tmp_path: Path
) -> None:
    words = place.words("answers.jsonl", TIMES, "--resolution", str(SIZE), "--workers", "2")
    killed = stopped(place, tmp_path, signal.SIGKILL, 3)
    assert killed.returncode == -signal.SIGKILL
    first = Path("answers.jsonl.partial").read_bytes()
    with Path("answers.jsonl.partial").open("ab") as stream:
        stream.write(b'[{"image": "half a li')  # where the kill fell into a line
    interrupted = stopped(place, tmp_path, signal.SIGINT, first.count(b"\n") + 2)
    assert interrupted.returncode == 130
    done = 32 * (first.count(b"\n") - 1)
    # A process that is still starting tells Python's own words of its interruption.
    one, other, last = (line for line in interrupted.stderr.splitlines() if line.startswith("resomap: "))
    assert "the threshold is of 32 px" in one
    assert f"{done} of {24 * TIMES:,} images are done by an earlier call" in other
    assert re.fullmatch(r"resomap: stopped after \d+ of 576 images, .*; the same command goes on from there", last)
    assert not Path("answers.jsonl").exists()
    second = Path("answers.jsonl.partial").read_bytes()
    assert second.startswith(first)
    assert len(second) > len(first)
    assert said(words).returncode == 1
    resumed = Path("answers.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl"]
    Path("answers.jsonl").unlink()
    undisturbed = said([*words, "--workers", "1"])
    assert "done by an earlier call" not in undisturbed.stderr
    assert Path("answers.jsonl").read_bytes() == resumed
    assert resumed.count(b"\n") == 24 * TIMES
    assert resumed.count(b'"error"') == TIMES


def test_what_has_changed_since_is_noticed(place: Place, said: Callable[..., Said], tmp_path: Path) -> None:
    begun = {"the images": "1", "the weights": "2", "the settings": "3"}
    target = tmp_path / "answers.csv"
    for name in begun:
        with Unfinished(target, begun, [2, 2, 1]) as unfinished:
            unfinished.append([{"image": "a"}, {"image": "b"}])
        with Unfinished(target, begun, [2, 2, 1]) as unfinished:
            assert (unfinished.done, unfinished.changed) == (1, [])
            assert [row["image"] for row in unfinished.rows()] == ["a", "b"]
            with pytest.raises(ResomapError, match="another process is writing"):
                Unfinished(target, begun, [2, 2, 1])
        with Unfinished(target, begun | {name: "0"}, [2, 2, 1]) as unfinished:
            assert (unfinished.done, unfinished.changed) == (0, [name])
            assert list(unfinished.rows()) == []
    left, other = temporary_beside(target), temporary_beside(target.with_name("other.csv"))
    left.touch()  # of a call that was killed while it wrote the file itself
    other.touch()
    found = said(place.words("answers.csv"))
    assert (left.exists(), other.exists()) == (False, True)
    assert "the images and the weights and the settings have changed since" in found.stderr
    with target.open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 24


def test_tables_and_shards_are_read_as_the_folder_is(place: Place, said: Callable[..., Said], tmp_path: Path) -> None:
    def answered(*images: str | Path) -> dict[str, Any]:
        words = [str(image) for image in images]
        found = said(["predict", "--weights", str(place.weights), *words, "--json", "--device", "cpu"])
        assert found.returncode == 1, found.stderr
        return {one.pop("image"): one for one in json.loads(found.stdout)["images"]}

    wanted = {str(Path(name).relative_to(place.photos)): answer for name, answer in answered(place.photos).items()}
    names = sorted(wanted)
    table = place.photos.parent / "unlabelled.csv"
    table.write_text("\n".join(["number,where", *(f"{index},photos/{name}" for index, name in enumerate(names))]))
    assert answered(table, "--column", "where") == {f"photos/{name}": wanted[name] for name in names}
    assert answered(write_tar(place.photos, tmp_path / "tar")) == wanted
    shards = write_parquet(place.photos, tmp_path / "parquet")
    assert answered(shards) == wanted
    assert answered(*sorted(shards.iterdir())) == wanted
    unknown = said(["predict", "--weights", str(place.weights), str(table)])
    assert unknown.returncode == 2
    assert "it has number, where; name it: --column NAME" in unknown.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--output", "answers.xlsx"], "ends with no form of answers; let it end with .csv, .jsonl, .json, .parquet"),
        (["--output", "nowhere/answers.csv"], "there is no folder"),
        (["--output", "answers.csv", "--json"], "--json is for the terminal"),
        (["--each-class"], "--each-class is for a file"),
        (["--workers", "0"], "--workers 0 decodes nothing"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_read(
    said: Callable[..., Said], words: list[str], sentence: str
) -> None:
    found = said(["predict", "some.png", *words])
    assert found.returncode == 2
    assert sentence in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_few_results_wait_to_be_taken(tmp_path: Path) -> None:
    """The processes that decode do not run away from the network, whose memory would have to hold their pixels."""
    tasks = [str(tmp_path / f"{number:03}") for number in range(60)]
    made = in_order(os.mkdir, tasks, 2, None, ahead=4)
    for taken in range(1, 41):
        next(made)
        time.sleep(0.01)
        assert len(list(tmp_path.iterdir())) <= taken + 4
    made.close()
    assert len(list(tmp_path.iterdir())) < 60


def test_the_bar_is_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(400, 100) as advance:
        advance(100)
    assert capsys.readouterr() == ("", "")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm-256color")
        with progress_bar(400, 100) as advance:
            advance(100)
        terminal.flush()
        shown = b""
        while select.select([ours], [], [], 0)[0]:
            shown += os.read(ours, 65536)
    os.close(ours)
    assert b"50%" in shown
    assert b"200/400" in shown
