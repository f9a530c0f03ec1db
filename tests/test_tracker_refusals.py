"""Refusals of a tracker that last, and answers that are not true: told apart from passing trouble, nothing lost.

Journals are sent to a real MLflow server, or to a local database, and what the tracker has is asked of it.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, command, mlflow_server, small_config, snakemake
from dagshub_stand_in import StandIn, Visit, stand_in, status
from mlflow import MlflowClient
from waiting import wait_for

from resomap.cells.fetch_record import record_path
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.config.schema import Tracking
from resomap.core.files import read_json
from resomap.tracking.client import connect
from resomap.tracking.fetch import fetch_cell
from resomap.tracking.journal import Journal
from resomap.tracking.lost_runs import forget_lost_runs
from resomap.tracking.read_back import NotKept
from resomap.tracking.refusals import TrackerRefusal
from resomap.tracking.sender import Receipt, Sender, is_sent
from resomap.tracking.standing import standing
from resomap.tracking.troubles import troubles

EPOCHS = 3
RESULTS = Path("results")


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete journal with every kind of event that a server can lose, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return written(RESULTS / "m" / "32.journal.jsonl", tmp_path.name)


def written(path: Path, uid: str, epochs: int = EPOCHS, is_over: bool = True) -> Path:
    """The journal, with an attempt that passes these epochs; those that it has already are written once."""
    beats = path.read_text().count('"kind": "beat"') if path.exists() else 0
    book = Journal(path)
    book.start(uid, "cell", {"model": "m", "epochs": EPOCHS}, {"resomap.host": "here"})
    for epoch in range(1, epochs + 1):
        if epoch > beats:
            book.heartbeat(epoch, {"system/cpu": 1.0 * epoch})
        book.metrics(epoch, {"val/loss": 1 / epoch, "val/accuracy": epoch / 10})
    if is_over:
        file = path.with_name("history.csv")
        file.write_text("epoch,\n")
        book.artifact(file)
        book.end("FINISHED", {"resomap.marker": "{}", "resomap.complete": "1"})
    book.close()
    return path


def runs(uri: str, experiment: str) -> list[Any]:
    client = MlflowClient(tracking_uri=uri)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def assert_whole(uri: str, experiment: str, with_files: bool = True) -> Any:
    """The one run of the experiment, which has everything once."""
    (run,), client = runs(uri, experiment), MlflowClient(tracking_uri=uri)
    assert (run.info.status, run.data.tags["resomap.complete"]) == ("FINISHED", "1")
    assert run.data.params == {"model": "m", "epochs": str(EPOCHS)}
    for name in ("val/loss", "val/accuracy", "system/cpu"):
        points = client.get_metric_history(run.info.run_id, name)
        assert sorted(point.step for point in points) == list(range(1, EPOCHS + 1)), name
    if with_files:
        assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["history.csv"]
    return run


# What a user's environment says of MLflow.


@pytest.fixture
def door(server: str) -> Iterator[StandIn]:
    """A proxy in front of the MLflow server."""
    with stand_in(server) as proxy:
        yield proxy


def only(part: str, trouble: Callable[[Visit], bool]) -> Callable[[Visit], bool]:
    """The trouble, for those requests that have this in their path or body."""
    return lambda visit: (part in visit.path or part.encode() in visit.body) and trouble(visit)


def test_the_users_mlflow_environment_does_not_change_what_is_promised(
    server: str, door: StandIn, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwanted = {"ENABLE_ASYNC_LOGGING": "true", "ASYNC_LOGGING_THREADPOOL_SIZE": "1", "HTTP_REQUEST_MAX_RETRIES": "9"}
    unwanted |= {"HTTP_REQUEST_TIMEOUT": "600", "HTTP_REQUEST_BACKOFF_FACTOR": "60", "TRACKING_URI": "http://a.invalid"}
    unwanted |= {"RUN_ID": "0" * 32, "EXPERIMENT_NAME": "other", "RUN_CONTEXT": "none"}
    for name, value in unwanted.items():
        monkeypatch.setenv(f"MLFLOW_{name}", value)
    monkeypatch.setenv("_MLFLOW_HTTP_REQUEST_MAX_RETRIES_LIMIT", "0")  # which makes MLflow refuse any retry
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    door.trouble = only("log-batch", status(503, Retry_After="300"))
    began = time.monotonic()
    with pytest.raises(Exception, match="503"):
        Sender(journal, door.uri, "environment").send()
    assert time.monotonic() - began < 60  # MLflow would have slept for the server's five minutes
    assert not is_sent(journal)
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "me"  # access is the user's
    door.trouble = None
    Sender(journal, door.uri, "environment").send()
    assert_whole(server, "environment")


def swallow(visit: Visit) -> bool:
    """Says yes and does nothing."""
    visit.answer(200, {})
    return True


def drop_second_epoch(visit: Visit) -> bool:
    """Loses points from the middle: the last ones, which a run shows, are there."""
    content = json.loads(visit.body)
    content["metrics"] = [metric for metric in content["metrics"] if int(metric["step"]) != 2]
    visit.body = json.dumps(content).encode()
    return False


@pytest.mark.parametrize(
    ("part", "trouble", "lacks"),
    [
        pytest.param('"params"', swallow, "it took model and 1 more", id="params"),
        pytest.param('"metrics"', swallow, "it took val/loss and 2 more|it took system/cpu and 2 more", id="metrics"),
        pytest.param('"metrics"', drop_second_epoch, "lacks 3 of them", id="points"),
        pytest.param('"resomap.complete"', swallow, "it took resomap.complete and", id="complete tag"),
        pytest.param("runs/update", swallow, "it took the status FINISHED", id="status"),
    ],
)
def test_a_receipt_is_written_for_what_the_tracker_gives_back(
    server: str, door: StandIn, journal: Path, part: str, trouble: Callable[[Visit], bool], lacks: str
) -> None:
    experiment = f"yes-man {len(lacks)}"
    door.trouble = only(part, trouble)
    with pytest.raises(NotKept, match=lacks):
        Sender(journal, door.uri, experiment).send()
    assert not is_sent(journal)
    if part == '"metrics"':  # what is not whole is not complete for anybody
        assert all("resomap.complete" not in run.data.tags for run in runs(server, experiment))
    door.trouble = None
    Sender(journal, door.uri, experiment).send()
    assert_whole(server, experiment)


# Runs and experiments that somebody deletes.


@pytest.mark.parametrize("place", ["server", "local"])
def test_a_deleted_run_is_sent_anew(place: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tracking = Tracking(uri=server if place == "server" else f"sqlite:///{tmp_path}/runs.db")
    path, uri = written(RESULTS / "m" / "32.journal.jsonl", f"{place}-deleted", 1, is_over=False), str(tracking.uri)
    first = Sender(path, uri, f"deleted {place}").send()
    client = connect(uri)
    client.delete_run(str(first))
    written(path, f"{place}-deleted")  # while it trains
    said: list[str] = []
    second = Sender(path, uri, f"deleted {place}", said.append).send()
    assert second != first
    assert said == ["the tracker does not have the run any more: all of it is sent again"]
    assert_whole(uri, f"deleted {place}")
    # And after all of it was sent: the receipt is of no worth.
    client.delete_run(str(second))
    assert forget_lost_runs(tracking, RESULTS) is None
    third = Sender(path, uri, f"deleted {place}").send()
    assert third not in (first, second)
    client.delete_tag(str(third), "resomap.complete")
    assert forget_lost_runs(tracking, RESULTS) is None
    assert is_sent(path)  # no marker here says that this training is complete
    assert_whole_but_tag(uri, f"deleted {place}")


def assert_whole_but_tag(uri: str, experiment: str) -> None:
    (run,) = runs(uri, experiment)
    assert run.data.metrics.keys() == {"val/loss", "val/accuracy", "system/cpu"}


def test_a_deleted_experiment_is_told_at_the_end_of_a_run(server: str, journal: Path) -> None:
    client, tracking = MlflowClient(tracking_uri=server), Tracking(uri=server)
    known = client.create_experiment("gone")
    client.delete_experiment(known)
    for path in (journal, written(RESULTS / "m" / "48.journal.jsonl", "gone-48")):
        with pytest.raises(TrackerRefusal, match="the experiment 'gone' is deleted there; restore it"):
            Sender(path, server, "gone").send()
    (sentence,) = troubles(server, 0, RESULTS)
    assert sentence.startswith(
        f"the tracker {server} takes nothing of 2 trainings: the experiment 'gone' is deleted there"
    )
    assert sentence.endswith("`resomap sync` sends it once that is mended")
    assert standing(tracking, "gone").no_runs in sentence
    assert standing(tracking, "never made") == standing(tracking, "nor this one")
    client.restore_experiment(known)
    assert standing(tracking, "gone").no_runs is None
    Sender(journal, server, "gone").send()
    assert_whole(server, "gone")
    assert len(troubles(server, 0, RESULTS)) == 1  # the other one still waits


def test_an_experiment_deleted_while_its_runs_are_sent(server: str, journal: Path) -> None:
    client, path = MlflowClient(tracking_uri=server), written(RESULTS / "m" / "64.journal.jsonl", "meanwhile", 1, False)
    Sender(path, server, "meanwhile gone").send()
    known = client.get_experiment_by_name("meanwhile gone").experiment_id
    client.delete_experiment(known)
    written(path, "meanwhile")
    with pytest.raises(TrackerRefusal, match="is deleted there"):
        Sender(path, server, "meanwhile gone").send()
    client.restore_experiment(known)
    Sender(path, server, "meanwhile gone").send()
    assert_whole(server, "meanwhile gone")


@pytest.mark.slow
def test_a_whole_run_with_a_deleted_experiment(server: str, images: Path, tmp_path: Path) -> None:
    """Told by the last line of the run, by sync and by the doctor; an error before anything runs where required."""
    client = MlflowClient(tracking_uri=server)
    client.delete_experiment(client.create_experiment("Gone"))
    config = small_config(
        images, experiment="Gone", training={"epochs": 1}, tracking={"uri": server, "drain_seconds": 60}
    )
    required = {**config, "tracking": {**config["tracking"], "required": True}}
    for words in (["-n"], []):
        stopped = snakemake(*words, directory=tmp_path, config=required)
        assert stopped.returncode == 2, stopped.stderr
        last = stopped.stderr.strip().splitlines()[-1]
        assert "is required and cannot be used: the experiment 'Gone' is deleted there; restore it" in last
    assert not (tmp_path / "results" / MODEL).exists()
    trained = snakemake(f"results/{MODEL}/32.done", directory=tmp_path, config=config)
    assert trained.returncode == 0, trained.stderr
    last = trained.stderr.strip().splitlines()[-1]
    assert last.startswith(
        f"resomap: the tracker {server} takes nothing of 1 training: the experiment 'Gone' is deleted"
    )
    sent = command("resomap", "sync", cwd=tmp_path)
    assert sent.returncode == 1
    assert "the experiment 'Gone' is deleted there" in sent.stderr
    assert "Traceback" not in sent.stderr
    examined = command("resomap", "doctor", cwd=tmp_path)
    assert f"bad   tracker      the tracker: the experiment 'Gone' is deleted there\n{'':<18} -> restore it" in (
        examined.stdout
    )


# Local databases of another MLflow.


def old_database(path: Path) -> str:
    """A database as an MLflow of two years ago left it, with an experiment; its schema's revision."""
    from alembic import command as alembic
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    path.parent.mkdir(parents=True)
    engine, revision = create_engine(f"sqlite:///{path}"), "acf3f17fdcc7"
    Base.metadata.create_all(engine)
    config = _get_alembic_config(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, revision)
    engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("insert into experiments (name, lifecycle_stage) values ('of old', 'active')")
    return revision


def revision_of(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        return str(connection.execute("select version_num from alembic_version").fetchone()[0])


def test_a_database_of_an_older_mlflow_is_kept_and_upgraded(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "old" / "mlflow.db"
    revision, uri = old_database(database), f"sqlite:///{database}"
    words = [sys.executable, "-c", f"from resomap.tracking.client import connect; connect({uri!r})"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(database.parent.glob(".mlflow.db.*.new")), every=0.002, process=process)
    process.send_signal(signal.SIGKILL)  # in the midst of it: the database is as it was
    process.wait()
    assert revision_of(database) == revision
    assert standing(Tracking(uri=uri), "of old").no_runs is None
    Sender(journal, uri, "new").send()
    assert_whole(uri, "new")
    kept = database.with_name(f"mlflow.before-{revision}.db")
    assert capsys.readouterr().out.count(f"it is upgraded, and kept as it was in {kept}") == 1
    assert (revision_of(kept), revision_of(database) != revision) == (revision, True)
    assert MlflowClient(tracking_uri=uri).get_experiment_by_name("of old") is not None
    files = {"mlflow.db", "mlflow.lock", "mlartifacts", kept.name}  # a run's files lie beside its database
    assert {path.name for path in database.parent.iterdir()} == files


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = 'ffff00000000'")


def of_a_false_schema(path: Path) -> None:
    """Tables of today, under the name of an old schema: a migration that was cut off leaves such."""
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = 'f5a4f2784254'")


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def of_another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("create table mine (a)")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (newer, r"was made by a newer MLflow \(its schema is ffff00000000\) than the installed 3"),
        (of_a_false_schema, r"has the schema f5a4f2784254 of an older MLflow and cannot be upgraded to"),
        (garbage, r"cannot be read \(file is not a database\); move it away, and `resomap sync` writes it anew"),
        (of_another_program, r"cannot be read \(it has tables, and none of MLflow's\); move it away"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_by_name(
    damage: Callable[[Path], None], words: str, journal: Path, tmp_path: Path, images: Path
) -> None:
    database, config = tmp_path / "results" / "other.db", tmp_path / "study.yaml"
    uri = f"sqlite:///{database}"
    connect(uri)
    damage(database)
    before = database.read_bytes()
    with pytest.raises(TrackerRefusal, match=words):
        Sender(journal, uri, "any").send()
    assert len(troubles(uri, 0, RESULTS)) == 1
    assert database.read_bytes() == before
    # The doctor looks at the database that is configured, and nowhere else.
    config.write_text(json.dumps(small_config(images, tracking={"uri": "sqlite:///results/other.db"})))
    examined = command("resomap", "doctor", "--configfile", config, cwd=tmp_path)
    (said,) = (line for line in examined.stdout.splitlines() if line.split()[1:2] == ["tracker"])
    assert said.startswith("note  tracker" if damage is of_a_false_schema else "bad   tracker")
    assert "other.db" in said
    assert not list(database.parent.glob(".*.new*"))


# Places for files that only the server reaches.


@pytest.fixture(scope="module")
def no_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server that keeps files at a path of its own machine; its address, and that path."""
    place = tmp_path_factory.mktemp("no-files")
    files = ["--no-serve-artifacts", "--default-artifact-root", str(place / "of-the-server")]
    with mlflow_server(place, files=files) as uri:
        yield uri, place / "of-the-server"


@pytest.mark.parametrize(
    ("location", "words"),
    [
        pytest.param(None, "a path of the server's own machine", id="the server's default"),
        pytest.param("file:///tmp/of-the-server/x", "a path of the server's own machine", id="file"),
        pytest.param("mlflow-artifacts:/x", "it runs with --no-serve-artifacts", id="no longer served"),
        pytest.param("nonsense://bucket/x", "cannot be used from here", id="unknown store"),
        pytest.param("s3://bucket/x", "takes none from here (Unable to locate credentials)", id="no access"),
    ],
)
def test_files_stay_here_where_only_the_server_reaches_its_place(
    location: str | None, words: str, no_files: tuple[str, Path], journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # nobody is asked for credentials
    monkeypatch.setenv("HOME", str(journal.parent))
    uri, place = no_files
    name = f"files {location}"
    MlflowClient(tracking_uri=uri).create_experiment(name, artifact_location=location)
    book = Journal(journal)
    book.start("second", "cell", {}, {})
    book.artifact(Path(__file__))
    book.artifact(Path(__file__), "again.py")
    book.end("FINISHED", {"resomap.complete": "1"})
    said: list[str] = []
    Sender(journal, uri, name, said.append).send()
    assert is_sent(journal)
    found = {run.data.tags["resomap.uid"]: run for run in runs(uri, name)}
    assert found["second"].data.tags["resomap.complete"] == "1"
    assert found.pop("second") is not None
    (run,) = found.values()
    assert run.data.metrics.keys() == {"val/loss", "val/accuracy", "system/cpu"}
    assert run.data.tags["resomap.complete"] == "1"
    assert not list(place.rglob("*.py"))
    assert not Path("/tmp/of-the-server").exists()
    assert len(said) == 2  # once a run, however many files it has
    assert all(words in sentence for sentence in said)
    (sentence,) = troubles(uri, 0, RESULTS)
    assert sentence.startswith(f"the tracker {uri} gets no files of 1 training: ")
    assert troubles(uri, time.time() + 60, RESULTS) == []  # a later run has kept nothing
    if words.startswith("a path"):
        assert words in str(standing(Tracking(uri=uri), name).no_files)


def test_a_required_tracker_is_asked_where_it_keeps_files(no_files: tuple[str, Path]) -> None:
    """Also where the experiment is new: it is made as the first training would make it."""
    tracking = Tracking(uri=no_files[0])
    assert standing(tracking, "fresh").no_files is None
    assert "a path of the server's own machine" in str(standing(tracking, "fresh", may_create=True).no_files)


def test_nothing_of_this_machines_disk_is_taken_for_a_runs_file(
    no_files: tuple[str, Path], study_in: Callable[..., Study]
) -> None:
    from test_tracker import make_run

    uri, place = no_files
    study = study_in(experiment="fetched", tracking={"uri": uri})
    (cell,) = study.cells()
    client = MlflowClient(tracking_uri=uri)
    run = make_run(client, study, cell)
    folder = Path(client.get_run(run).info.artifact_uri.removeprefix("file://"))
    assert place in folder.parents
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("mine: not the run's\n")
    tags = client.get_run(run).data.tags
    marker = Marker.parse({**json.loads(tags["resomap.marker"]), "origin": "tracker", "run_id": run})
    assert marker is not None
    marker.write(cell.marker)
    said: list[str] = []
    fetch_cell(study, cell, said.append)
    record = read_json(record_path(cell))
    assert record["is_final"] is True
    assert set(record["files"].values()) == {None}
    assert all("a path of the server's own machine" in reason for reason in record["unavailable"].values())


def test_a_receipt_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "32.journal.jsonl"
    path.write_bytes(b"0123456")
    path.with_suffix(".sent.json").write_text(json.dumps({"uri": "u", "offset": 7, "run_id": "r", "uid": "i"}))
    assert Receipt.read(path) == Receipt("u", 7, "r", "i")
