"""Mistakes on the command line: one sentence as the last words, exit code not 0, before anything is trained."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, command, environment_with, small_config
from snakemake.cli import get_argument_parser

from resomap.planning.argv import Options
from resomap.planning.typing_mistakes import mistake_in

OPTIONS = Options(get_argument_parser())
TORN = "the blanks in {} divide it; put it in quotes: --config '{}'"


def last_words(done: "subprocess.CompletedProcess[str]") -> str:
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode not in (0, -1), done.stdout
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "--config training.epochs=2",
            "--config training.epochs=2 names a key inside a section; write --config 'training={epochs: 2}'",
        ),
        (
            "-C training.augment.hflip=0.5 -n",
            "--config training.augment.hflip=0.5 names a key inside a section; write --config "
            "'training={augment: {hflip: 0.5}}'",
        ),
        ("--config models=[resnet18, vgg11]", TORN.format(*["models=[resnet18, vgg11]"] * 2)),
        ("-n --config seeds=1 training={epochs: 2} x/1", TORN.format(*["training={epochs: 2}"] * 2)),
        (
            "--config training={augment: {hflip: 0.5}} results/a/1.done",
            TORN.format(*["training={augment: {hflip: 0.5}}"] * 2),
        ),
        ("--config models=[a results/x/1.done", "--config models=[a opens a bracket that is never closed"),
        ("--config training=epochs:2 training=batch_size:4", "--config gives training 2 times"),
        (
            "--config models=a x/1 --config seeds=1",
            "--config is given twice, and Snakemake takes it once; give all in one",
        ),
        ("--configfile a.yaml -n --configfile b.yaml", "--configfile is given twice, and Snakemake takes it once"),
        ("--config models", "--config models gives no value; write --config models=VALUE"),
    ],
)
def test_a_mistyped_value_is_named_with_what_was_meant(line: str, words: str) -> None:
    assert str(mistake_in(line.split(" "), OPTIONS)).startswith(words)


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "training={epochs: 2}", "models=[a, b]", "results/x/1.done"],
        ["--config", "models=a,b", "resolutions=32", "-n", "--configfile", "a.yaml", "b.yaml"],
        ["results/a.b/1.done", "--", "--config"],
        ["--config=models=a", "data={source: /a.b/c}"],
    ],
)
def test_what_is_well_typed_is_left_alone(words: list[str]) -> None:
    assert mistake_in(words, OPTIONS) is None


def test_snakemake_ends_with_that_sentence(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = command("snakemake", "-s", ROOT / "Snakefile", "--config", "training.epochs=2", cwd=tmp_path)
    assert last_words(done).startswith("resomap: --config training.epochs=2 names a key inside a section")
    assert done.returncode == 2
    done = command("snakemake", "-s", ROOT / "Snakefile", "--configfile", "none.yaml", cwd=tmp_path)
    assert last_words(done) == "resomap: there is no configuration file none.yaml"
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - begun < 60


def test_another_workflow_keeps_snakemakes_own_meaning(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text('rule all:\n    shell: "echo {config}"\n')
    done = command("snakemake", "-c1", "--config", "a.b=1", cwd=tmp_path)
    assert done.returncode == 1
    assert "resomap:" not in done.stderr


@pytest.mark.slow
def test_a_second_run_says_who_runs_and_since_when(images: Path, tmp_path: Path) -> None:
    config = small_config(images, training={"epochs": 2000})
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    words = ("-s", ROOT / "Snakefile", "--configfile", "study.yaml", "--cores", "1")
    with (tmp_path / "first.log").open("w") as log:
        first = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *map(str, words)],
            cwd=tmp_path,
            env=environment_with(),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        running = tmp_path / ".resomap" / "running" / str(first.pid)
        while not list(tmp_path.glob(".snakemake/locks/*.lock")):
            assert first.poll() is None, (tmp_path / "first.log").read_text()
            time.sleep(0.2)
        assert running.exists()
        said = last_words(command("snakemake", *words, cwd=tmp_path))
        assert said.startswith(f"resomap: snakemake (process {first.pid} on ")
        assert f"runs in {tmp_path} already and makes these files; wait for it (`resomap status --watch 10`" in said
        assert "unlock" not in said
    finally:
        first.send_signal(signal.SIGINT)
        assert first.wait(timeout=60) == 130, (tmp_path / "first.log").read_text()
