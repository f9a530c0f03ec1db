"""The command line as people type it, through Snakemake's own parser and through real runs of Snakemake."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.cli import get_argument_parser

from resomap.core.workflow_files import MARKER, PROFILE, is_ours
from resomap.planning.argv import Options, move_targets, names_in, resume_command, values_of
from resomap.planning.snakemake_cli import CommandLine, attend

PARSER = get_argument_parser()
OPTIONS = Options(PARSER)
ROOT = Path(__file__).resolve().parents[1]

SNAKEFILE = (
    MARKER
    + """: a small one for tests
MODELS = str(config.get("models", "vgg11,resnet18")).split(",")
RESOLUTIONS = str(config.get("resolutions", "224,320")).split(",")
wildcard_constraints:
    model="[^/]+", resolution="[^/.]+", suffix=r"(\\.seed[0-9]+)?"
rule all:
    default_target: True
    input: expand("results/{m}/{r}.done", m=MODELS, r=RESOLUTIONS)
rule one_model:
    input: lambda wildcards: expand("results/{m}/{r}.done", m=wildcards.model, r=RESOLUTIONS)
    output: touch("results/{model}/all")
rule train:
    output: "results/{model}/{resolution}{suffix}.done"
    resources: gpu=1
    shell: "echo {wildcards.model} > {output}"
"""
)


def parsed(words: list[str]) -> argparse.Namespace:
    return PARSER.parse_args(words)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone in small: a Snakefile of ours with the profile beside it."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    shutil.copytree(ROOT / PROFILE, tmp_path / PROFILE)
    return tmp_path


def snakemake(directory: Path, *arguments: str, rc: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """A real run; `rc` is the exit status it must have."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == rc, done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--cores 1 --resources gpu=1 results/vgg11/320.done", "results/vgg11/320.done --cores 1 --resources gpu=1"),
        (
            "--config models=vgg11 resolutions=224,320 results/vgg11/all",
            "results/vgg11/all --config models=vgg11 resolutions=224,320",
        ),
        ("-C models=vgg11 results/vgg11/all", "results/vgg11/all -C models=vgg11"),
        ("--rerun-triggers mtime all", "all --rerun-triggers mtime"),
        ("--resou gpu=1 a/b", "a/b --resou gpu=1"),
        ("--resources=gpu=1 a/b", "--resources=gpu=1 a/b"),
        ("", ""),
        ("-q a/b", "a/b -q"),
        ("-nq a/b", "a/b -nq"),
        # After a target `all` is the rule; right behind -q it is Snakemake's "say nothing".
        ("-q a/b all", "a/b all -q"),
        ("-q all a/b", "a/b -q all"),
        ("-q rules a/b", "a/b -q rules"),
        ("--configfile config/quick.yaml a/b", "a/b --configfile config/quick.yaml"),
        ("--configfile x.yaml y.yml results/map.json", "results/map.json --configfile x.yaml y.yml"),
        ("--set-threads train=2 a/b", "a/b --set-threads train=2"),
        ("--set-resources train:gpu=1 all", "all --set-resources train:gpu=1"),
        ("--default-resources mem_mb=1 a/b", "a/b --default-resources mem_mb=1"),
        ("--config a=1 x/y b=2", "x/y --config a=1 b=2"),
        ("x/1 --config a=1 x/2", "x/1 x/2 --config a=1"),
        (
            "--resources gpu=1 --keep-going x/1 --config a=1 x/2",
            "x/1 x/2 --resources gpu=1 --keep-going --config a=1",
        ),
        ("x/1 -n x/2", "x/1 x/2 -n"),
        ("-n x/1 x/2", "-n x/1 x/2"),
        ("--resources gpu=1 -- x/1", "--resources gpu=1 -- x/1"),
        ("--resources gpu=1 x/1 -- x/2", "--resources gpu=1 -- x/1 x/2"),
        ("--dag results/a.done", "results/a.done --dag"),
        ("--dag dot results/a.done", "--dag dot results/a.done"),
        ("--logger resomap all", "all --logger resomap"),
        ("--slurm-requeue --config a=1 x/y", "x/y --slurm-requeue --config a=1"),
        ("--summary --config a=1 x/y", "x/y --summary --config a=1"),
        # What Snakemake rejects stays for Snakemake to reject.
        ("--config models vgg11", "vgg11 --config models"),
        ("--resources a/b", "--resources a/b"),
        ("--no-such-option a/b", "--no-such-option a/b"),
        # Neither rules nor files can be told from targets here.
        ("--until train a/b", "--until train a/b"),
        ("--forcerun train", "--forcerun train"),
        ("-R a/b", "-R a/b"),
    ],
)
def test_targets_move_out_of_value_lists(line: str, expected: str) -> None:
    assert move_targets(line.split(), OPTIONS) == expected.split()


def test_values_with_spaces_stay_whole() -> None:
    line = ["--config", "training={epochs: 2}", "results/vgg11/320.done"]
    assert move_targets(line, OPTIONS) == ["results/vgg11/320.done", "--config", "training={epochs: 2}"]


OPTION_GROUPS = st.lists(
    st.sampled_from(
        [
            *(("--resources", "gpu=1", "mem_mb=4"), ("--config", "a=1", "t={b: 2}")),
            *(("--rerun-triggers", "mtime", "code"), ("-n",), ("-q",)),
            *(("--configfile", "q.yaml"), ("--cores", "2"), ("-j3",), ("--retries", "1"), ("-k",)),
            *(("--set-threads", "train=1"), ("--directory", "runs/mine"), ("--rerun-incomplete",)),
        ]
    ),
    max_size=5,
    unique_by=lambda group: group[0],
)
TARGETS = st.lists(st.sampled_from(["results/vgg11/320.done", "results/a.b/all", "images"]), max_size=3, unique=True)


@settings(max_examples=150, deadline=None)
@given(groups=OPTION_GROUPS, targets=TARGETS, data=st.data())
def test_snakemake_reads_what_was_meant(groups: list[tuple[str, ...]], targets: list[str], data: st.DataObject) -> None:
    pieces = [*groups, *((target,) for target in targets)]
    line = [word for piece in data.draw(st.permutations(pieces)) for word in piece]
    moved = move_targets(line, OPTIONS)
    read = parsed(moved)
    assert sorted(read.targets) == sorted(targets)
    # The options alone are what Snakemake reads without any help.
    wanted = parsed([word for group in groups for word in group])
    for name in ("resources", "config", "rerun_triggers", "quiet", "configfile", "set_threads", "directory"):
        assert getattr(read, name) == getattr(wanted, name)
    assert move_targets(moved, OPTIONS) == moved


def test_resume_command_keeps_what_decides_the_cell() -> None:
    line = "-n --cores 2 --resources gpu=1 a/b --configfile q.yaml --directory runs/x -F --logger rich"
    assert resume_command(line.split(), OPTIONS, "results/vgg11/320.done") == (
        "snakemake --rerun-incomplete results/vgg11/320.done "
        "--cores 2 --resources gpu=1 --configfile q.yaml --directory runs/x"
    )
    quoted = resume_command(["--config", "training={epochs: 2}"], OPTIONS, "results/a/1.done")
    assert quoted.endswith("--config 'training={epochs: 2}'")


@pytest.mark.parametrize("line", ["-s a/S", "--snakefile=a/S", "-sa/S", "--snake a/S", "-s x -s a/S", "-ns a/S"])
def test_the_value_of_an_option_is_found_however_it_is_written(line: str) -> None:
    assert values_of("--snakefile", line.split(), OPTIONS)[-1] == "a/S"
    assert "--snakefile" in names_in(line.split(), OPTIONS)


def test_only_our_snakefile_counts(project: Path) -> None:
    assert is_ours(project / "Snakefile")
    (project / "second").write_text(f"# MIT\n{MARKER}\n")
    assert is_ours(project / "second")
    (project / "other").write_text("rule all:\n")
    assert not is_ours(project / "other")
    assert not is_ours(project / "missing")
    assert not is_ours(project)


def read(project: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(project)
    return CommandLine().read(line.split(), PARSER)


def test_the_profile_goes_in_front_of_the_users(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = str(project / PROFILE)
    assert read(project, "-n", monkeypatch) == ["--profile", own, "-n"]
    assert read(project, "--profile x a/b", monkeypatch) == ["--profile", own, "--profile", "x", "a/b"]
    assert read(project, "--profile none", monkeypatch) == ["--profile", "none"]
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "mine")
    assert read(project, "-n", monkeypatch) == ["--profile", own, "--profile", "mine", "-n"]
    assert read(project, "-n --profile x", monkeypatch) == ["--profile", own, "-n", "--profile", "x"]


@pytest.mark.parametrize("mode", ["--mode subprocess", "--mode=remote", "--target-jobs train:model=a"])
def test_a_child_process_is_left_alone(project: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"--snakefile Snakefile {mode} --resources gpu=1 a/b"
    assert read(project, line, monkeypatch) == line.split()


def test_outside_snakemake_nothing_is_taken_hold_of() -> None:
    before, parse = list(sys.argv), argparse.ArgumentParser.parse_args
    attend()
    assert sys.argv == before
    assert argparse.ArgumentParser.parse_args is parse


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("--cores 1 --resources gpu=1 results/vgg11/320.done", {"vgg11/320"}),
        ("--cores 1 --resources gpu=1", {"vgg11/224", "vgg11/320", "resnet18/224", "resnet18/320"}),
        ("--config models=vgg11,resnet18 resolutions=224", {"vgg11/224", "resnet18/224"}),
        ("results/vgg11/all", {"vgg11/224", "vgg11/320"}),
        ("--rerun-incomplete results/vgg11/512.seed1.done", {"vgg11/512.seed1"}),
        ("--directory runs/mine --configfile mine.yaml results/vgg11/all", {"vgg11/96"}),
    ],
)
def test_the_lines_that_people_type_train(project: Path, line: str, made: set[str]) -> None:
    (project / "mine.yaml").write_text("resolutions: 96\n")
    snakemake(project, *line.split())
    results = project / ("runs/mine/results" if "runs/mine" in line else "results")
    assert {str(path.relative_to(results).with_suffix("")) for path in results.rglob("*.done")} == made


def test_a_dry_run_needs_no_options_and_lists_each_job(project: Path) -> None:
    done = snakemake(project, "-n", "-p")
    assert done.stdout.count("rule train:") == 4
    assert "wildcards: model=vgg11, resolution=320" in done.stdout
    assert "train        4" in done.stdout
    assert not (project / "results").exists()


def cores_of(done: subprocess.CompletedProcess[str]) -> str:
    return re.findall(r"^Provided cores: (\d+)", done.stderr, re.MULTILINE)[0]


PROFILES = {
    "several": "cores: 3\n",
    "other": "printshellcmds: true\n",
}


def write_profile(place: Path, content: str) -> None:
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(content)


@pytest.mark.parametrize(("name", "wanted"), [("several", "3"), ("other", None)])
@pytest.mark.parametrize("how", ["option", "environment", "default", "default beside -s"])
def test_a_users_profile_keeps_its_say_and_ours_holds_beside_it(
    project: Path, how: str, name: str, wanted: str | None
) -> None:
    """Cores come from a profile where it has some, keep-going from ours, wherever the user's profile stands."""
    (project / "Snakefile").write_text(SNAKEFILE.replace('"echo', '"test {wildcards.resolution} = 320 && echo'))
    work = project / "elsewhere" if how == "default beside -s" else project
    place = "profiles/default" if how.startswith("default") else "profiles/mine"
    write_profile(work / place, PROFILES[name])
    options = {"option": ["--profile", place], "default beside -s": ["-s", "../Snakefile"]}.get(how, [])
    environment = {"SNAKEMAKE_PROFILE": place} if how == "environment" else {}
    done = snakemake(work, "--verbose", *options, rc=1, **environment)
    assert cores_of(done) == (wanted or str(len(os.sched_getaffinity(0))))
    assert len(list((work / "results").rglob("320.done"))) == 2  # although 224 failed first
    assert "This run's trainings: 2 completed, 2 failed, 0 remaining" in done.stderr


def test_a_users_profile_wins_over_ours(project: Path) -> None:
    write_profile(project / "profiles" / "mine", "keep-going: false\n")
    (project / "Snakefile").write_text(SNAKEFILE.replace('"echo', '"false && echo'))
    done = snakemake(project, "-c1", "--profile", "profiles/mine", rc=1)
    assert "This run's trainings: 0 completed, 1 failed, 3 remaining" in done.stderr


def test_another_project_sees_plain_snakemake(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text("rule a:\n    output: 'x'\n    shell: 'touch x'\n")
    assert "Error: cores have to be specified" in snakemake(tmp_path, "a", rc=1).stderr
    assert "Finished jobid: 0 (Rule: a)" in snakemake(tmp_path, "-c1", "a").stderr
