"""The commands on the documentation's pages do what a reader expects: each is run or planned, or at least parsed."""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, draw_images, snakemake
from test_workflow import trainings

from resomap.cli import parser

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "config" / "README.md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
OWN_FOLDERS = ("resomap", "workflow", "profiles", "tests", "docs", "config", "benchmarks", r"snakemake_\w+")
# What a command of a page names and a checkout has not: a study of the reader's own.
OWN_STUDY = {"models": ["resnet18"], "resolutions": [32], "device": "cpu"}


def commands(page: Path) -> list[str]:
    """The lines of the page's bash blocks, without comments; `a && b` are two."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    found: list[list[str]] = []
    for words in lines:
        rest = words
        while "&&" in rest:
            found.append(rest[: rest.index("&&")])
            rest = rest[rest.index("&&") + 1 :]
        found.append(rest)
    return [shlex.join(words) for words in found if words]


ALL = list(dict.fromkeys(command for page in PAGES for command in commands(page)))
# --report shows what was run and plans nothing: test_workflow.py runs it on a real grid.
PLANNED = [command for command in ALL if command.startswith("snakemake ") and "--report" not in command]


def test_pages_have_commands() -> None:
    assert len(PLANNED) > 20
    assert sum(command.startswith("resomap ") for command in ALL) > 10
    assert {shlex.split(command)[0] for command in ALL} <= {"snakemake", "resomap", "pip", "pytest", "python", "mlflow"}


@pytest.mark.parametrize("command", [each for each in ALL if each.startswith("resomap ")])
def test_a_command_of_resomap_is_understood(command: str) -> None:
    given, others = parser().parse_known_args(shlex.split(command)[1:])
    assert callable(given.run)
    assert not others or given.takes_snakemakes_words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"python -m ([\w.]+)", page.read_text())
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


@pytest.mark.parametrize("command", PLANNED)
def test_a_snakemake_command_can_be_planned(command: str, tmp_path: Path) -> None:
    """In an empty directory, so that it has something to do, and without an executor that is not there."""
    words, own = shlex.split(command)[1:], tmp_path / "mine.yaml"
    own.write_text(yaml.safe_dump(OWN_STUDY))
    if "images/leaves" in command:
        draw_images(tmp_path / "images" / "leaves", 12)
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] in ("--directory", "--profile"):
            kept.pop()
        elif word != "-n":
            kept.append(str(own) if word.endswith(".yaml") and not (ROOT / word).exists() else word)
    planned = snakemake("-n", *kept, directory=tmp_path)
    assert planned.returncode == 0, planned.stderr
    output = planned.stdout + planned.stderr
    assert trainings(output) > 0 or "rule cost:" in output or "rule data:" in output, output


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_files_of_the_repository_that_are_named_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(OWN_FOLDERS)})/[\w./-]*)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def layers_in_contributing() -> list[tuple[list[str], list[str]]]:
    """(packages, modules named) of each row of the table of layers, from the top."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| package | owns |")[2].partition("\n\n")[0]
    rows = [row.strip("|").split(" | ") for row in table.splitlines()[2:]]
    named = [[re.findall(r"`([\w/]+)`", cell) for cell in (row[0], row[-1])] for row in rows]
    return [(packages, modules) for packages, modules in named]


def test_the_table_of_layers_is_the_contract() -> None:
    """And names every package: the contract is exhaustive, which lint-imports holds."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    stated = [" | ".join(packages) for packages, _ in layers_in_contributing()]
    assert stated == contract["layers"]


@pytest.mark.parametrize(("packages", "modules"), layers_in_contributing(), ids=lambda names: "-".join(names[:2]))
def test_modules_in_the_table_of_layers_exist(packages: list[str], modules: list[str]) -> None:
    folder = ROOT / "resomap" / (packages[0] if len(packages) == 1 else "")
    paths = [folder / name for name in modules]
    assert [path for path in paths if not path.is_dir() and not path.with_suffix(".py").is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []
