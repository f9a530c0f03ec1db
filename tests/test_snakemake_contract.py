"""Snakemake does what the adapter takes it for, in each thing that is used beyond its documented interface.

CI runs this file on the lowest and the newest version that pyproject.toml allows.
"""

import base64
import dataclasses
import inspect
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from snakemake import cli
from snakemake import logging as snakemake_logging
from snakemake.common import get_function_params
from snakemake.resources import Resource
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.enums import Quietness
from snakemake.settings.types import OutputSettings
from snakemake_interface_logger_plugins.common import LogEvent

from resomap.core.workflow_files import MARKER
from resomap.planning.argv import Options
from resomap.planning.snakemake_api import asked_often, remember_signatures
from resomap.planning.snakemake_locks import SNAKEMAKE_LOCKS
from snakemake_logger_plugin_resomap import handler

# Tells what the adapter sees, while the Snakefile is parsed and while the jobs are planned.
PROBE = (
    MARKER
    + """: a probe
import json, sys
from pathlib import Path
from resomap.planning.snakemake_api import SnakemakeApi, asked_often, deleted_after_use

API = SnakemakeApi(workflow)
API.limit_gpus(1)
PARSED = {"is_local": API.is_local, "is_main": API.is_main_process, "cores": API.cores, "jobs": API.jobs}
if API.is_main_process:
    PARSED |= {"gpus": API.gpus if API.is_local else None}

class Rules:
    @asked_often
    def inputs(self, wildcards):
        for step in config.get("steps", "").split(","):
            if step == "triggers":
                API.keep_rerun_triggers("MTIME", "PARAMS")
            if step == "incomplete":
                API.rerun_incomplete()
            if step == "again":
                API.make_again(Path("out/a.txt"))
            if step == "accept":
                API.accept(Path("out/a.txt"))
                API.accept(Path("out/a.tmp"))
        triggers = sorted(trigger.name for trigger in workflow.dag_settings.rerun_triggers)
        seen = {"is_planning": API.is_planning, "dry": API.is_dry_run, "forced": API.is_forced, "triggers": triggers}
        seen |= {"only_out": API.asks_for_nothing_but("out/"), "only_b": API.asks_for_nothing_but("out/b")}
        seen |= {"memory": API.memory_mb, "flagged": API.may_be_flagged()}
        if API.is_main_process:
            Path("seen.json").write_text(json.dumps({**PARSED, **seen}))
        else:
            Path("seen-in-job.json").write_text(json.dumps({**PARSED, **seen}))
        return []

RULES = Rules()

rule all:
    default_target: True
    input: "out/b.txt"

rule a:
    input: RULES.inputs
    output: "out/{name}.txt", deleted_after_use("out/{name}.tmp")
    wildcard_constraints: name="a"
    resources: gpu=1
    params: config.get("param", "x")
    shell: 'echo made >> made.log; eval "$PROBE"; touch {output}'

rule b:
    input: "out/a.txt", "out/a.tmp"
    output: "out/b.txt"
    shell: "touch {output}"
"""
)


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(PROBE)
    return tmp_path


def call(directory: Path, *words: str, probe: str = "") -> subprocess.CompletedProcess[str]:
    """Run Snakemake for real; the rule `a` runs `probe` first."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *words],
        cwd=directory,
        env={**os.environ, "PROBE": probe},
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def run(directory: Path, *words: str, config: str = "") -> dict[str, Any]:
    """Run the probe to a good end; return what the adapter saw."""
    seen = directory / "seen.json"
    seen.unlink(missing_ok=True)
    done = call(directory, *words, *(["--config", *config.split()] if config else []))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(seen.read_text()) if seen.exists() else {}


def made(directory: Path) -> int:
    """Count the runs of the rule `a`."""
    log = directory / "made.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_the_parser_tells_of_each_option_how_many_values_it_takes() -> None:
    options = Options(cli.get_argument_parser())
    taken = {name: options.parse([name, "a=1", "b=2"])[0].values for name in ("--config", "--cores", "--keep-going")}
    assert taken == {"--config": ["a=1", "b=2"], "--cores": ["a=1"], "--keep-going": []}


def test_arguments_are_acted_on_by_one_function_after_profiles_are_merged() -> None:
    assert list(inspect.signature(cli.args_to_api).parameters) == ["args", "parser"]
    assert "args_to_api(args, parser)" in inspect.getsource(cli.main)
    names = cli.get_argument_parser().parse_args([])
    for name in ("snakefile", "mode", "cores", "jobs", "dryrun", "logger", "executor"):
        assert hasattr(names, name), name
    assert names.mode.name == "DEFAULT"


def test_a_local_run_as_the_adapter_sees_it(probe: Path) -> None:
    seen = run(probe, "--cores", "2", "--resources", "mem_mb=500")
    assert (seen["is_local"], seen["is_main"], seen["is_planning"], seen["dry"]) == (True, True, True, False)
    assert (seen["cores"], seen["gpus"], seen["memory"], seen["forced"], seen["flagged"]) == (2, 1, 500, False, False)
    # The temporary output is gone once nobody needs it.
    assert sorted(path.name for path in (probe / "out").iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("targets", "only_out", "only_b"),
    [((), False, False), (("out/b.txt",), True, True), (("out/a.txt", "out/b.txt"), True, False)],
)
def test_targets_are_known_while_the_jobs_are_planned(
    probe: Path, targets: tuple[str, ...], only_out: bool, only_b: bool
) -> None:
    seen = run(probe, "-n", *targets)
    assert (seen["only_out"], seen["only_b"]) == (only_out, only_b)


def test_gpus_of_the_command_line_win(probe: Path) -> None:
    assert run(probe, "-n", "--cores", "2", "--resources", "gpu=3")["gpus"] == 3


def test_a_dry_run_and_a_listing_as_the_adapter_sees_them(probe: Path) -> None:
    seen = run(probe, "-n")
    assert (seen["is_local"], seen["is_planning"], seen["dry"]) == (True, True, True)
    assert seen["cores"] == len(os.sched_getaffinity(0))
    assert run(probe, "--summary")["is_planning"] is False
    assert run(probe, "-n", "-F")["forced"] is True


def test_a_cluster_run_is_told_from_the_chosen_executor(probe: Path) -> None:
    seen = run(probe, "-n", "--executor", "slurm", "--jobs", "7")
    assert (seen["is_local"], seen["jobs"]) == (False, 7)
    assert seen["memory"] == sys.maxsize


def test_a_jobs_own_process_is_not_the_main_one(probe: Path) -> None:
    words = ("out/a.txt", "--mode", "subprocess", "--cores", "1", "--force", "--nolock")
    done = call(probe, *words, "--target-jobs", "a:name=a", "--allowed-rules", "a")
    assert done.returncode == 0, done.stderr
    seen = json.loads((probe / "seen-in-job.json").read_text())
    assert (seen["is_main"], seen["is_local"], seen["is_planning"]) == (False, False, False)


def test_rerun_triggers_can_be_kept_to_some(probe: Path) -> None:
    seen = run(probe, "--cores", "1", "--rerun-triggers", "mtime", "code", "params", config="steps=triggers")
    assert seen["triggers"] == ["MTIME", "PARAMS"]
    assert made(probe) == 1
    (probe / "Snakefile").write_text(PROBE.replace("; touch {output}'", "; true; touch {output}'"))
    run(probe, "--cores", "1", "--rerun-triggers", "mtime", "code", "params", config="steps=triggers")
    assert made(probe) == 1  # other code
    run(probe, "--cores", "1", "--rerun-triggers", "mtime", "code", "params", config="steps=triggers param=y")
    assert made(probe) == 2


def test_incomplete_outputs_can_be_made_again(probe: Path) -> None:
    """A Snakefile that is not ours has no completed command line; one that uses ours as a module is such."""
    (probe / "Snakefile").write_text(PROBE.replace(MARKER, "# Another workflow"))
    run(probe, "--cores", "1")
    flag = probe / ".snakemake" / "incomplete" / base64.b64encode(b"out/a.txt").decode()
    flag.touch()
    refused = call(probe, "out/a.txt", "--cores", "1")
    assert "IncompleteFilesException" in refused.stderr
    run(probe, "--cores", "1", config="steps=incomplete")
    assert made(probe) == 2
    assert not flag.exists()


def test_a_file_that_is_there_can_be_made_again(probe: Path) -> None:
    run(probe, "--cores", "1")
    run(probe, "--cores", "1")
    assert made(probe) == 1
    run(probe, "--cores", "1", config="steps=again")
    assert made(probe) == 2


@pytest.mark.parametrize(("step", "again"), [("steps=accept", 0), ("", 1)])
def test_accepting_a_file_takes_back_its_flag(probe: Path, step: str, again: int) -> None:
    """Forget the flag of a kill between a file and its job's end, for which Snakemake makes the file again."""
    # On a loaded machine the job's command may come before the flag.
    flagged = "until ls .snakemake/incomplete/*; do sleep 0.1; done"
    killed = call(probe, "--cores", "1", probe=f"touch out/a.txt out/a.tmp; {flagged}; kill -9 $PPID; sleep 1")
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert any(probe.glob(".snakemake/incomplete/*"))
    for lock in probe.glob(str(SNAKEMAKE_LOCKS / "*.lock")):  # what the killed process left
        lock.unlink()
    before = made(probe)
    seen = run(probe, "--cores", "1", "--rerun-incomplete", "out/a.txt", config=step)
    assert seen["flagged"] is (step == "")  # asked for after it was accepted
    assert made(probe) - before == again


def test_a_running_snakemake_holds_lock_files_that_end_in_lock(probe: Path) -> None:
    assert call(probe, "--cores", "1", probe=f"ls {SNAKEMAKE_LOCKS} > locks.txt").returncode == 0
    names = (probe / "locks.txt").read_text().split()
    assert names
    assert all(name.endswith(".lock") for name in names)
    assert not list((probe / SNAKEMAKE_LOCKS).glob("*.lock"))


def test_a_signature_that_is_set_is_the_one_that_snakemake_sees() -> None:
    class Rules:
        @asked_often
        def inputs(self, wildcards: Any, attempt: int) -> None: ...

    seen = get_function_params(Rules().inputs)
    assert list(seen) == ["wildcards", "attempt"]
    assert all(isinstance(parameter, inspect.Parameter) for parameter in seen.values())


def test_the_signature_that_resources_have_is_remembered_as_it_is() -> None:
    before = dict(inspect.signature(Resource.evaluate).parameters)
    before.pop("self")
    remember_signatures()
    assert dict(get_function_params(Resource.evaluate)) == before
    assert dict(get_function_params(Resource("gpu", 1).evaluate)) == before


def test_the_log_formatter_and_filter_take_what_the_handler_gives_them_by_name() -> None:
    snakemake_logging.DefaultFormatter(quiet=None, show_failed_logs=False)
    keep = snakemake_logging.DefaultFilter(
        quiet=None, debug_dag=False, verbose=False, dryrun=False, printshellcmds=False
    )
    assert keep.filter(logging.LogRecord("x", logging.INFO, "", 0, "words", None, None))
    coloured = snakemake_logging.ColorizingTextHandler(nocolor=True, stream=sys.stderr)
    assert coloured.nocolor is True
    assert "%d" in coloured.COLOR_SEQ
    assert coloured.RESET_SEQ
    assert snakemake_logging.is_quiet_about(set(), "all") is False


def test_the_settings_of_quiet_are_of_the_workflow_and_can_be_replaced() -> None:
    settings = OutputSettings(quiet={Quietness.PROGRESS, Quietness.RULES})
    heard = dataclasses.replace(settings, quiet=type(settings.quiet)([Quietness.RULES]))
    assert heard.quiet == {Quietness.RULES}
    assert {"PROGRESS", "ALL"} <= {kind.name for kind in Quietness}
    assert "self.workflow.output_settings.quiet" in inspect.getsource(JobScheduler.__init__)


def test_the_events_that_the_handler_names_exist() -> None:
    named = {event.name for event in handler.SILENT_EVENTS | handler.CHANGES}
    assert named <= {event.name for event in LogEvent}
    assert {"RUN_INFO", "JOB_INFO", "JOB_FINISHED", "JOB_ERROR", "ERROR"} <= {event.name for event in LogEvent}
