"""The structure of the package: layers, one home a topic, and what the light commands import."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from conftest import ROOT, environment_with, small_config, tool

PLUGINS = ("snakemake_logger_plugin_resomap", "snakemake_scheduler_plugin_resomap")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
# Named after a subcommand, a rule or a chapter, whatever stands elsewhere under that name.
NAMED_AFTER_OTHERS = ("resomap/commands", "resomap/planning/rules", "resomap/report/chapters")
HEAVY = {"torch", "torchvision", "timm", "mlflow", "dagshub", "sklearn", "scipy", "altair", "matplotlib"}


def modules() -> list[Path]:
    """Files of the package and its plugins, from the repository's root."""
    return [path.relative_to(ROOT) for place in ("resomap", *PLUGINS) for path in sorted((ROOT / place).rglob("*.py"))]


def test_the_layers_hold() -> None:
    """`lint-imports`, imports inside of functions included."""
    environment = environment_with(PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [tool("lint-imports"), "--no-cache"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


def test_the_layers_are_held_without_exceptions() -> None:
    assert [name for name, contract in CONTRACTS.items() if contract.get("ignore_imports")] == []


def test_whoever_imports_snakemake_is_named() -> None:
    """A new module of `planning` is either an adapter to Snakemake or in the contract's list."""
    contract = CONTRACTS["Snakemake is imported by its adapter and by the plugins alone"]
    named = set(contract["source_modules"])
    unnamed = set()
    for path in modules():
        parts = path.with_suffix("").parts
        if parts[0] == "resomap" and len(parts) > 1 and parts[-1] != "__init__":
            prefixes = {".".join(parts[:length]) for length in range(2, len(parts) + 1)}
            unnamed |= set() if prefixes & named else {".".join(parts)}
    assert unnamed == {"resomap.planning.snakemake_api", "resomap.planning.snakemake_cli"}


def test_only_entry_points_stand_loose() -> None:
    loose = {path.name for path in modules() if path.parent == Path("resomap")}
    assert loose == {"__init__.py", "__main__.py", "cli.py", "fork_server.py"}


def test_one_name_stands_for_one_thing() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        if path.name == "__init__.py":
            homes[path.parent.name].append(str(path.parent))
        elif path.name != "__main__.py" and not str(path.parent).startswith(NAMED_AFTER_OTHERS):
            homes[path.stem].append(str(path))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_files_are_rooms() -> None:
    """About 300 lines at most."""
    long = {str(path): len((ROOT / path).read_text().splitlines()) for path in modules()}
    assert {name: lines for name, lines in long.items() if lines > 340} == {}


def imported(*words: str | Path, cwd: Path) -> set[str]:
    """Top-level names of all that a command of this environment imports, from Python's own account of it."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *map(str, words)],
        cwd=cwd,
        env=environment_with(),
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name.split(".")[0] for name in re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE)}


@pytest.mark.parametrize("command", ["plan", "status"])
def test_light_commands_import_nothing_heavy(command: str, images: Path, tmp_path: Path) -> None:
    """The main process stays light; processes of their own ask the libraries, once an installation."""
    (tmp_path / "study.yaml").write_text(json.dumps(small_config(images)))
    plan = ("-m", "snakemake", "-n", "--snakefile", ROOT / "Snakefile", "--configfile", "study.yaml")
    names = imported(*plan, cwd=tmp_path)
    if command == "status":
        code = "import sys; from resomap.cells.study import CURRENT, Study; Study.open(eval(sys.argv[1])).save(CURRENT)"
        subprocess.run([sys.executable, "-c", code, repr(small_config(images))], cwd=tmp_path, check=True)
        names = imported("-m", "resomap", "status", cwd=tmp_path)
    assert "resomap" in names
    assert names & HEAVY == set()
