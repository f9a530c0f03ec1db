"""One place names a study: `-C DIR` on each subcommand, its configuration remembered, and paths for who reads them."""

import contextlib
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import MODEL, ROOT, command, done_marker, small_config

from resomap.cells.progress import Failure, failure_path
from resomap.cells.study import Study
from resomap.cli import parser
from resomap.commands import PEOPLE
from resomap.core.files import read_json

MARKER = f"results/{MODEL}/32.done"


@pytest.fixture
def place(images: Path, tmp_path: Path) -> Path:
    """A folder with `mine.yaml`, and below it an empty folder for a study."""
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    write(tmp_path / "mine.yaml", small_config(images))
    return tmp_path


def write(path: Path, config: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(config))


def snakemake(*words: str, cwd: Path) -> str:
    done = command("snakemake", "-s", ROOT / "Snakefile", *words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def resomap(*words: str | Path, cwd: Path, rc: int = 0) -> str:
    done = command("resomap", *words, cwd=cwd)
    assert done.returncode == rc, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if rc == 0 else done.stderr


def finish(study: Path, config: dict[str, Any], **changes: Any) -> None:
    """Have the study's first cell done, as if it had been trained under this configuration."""
    with contextlib.chdir(study):
        made = Study.open(config)
        cell = made.cells()[0]
        cell.marker.parent.mkdir(parents=True, exist_ok=True)
        done_marker(cell, made.fingerprint(cell), **changes).write(cell.marker)
        made.save(Path(".resomap", "study-0.json"))


def test_a_plan_is_what_the_status_shows_and_nobody_repeats_the_configuration(place: Path) -> None:
    asked = ("--directory", "runs/mine", "--configfile", "mine.yaml", "--config", "resolutions=32,48")
    planned = snakemake("-n", *asked, cwd=place)
    assert planned.strip().splitlines()[-1].startswith("0 done, 2 to go, about ")
    assert "2 remaining" in resomap("status", "-C", "runs/mine", cwd=place)
    assert "2 remaining" in resomap("status", cwd=place / "runs" / "mine")
    # Once more without its configuration, from where it was typed and from in the folder.
    for where, words in ((place, ("-C", "runs/mine")), (place / "runs" / "mine", ()), (place / "runs", ("-C", "mine"))):
        assert resomap("plan", *words, cwd=where).splitlines()[-1].startswith("0 done, 2 to go, about ")
    # Another configuration file wins, values are laid over, and the plan of a study that never ran is the one shown.
    write(place / "other.yaml", {**yaml.safe_load((place / "mine.yaml").read_text()), "resolutions": [40]})
    assert "40 px" in resomap("plan", "-C", "runs/mine", "--configfile", "other.yaml", cwd=place)
    assert "1 remaining" in resomap("status", "-C", "runs/mine", cwd=place)
    assert "56 px" in resomap("plan", "-C", "runs/mine", "--config", "resolutions=40,56", cwd=place)


def test_the_folders_own_configuration_counts_for_plain_snakemake_too(place: Path) -> None:
    study = place / "runs" / "mine"
    own = yaml.safe_load((place / "mine.yaml").read_text())
    write(study / "resomap.yaml", {**own, "resolutions": [32, 40, 48]})
    assert (
        snakemake("-n", "--directory", "runs/mine", cwd=place).rstrip().splitlines()[-1].startswith("0 done, 3 to go")
    )
    assert snakemake("-n", cwd=study).rstrip().splitlines()[-1].startswith("0 done, 3 to go")
    assert resomap("plan", "-C", study, cwd=place).splitlines()[-1].startswith("0 done, 3 to go")
    # --config is laid over it, --configfile takes its place.
    planned = snakemake("-n", "--config", "resolutions=32,40", cwd=study)
    assert planned.rstrip().splitlines()[-1].startswith("0 done, 2 to go")
    planned = snakemake("-n", "--configfile", "../../mine.yaml", cwd=study)
    assert planned.rstrip().splitlines()[-1].startswith("0 done, 1 to go")
    (study / "resomap.yaml").write_text("models: [")
    said = command("snakemake", "-s", ROOT / "Snakefile", "-n", cwd=study)
    assert said.returncode == 2
    assert said.stderr.strip().splitlines()[-1].startswith("resomap: resomap.yaml, line 1 is not valid YAML")


def test_a_look_does_not_change_what_the_status_shows_of_a_study_that_ran(place: Path, images: Path) -> None:
    study = place / "runs" / "mine"
    finish(study, small_config(images))
    made = read_json(study / ".resomap" / "study.json")
    assert "is_planned" not in made
    snakemake("-n", "--configfile", "../../mine.yaml", "--config", "resolutions=32,48", cwd=study)
    assert read_json(study / ".resomap" / "study.json") == made
    assert "1 completed" in resomap("status", cwd=study)


def test_changed_settings_are_announced_with_the_old_and_the_new_value(place: Path, images: Path) -> None:
    study = place / "runs" / "mine"
    finish(study, small_config(images))
    words = ("-n", "--configfile", "../../mine.yaml", "--config", "training={epochs: 5}")
    planned = snakemake(*words, cwd=study).strip().splitlines()
    assert f"trains again: {MODEL}@32: training.epochs was 3 and is 5" in planned
    assert planned[-1].startswith("0 done, 1 to go (1 again), about ")
    # Without a run's study file the reason is that nobody knows.
    (study / ".resomap" / "study-0.json").unlink()
    assert "settings that no run here had, or another version of ResoMap" in snakemake(*words, cwd=study)


def test_paths_and_commands_work_from_where_they_are_read(place: Path, images: Path) -> None:
    study = place / "runs" / "mine"
    snakemake("-n", "--cores", "2", "--directory", "runs/mine", "--configfile", "mine.yaml", cwd=place)
    with contextlib.chdir(study):
        made = Study.load()
        cell = made.cells()[0]
        typed = made.call.as_typed(str(cell.marker))
        failure = Failure(cell.name, made.fingerprint(cell), "no luck", False, "results/x.log", typed)
        failure.write(failure_path(cell))
    for where, words in ((place, ("-C", "runs/mine")), (place / "runs", ("-C", "mine")), (study, ())):
        shown = resomap("status", *words, cwd=where).splitlines()
        log = next(line.split()[1] for line in shown if line.startswith("    log "))
        resume = next(line.partition("resume")[2].strip() for line in shown if line.startswith("    resume "))
        assert (where / log).resolve() == study.resolve() / "results" / "x.log"
        again = command(*shlex.split(resume), "-n", cwd=where)
        assert again.returncode == 0, (resume, again.stderr)
        assert "1 failed before" in again.stdout.splitlines()[-1], resume


def test_a_folder_without_a_study_starts_no_default_grid(place: Path) -> None:
    for words in (("run",), ("plan",)):
        said = resomap(*words, "-C", "runs/mine", cwd=place, rc=2).strip().splitlines()
        assert said == [
            f"resomap: {place}/runs/mine holds no study; `resomap init runs/mine --data IMAGES` begins one, and "
            "--configfile FILE names the configuration of one"
        ]
    assert "there is no folder nowhere" in resomap("run", "-C", "nowhere", cwd=place, rc=2)
    assert "there is no folder nowhere" in resomap("status", "-C", "nowhere", cwd=place, rc=2)
    assert "holds no study" in resomap("status", "-C", "runs/mine", cwd=place, rc=2)


def test_each_subcommand_that_has_a_study_takes_its_folder() -> None:
    words = {"predict": ["--cell", "a@1", "b.png"], "forget": ["a@1"], "cost-kit": ["kit"], "cost-import": ["a.json"]}
    for module in {*PEOPLE, "map", "report"} - {"models", "weights", "bench", "config", "init"}:
        name = module.replace("_", "-")
        given, _ = parser().parse_known_args([name, *words.get(name, []), "-C", "runs/mine"])
        assert given.directory == Path("runs/mine"), name
