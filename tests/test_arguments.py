"""The command line as people type it, through Snakemake's own parser and through real runs of Snakemake."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.cli import get_argument_parser

from resomap.planning import argv_options as options
from resomap.planning.argv import MARKER, apply, is_ours, resume_command, rewrite

PARSER = get_argument_parser()
DRY_DEFAULTS = "--keep-going --cores 8"
DEFAULTS = f"{DRY_DEFAULTS} --logger=resomap"

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


def words(line: str) -> list[str]:
    return ["snakemake", *line.split()]


def parsed(argv: list[str]) -> argparse.Namespace:
    return PARSER.parse_args(argv[1:])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
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
        (
            "--cores 1 --resources gpu=1 results/vgg11/320.done",
            "results/vgg11/320.done --cores 1 --resources gpu=1 --keep-going --logger=resomap",
        ),
        (
            "--config models=vgg11 resolutions=224,320 results/vgg11/all",
            f"results/vgg11/all --config models=vgg11 resolutions=224,320 {DEFAULTS}",
        ),
        ("-C models=vgg11 results/vgg11/all", f"results/vgg11/all -C models=vgg11 {DEFAULTS}"),
        ("--rerun-triggers mtime all", f"all --rerun-triggers mtime {DEFAULTS}"),
        ("--resou gpu=1 a/b", f"a/b --resou gpu=1 {DEFAULTS}"),
        ("--resources=gpu=1 a/b", f"--resources=gpu=1 a/b {DEFAULTS}"),
        ("-n", f"-n {DRY_DEFAULTS}"),
        ("", DEFAULTS),
        ("-q a/b", f"a/b -q {DEFAULTS}"),
        ("-nq a/b", f"a/b -nq {DRY_DEFAULTS}"),
        # After a target `all` is the rule; right behind -q it is Snakemake's "say nothing".
        ("-q a/b all", f"a/b all -q {DEFAULTS}"),
        ("-q all a/b", f"a/b -q all {DEFAULTS}"),
        ("-q rules a/b", f"a/b -q rules {DEFAULTS}"),
        ("--configfile config/quick.yaml a/b", f"a/b --configfile config/quick.yaml {DEFAULTS}"),
        ("--configfile x.yaml y.yml results/map.json", f"results/map.json --configfile x.yaml y.yml {DEFAULTS}"),
        ("--set-threads train=2 a/b", f"a/b --set-threads train=2 {DEFAULTS}"),
        ("--set-resources train:gpu=1 all", f"all --set-resources train:gpu=1 {DEFAULTS}"),
        ("--default-resources mem_mb=1 a/b", f"a/b --default-resources mem_mb=1 {DEFAULTS}"),
        ("--config a=1 x/y b=2", f"x/y --config a=1 b=2 {DEFAULTS}"),
        ("x/1 --config a=1 x/2", f"x/1 x/2 --config a=1 {DEFAULTS}"),
        ("--resources gpu=1 --keep-going x/1 --config a=1 x/2",
         "x/1 x/2 --resources gpu=1 --keep-going --config a=1 --cores 8 --logger=resomap"),
        ("x/1 -n x/2", f"x/1 x/2 -n {DRY_DEFAULTS}"),
        ("-n x/1 x/2", f"-n x/1 x/2 {DRY_DEFAULTS}"),
        ("--resources gpu=1 -- x/1", f"--resources gpu=1 {DEFAULTS} -- x/1"),
        ("--resources gpu=1 x/1 -- x/2", f"--resources gpu=1 {DEFAULTS} -- x/1 x/2"),
        # What Snakemake rejects stays for Snakemake to reject.
        ("--config models vgg11", f"vgg11 --config models {DEFAULTS}"),
        ("--resources a/b", f"--resources a/b {DEFAULTS}"),
        # Neither rules nor files can be told from targets here.
        ("--until train a/b", f"--until train a/b {DEFAULTS}"),
        ("--forcerun train", f"--forcerun train {DEFAULTS}"),
        ("-R a/b", f"-R a/b {DEFAULTS}"),
    ],
)  # fmt: skip
def test_targets_move_out_of_value_lists(line: str, expected: str) -> None:
    assert rewrite(words(line), 8) == words(expected)


@pytest.mark.parametrize(
    "line",
    [
        *("-c 2", "-c2", "--cores=2", "--cores all", "-j 2", "-j2", "--jobs 2", "--core 2"),
        *("--profile profiles/slurm", "--profile=profiles/slurm", "--workflow-profile x", "--prof x"),
        *("--executor slurm", "-e slurm", "--executor=slurm", "--cluster-generic-submit-cmd qsub"),
    ],
)
def test_cores_are_left_alone(line: str) -> None:
    assert rewrite(words(line), 8) == words(f"{line} --keep-going --logger=resomap")


@pytest.mark.parametrize("line", ["-e local", "--executor local", "--profile none", "--local-cores 2"])
def test_a_local_run_gets_cores(line: str) -> None:
    assert rewrite(words(line), 8) == words(f"{line} {DEFAULTS}")


def test_no_number_of_cores_where_a_profile_decides() -> None:
    assert rewrite(words("-F"), None) == words("-F --keep-going --logger=resomap")


@pytest.mark.parametrize(
    "line",
    [
        *("--lint", "--unlock", "--list", "-l", "--list-target-rules", "--lt", "--summary", "-D", "--dag", "--help"),
        *("--dag dot", "--report", "--report out.html", "--version", "-v", "--touch", "-t", "--rulegraph", "-h"),
        *("--lc code", "--list-untracked", "--cleanup-metadata x", "--delete-all-output", "--unl", "--archive x"),
        "--delete-temp-output -n",
    ],
)
def test_what_is_no_run_gets_nothing(line: str) -> None:
    assert rewrite(words(line), 8) == words(line)


def test_what_is_no_run_keeps_its_target() -> None:
    assert rewrite(words("--dag results/a.done"), 8) == words("results/a.done --dag")
    assert rewrite(words("--summary --config a=1 x/y"), 8) == words("x/y --summary --config a=1")


def test_a_report_after_a_run_is_a_run() -> None:
    line = "--report-after-run --report out.html"
    assert rewrite(words(line), 8) == words(f"{line} {DEFAULTS}")


@pytest.mark.parametrize("mode", ["--mode subprocess", "--mode=remote", "--target-jobs train:model=a"])
def test_a_child_process_is_left_alone(mode: str) -> None:
    line = f"--snakefile Snakefile {mode} --resources gpu=1 a/b"
    assert rewrite(words(line), 8) == words(line)


def test_values_with_spaces_stay_whole() -> None:
    line = ["snakemake", "--config", "training={epochs: 2}", "results/vgg11/320.done"]
    assert rewrite(line, 8)[1:4] == ["results/vgg11/320.done", "--config", "training={epochs: 2}"]


@pytest.mark.parametrize(
    ("line", "added"),
    [
        ("--keep-going", "--cores 8 --logger=resomap"),
        ("-k", "--cores 8 --logger=resomap"),
        ("-nk", "--cores 8"),
        ("-n --logger resomap", "--keep-going --cores 8"),
        ("--logger rich", "--keep-going --cores 8"),
    ],
)
def test_what_is_there_is_not_added(line: str, added: str) -> None:
    assert rewrite(words(line), 8) == words(f"{line} {added}")


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
    line = ["snakemake", *(word for piece in data.draw(st.permutations(pieces)) for word in piece)]
    rewritten = rewrite(line, 8)
    read = parsed(rewritten)
    assert sorted(read.targets) == sorted(targets)
    # The options alone are what Snakemake reads without any help.
    wanted = parsed(["snakemake", *(word for group in groups for word in group)])
    for name in ("resources", "config", "rerun_triggers", "quiet", "configfile", "set_threads", "directory"):
        assert getattr(read, name) == getattr(wanted, name)
    assert read.keep_going
    assert read.logger == ([] if ("-n",) in groups else ["resomap"])
    assert read.cores is not None or read.jobs is not None
    assert rewrite(rewritten, 8) == rewritten


def test_the_option_table_is_snakemakes() -> None:
    ours = {
        0: options.FLAGS,
        None: options.ONE_VALUE,
        "?": options.OPTIONAL,
        "+": options.SEVERAL,
        "*": options.SEVERAL,
        2: options.SEVERAL,
    }
    plugins = ("--slurm", "--cluster", "--report-html", "--scheduler-greedy", "--scheduler-ilp", "--logger-")
    for action in PARSER._actions:
        first = next((name for name in action.option_strings if name.startswith("--")), None)
        for name in action.option_strings:
            if name.startswith(plugins):
                continue
            if name.startswith("--"):
                assert name in ours[action.nargs], name
            elif name[1:] in options.LETTERS:
                assert options.LETTERS[name[1:]] in action.option_strings, (name, first)
            else:
                pytest.fail(f"{name} is not in the table")
        pattern = options.VALUE_PATTERNS.get(first or "")
        if action.choices and pattern not in (None, options.WORD):
            assert all(pattern.match(str(choice)) for choice in action.choices), first


def test_resume_command_keeps_what_decides_the_cell() -> None:
    line = words("-n --cores 2 --resources gpu=1 a/b --configfile q.yaml --directory runs/x -F --logger rich")
    assert resume_command(line, "results/vgg11/320.done") == (
        "snakemake --rerun-incomplete results/vgg11/320.done "
        "--cores 2 --resources gpu=1 --configfile q.yaml --directory runs/x"
    )
    quoted = resume_command(["snakemake", "--config", "training={epochs: 2}"], "results/a/1.done")
    assert quoted.endswith("--config 'training={epochs: 2}'")


def test_only_our_snakefile_counts(project: Path) -> None:
    assert is_ours(["/bin/snakemake"], project)
    assert is_ours(["/x/snakemake/__main__.py", "-n"], project)
    assert not is_ours(["/bin/pytest"], project)
    other = project / "other"
    other.mkdir()
    assert not is_ours(["snakemake"], other)
    for line in (["-s", "../Snakefile"], ["--snakefile=../Snakefile"], ["-s../Snakefile"], ["--snake", "../Snakefile"]):
        assert is_ours(["snakemake", *line], other)
    (other / "workflow").mkdir()
    (other / "workflow" / "Snakefile").write_text(f"# MIT\n{MARKER}\n")
    assert is_ours(["snakemake"], other)
    (other / "Snakefile").write_text("rule all:\n")
    assert not is_ours(["snakemake"], other)
    assert not is_ours(["snakemake", "-s", "https://example.org/Snakefile"], other)


def test_apply_leaves_this_process_alone() -> None:
    before = list(sys.argv)
    apply()
    assert sys.argv == before


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
    done = snakemake(project, "-n")
    assert done.stdout.count("rule train:") == 4
    assert "wildcards: model=vgg11, resolution=320" in done.stdout
    assert "train        4" in done.stdout
    assert not (project / "results").exists()


def test_a_profile_is_not_capped_and_snakemake_keeps_its_own_say(project: Path) -> None:
    (project / "profiles" / "x").mkdir(parents=True)
    (project / "profiles" / "x" / "config.yaml").write_text("cores: 1\n")
    assert "Provided cores: 1 " in snakemake(project, "--profile", "profiles/x", "--verbose").stderr
    shown = snakemake(project, "-F", "--verbose", SNAKEMAKE_PROFILE="profiles/x").stderr
    assert "Provided cores: 1 " in shown


def test_another_project_sees_plain_snakemake(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text("rule a:\n    output: 'x'\n    shell: 'touch x'\n")
    assert "Error: cores have to be specified" in snakemake(tmp_path, "a", rc=1).stderr
    assert "Finished jobid: 0 (Rule: a)" in snakemake(tmp_path, "-c1", "a").stderr
