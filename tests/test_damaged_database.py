"""The study's own database where it is damaged: set aside, and written anew from the journals."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import small_config

from resomap.cells.study import CURRENT, Study
from resomap.config.schema import Tracking
from resomap.tracking.client import connect
from resomap.tracking.journal import Journal
from resomap.tracking.rest import LOCAL_DATABASE, tracking_uri
from resomap.tracking.sender import Sender
from resomap.tracking.standing import standing
from resomap.tracking.sync import send_all


def garbage(database: Path) -> None:
    database.write_bytes(b"no database at all" * 100)


def truncated(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def zeroed_pages(database: Path) -> None:
    """Its header and schema are whole."""
    with database.open("r+b") as stream:
        stream.seek(database.stat().st_size // 3)
        stream.write(bytes(database.stat().st_size // 3))


def journal_of(name: str) -> Path:
    path = Path("results", "m", f"{name}.journal.jsonl")
    book = Journal(path)
    book.start(f"uid-{name}", name, {"model": "m"}, {})
    book.metrics(1, {"val/loss": 0.5})
    book.end("FINISHED", {"resomap.complete": "1"})
    book.close()
    return path


@pytest.mark.parametrize("damage", [garbage, truncated, zeroed_pages])
@pytest.mark.parametrize("by", ["sender", "sync"])
def test_it_is_set_aside_and_written_anew_from_all_journals(
    damage: Callable[[Path], None],
    by: str,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if by == "sender" and damage is zeroed_pages:
        pytest.skip("what a sender meets depends on the page")
    monkeypatch.chdir(tmp_path)
    study = Study.open(small_config(images))
    study.save(CURRENT)
    uri = tracking_uri(Tracking())
    for name in ("32", "48"):
        Sender(journal_of(name), uri, study.config.experiment).send()
    damage(LOCAL_DATABASE)
    before = LOCAL_DATABASE.read_bytes()
    assert standing(Tracking(), study.config.experiment).no_runs is None, "it stops no grid"
    if by == "sender":
        Sender(journal_of("64"), uri, study.config.experiment).send()
    assert send_all(study) == 0
    assert "results/mlflow.db is damaged: it is set aside as results/mlflow.damaged-" in capsys.readouterr().out
    (kept,) = Path("results").glob("mlflow.damaged-*.db")
    assert kept.read_bytes() == before
    client = connect(uri)  # this process keeps a connection to the file that was renamed
    known = client.get_experiment_by_name(study.config.experiment)
    runs = client.search_runs([known.experiment_id])
    expected = ["32", "48", "64"] if by == "sender" else ["32", "48"]
    assert sorted(run.info.run_name for run in runs) == expected
    assert all(run.data.metrics == {"val/loss": 0.5} for run in runs)
