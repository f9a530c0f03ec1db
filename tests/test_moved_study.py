"""A study that is moved or copied is a whole: nothing in it names where it was, a copy leaves its original alone."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, command, environment_with, small_config, snakemake

from resomap.cells.progress import Failure
from resomap.cells.resume_command import portable, present
from resomap.core.files import read_json, write_json
from resomap.tracking.directory_id import ID_FILE, directory_id
from resomap.tracking.rest import LOCAL_DATABASE
from resomap.tracking.sender import Receipt, is_sent, receipt_path

pytestmark = pytest.mark.xdist_group("moved")  # the study is trained once
JOURNAL = Path("results", MODEL, "32.journal.jsonl")
RECEIPT = {"uri": "sqlite:///results/mlflow.db", "offset": 0, "run_id": "r", "uid": "u"}


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def naming(directory: Path, place: Path) -> list[str]:
    """Files of a study's state that name a place. Logs tell what was, and Snakemake's commands its options."""
    found = [name for name, content in files(directory).items() if str(place).encode() in content]
    return [name for name in found if not name.startswith(".snakemake/") and not name.endswith((".log", "study.yaml"))]


def artifact_places(directory: Path) -> set[str]:
    with closing(sqlite3.connect(directory / LOCAL_DATABASE)) as database:
        places = database.execute("SELECT artifact_location FROM experiments UNION SELECT artifact_uri FROM runs")
        return {place for (place,) in places}


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A study with one trained cell, in the local tracker; options name the study's folder by its absolute path."""
    directory = tmp_path_factory.mktemp("here") / "a study"
    directory.mkdir()
    config = small_config(images, seeds=[0, 1], training={"epochs": 1}, tracking={"drain_seconds": 60})
    done = snakemake(f"results/{MODEL}/32.done", directory=directory, config=config)
    assert done.returncode == 0, done.stderr
    return directory, config


def as_an_earlier_version(directory: Path, place: Path) -> None:
    """Name a place where earlier versions did: artifact locations, receipts."""
    with closing(sqlite3.connect(directory / LOCAL_DATABASE)) as database, database:
        root = place.as_uri()
        database.execute("UPDATE experiments SET artifact_location = ? || artifact_location", [f"{root}/"])
        database.execute("UPDATE runs SET artifact_uri = ? || artifact_uri", [f"{root}/"])
    receipt = receipt_path(directory / JOURNAL)
    write_json(receipt, {**read_json(receipt), "uri": f"sqlite:///{place / LOCAL_DATABASE}"})


@pytest.mark.slow
def test_nothing_in_the_state_names_the_studys_place(trained: tuple[Path, dict[str, Any]]) -> None:
    here, _ = trained
    assert naming(here, here) == []
    places = artifact_places(here)
    assert "results/mlartifacts" in places
    assert not any(place.startswith(("/", "file:")) for place in places)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["moved", "copied", "moved, of an earlier version", "copied, of an earlier version"])
def test_a_study_goes_on_where_it_is(trained: tuple[Path, dict[str, Any]], tmp_path: Path, how: str) -> None:
    original, config = trained
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(original, old, symlinks=True)
    if "earlier" in how:
        as_an_earlier_version(old, old)
        assert naming(old, old)
    if "copied" in how:
        shutil.copytree(old, new)
    else:
        old.rename(new)
    before = files(old)
    done = snakemake(f"results/{MODEL}/32.seed1.done", directory=new, config=config)
    assert done.returncode == 0, done.stderr
    assert "rule train" not in snakemake("-n", f"results/{MODEL}/32.done", directory=new, config=config).stdout
    sent = command("resomap", "sync", cwd=new)
    assert (sent.returncode, sent.stderr) == (0, "")
    assert files(old) == before, "it wrote to where it was once"
    assert old.exists() == ("copied" in how)
    assert naming(new, old) == []
    # All artifacts of both runs are here, for MLflow's own pages too.
    kept = {path.name for path in (new / "results" / "mlartifacts").rglob("*.npz")}
    assert len(list((new / "results" / "mlartifacts").rglob("predictions.npz"))) == 2, kept
    assert not any(place.startswith(("/", "file:")) for place in artifact_places(new))


@pytest.mark.slow
def test_mlflows_own_client_finds_the_artifacts(trained: tuple[Path, dict[str, Any]]) -> None:
    """A script or `mlflow ui` in the study's folder."""
    here, _ = trained
    script = """
import sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///results/mlflow.db")
experiment = client.get_experiment_by_name("ResoMap")
runs = client.search_runs([experiment.experiment_id], "tags.`resomap.cell` != ''")
print(sorted(item.path for run in runs for item in client.list_artifacts(run.info.run_id)))
"""
    listed = subprocess.run(
        [sys.executable, "-c", script], cwd=here, env=environment_with(), capture_output=True, text=True, check=True
    )
    assert "predictions.npz" in listed.stdout


class TestReceipt:
    def test_it_names_the_own_database_without_its_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write_json(receipt_path(JOURNAL), RECEIPT)
        JOURNAL.write_text("")
        assert Receipt.read(JOURNAL) == Receipt(RECEIPT["uri"], 0, "r", "u")
        assert is_sent(JOURNAL, f"sqlite:///{tmp_path}/results/mlflow.db")
        assert is_sent(JOURNAL, "sqlite:///results/mlflow.db")
        assert not is_sent(JOURNAL, "http://host:5000")

    def test_of_an_earlier_version_it_is_the_own_database_unless_that_is_anothers(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "new").mkdir()
        monkeypatch.chdir(tmp_path / "new")
        before = tmp_path / "old" / LOCAL_DATABASE
        write_json(receipt_path(JOURNAL), {**RECEIPT, "uri": f"sqlite:///{before}"})
        JOURNAL.write_text("")
        assert is_sent(JOURNAL, f"sqlite:///{LOCAL_DATABASE}")
        before.parent.mkdir(parents=True)
        before.touch()
        assert not is_sent(JOURNAL, f"sqlite:///{LOCAL_DATABASE}"), "a copy's own database has yet to be asked"

    @pytest.mark.parametrize(
        "uri", ["http://host:5000", "sqlite:////data/results/other.db", "sqlite:///other.db", "postgresql://host/base"]
    )
    def test_another_tracker_stays_what_it_is(self, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write_json(receipt_path(JOURNAL), {**RECEIPT, "uri": uri})
        found = Receipt.read(JOURNAL)
        assert found is not None
        assert found.uri == uri


class TestDirectoryId:
    @pytest.fixture(autouse=True)
    def in_a_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "old").mkdir()
        monkeypatch.chdir(tmp_path / "old")

    def test_it_moves_along_and_a_copy_has_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        own = directory_id()
        assert own == directory_id()
        shutil.copytree(tmp_path / "old", tmp_path / "copy")
        (tmp_path / "old").rename(tmp_path / "new")
        monkeypatch.chdir(tmp_path / "new")
        assert directory_id() == own
        monkeypatch.chdir(tmp_path / "copy")
        other = directory_id()
        assert other != own
        assert directory_id() == other
        assert [path.name for path in ID_FILE.parent.iterdir()] == ["place"]

    def test_that_of_an_earlier_version_counts(self) -> None:
        ID_FILE.parent.mkdir()
        ID_FILE.write_text("a" * 32)
        assert directory_id() == "a" * 32

    def test_several_processes_of_a_copy_agree(self) -> None:
        ID_FILE.parent.mkdir()
        ID_FILE.write_text(f"{'a' * 32} 1")
        script = "from resomap.tracking.directory_id import directory_id; print(directory_id())"
        words = [sys.executable, "-c", script]
        children = [subprocess.Popen(words, env=environment_with(), stdout=subprocess.PIPE) for _ in range(4)]
        ids = {child.communicate()[0] for child in children}
        assert len(ids) == 1
        assert ids != {b"a" * 32 + b"\n"}


class TestResumeCommand:
    @pytest.fixture(autouse=True)
    def in_a_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "old study").mkdir()
        monkeypatch.chdir(tmp_path / "old study")

    @pytest.mark.parametrize(
        "options",
        [
            "--directory '{}'",
            "'--directory={}'",
            "-d '{}' --configfile '{}/a.yaml'",
            "--directory '{}/../old study'",
        ],
    )
    def test_a_path_of_the_study_moves_along(
        self, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        typed = f"snakemake results/vgg11/320.done {options.replace('{}', str(Path.cwd()))} --config a=b"
        kept = portable(typed)
        assert str(tmp_path) not in kept
        (tmp_path / "new").mkdir()
        monkeypatch.chdir(tmp_path / "new")
        said = present(kept)
        assert str(tmp_path / "new") in said
        assert "old study" not in said

    @pytest.mark.parametrize(
        "typed",
        [
            "snakemake results/vgg11/320.done",
            "snakemake -s /opt/resomap/Snakefile --config 'data={source: /data/x}'",
            "snakemake --directory 'runs/old study'",
            "snakemake 'an odd quote",
        ],
    )
    def test_what_is_not_the_studys_stays_as_it_was_typed(self, typed: str) -> None:
        assert portable(typed) == typed
        assert present(typed) == typed

    def test_a_study_of_another_name_is_not_looked_for_by_its_old_one(self) -> None:
        assert present("snakemake --directory runs/before") == f"snakemake --directory '{Path.cwd()}'"

    def test_a_failure_keeps_its_command_so(self, tmp_path: Path) -> None:
        failure = Failure("a@64", "f", "why", False, "log", f"snakemake --directory '{Path.cwd()}'")
        failure.write(Path("a.json"))
        assert str(tmp_path) not in Path("a.json").read_text()
        assert Failure.read(Path("a.json")) == failure
