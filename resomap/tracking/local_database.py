"""Local database of MLflow: made whole or not at all, upgraded where an older MLflow made it, read without MLflow.

A database of an older schema is upgraded on a copy, and the original is kept beside it. One of a newer schema cannot
be used with the installed MLflow, which is said by name.
"""

import fcntl
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterable
from contextlib import closing, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resomap.core.files import open_own
from resomap.core.text import printable
from resomap.tracking.local_store import is_own, make_portable
from resomap.tracking.refusals import TrackerRefusal

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEME = "sqlite:"
READ_SECONDS = 5
_renamed = 0  # how often this process has given a database another name
# SQLite's codes for a file whose pages contradict each other, and for one that is none of its own; as MLflow tells it.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DAMAGED_WORDS = ("database disk image is malformed", "file is not a database")


def database_path(uri: str) -> Path:
    """Return the file of a `sqlite:///` address."""
    return Path(uri.removeprefix(f"{SCHEME}///"))


def connect_local(uri: str) -> "MlflowClient":
    """Return an MLflow client of a local database, which is made or upgraded first, under a lock.

    Processes that use a fresh database at the same moment break each other, so all wait for the first.
    Raises TrackerRefusal where the installed MLflow cannot use it.
    """
    from mlflow import MlflowClient

    database = database_path(uri)
    database.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_own(database.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in database.parent.glob(f".{database.name}.*.new*"):
            leftover.unlink()  # of a kill; nobody else writes one, we hold the lock
        if database.exists() and (problem := refusal(database)) is not None:
            raise TrackerRefusal(problem)
        revision = _revision(database) if database.exists() else None
        if revision is None:
            _make(database)
        elif revision != _head():
            _upgrade(database, revision)
        client = MlflowClient(tracking_uri=_address(uri.removeprefix(f"{SCHEME}///")))
        client.search_experiments(max_results=1)
        if is_own(uri):
            make_portable(database)
    return client


def refusal(database: Path) -> str | None:
    """Return the clause on why the installed MLflow cannot use an existing database; None where it can.

    One of an older schema it can, once it is upgraded. Imports alembic.
    """
    try:
        revision = _revision(database)
    except sqlite3.Error as error:
        if "locked" in str(error):
            return None  # by another process, for a moment
        if is_own(f"{SCHEME}///{database}") and tells_of_damage(error):
            return None  # the sender sets it aside
        return f"{database} cannot be read ({error}); move it away, and `resomap sync` writes it anew from the journals"
    if revision is None or revision in _known_revisions():
        return None
    return (
        f"{database} was made by a newer MLflow (its schema is {revision}) than the installed {version('mlflow')}; "
        "`pip install --upgrade mlflow`, or move it away, and `resomap sync` writes it anew from the journals"
    )


def tells_of_damage(error: BaseException) -> bool:
    """Return True if an error, of SQLite or as MLflow wraps it, says that the database is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF in _DAMAGED if isinstance(code, int) else any(words in str(error) for words in _DAMAGED_WORDS)


def is_outdated(database: Path) -> bool:
    """Return True if an existing database is of an older schema, which the next sender upgrades. Imports alembic."""
    return _revision(database) in _known_revisions() - {_head()}


def query(database: Path, question: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of a question to a database, which is not made where it is missing. Raises sqlite3.Error.

    `rw`, because a database whose writer was killed can be read only when what that one had begun is rolled back.
    """
    address = f"{database.resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=READ_SECONDS)) as connection:
        return connection.execute(question, tuple(values)).fetchall()


def _address(path: Path | str) -> str:
    """Return the address of a file for MLflow, which takes what follows a `?` in a path for options.

    There the path from the working directory is given, below which the study's own database lies.
    """
    name = os.path.relpath(path) if "?" in str(path) else str(path)
    folder, name = os.path.split(name)
    return f"{SCHEME}///{os.path.join(folder, *['.'] * _renamed, name)}"


def note_renaming() -> None:
    """Have MLflow open a database anew after the file had been renamed: it keeps a connection for each address."""
    global _renamed
    _renamed += 1


def _make(database: Path) -> None:
    """Create MLflow's tables in a temporary file beside the database, then rename it.

    MLflow creates them in dozens of steps, and cannot go on from between two of them: a kill there would leave a
    database that refuses every run of the study.
    """
    from mlflow import MlflowClient

    # A name of its own: MLflow keeps an engine for each address, which would not make its tables a second time.
    unfinished = _unfinished(database)
    MlflowClient(tracking_uri=_address(unfinished)).search_experiments(max_results=1)
    unfinished.replace(database)


def _upgrade(database: Path, revision: str) -> None:
    """Upgrade a copy of the database, keep the original as `mlflow.before-<schema>.db`, and rename the copy.

    MLflow's migrations are no single transaction: a kill within one would leave a database between two schemas.
    Raises TrackerRefusal where they do not fit, with the database as it was.
    """
    from alembic import command
    from sqlalchemy import create_engine

    unfinished = _unfinished(database)
    with closing(sqlite3.connect(database, timeout=READ_SECONDS)) as old, closing(sqlite3.connect(unfinished)) as new:
        old.backup(new)
    engine, config = create_engine(_address(unfinished)), _alembic()
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "heads")
    except Exception as error:  # a migration may raise anything where the tables are not what the schema says
        unfinished.unlink(missing_ok=True)
        if "disk is full" in str(error):
            raise
        raise TrackerRefusal(
            f"{database} has the schema {revision} of an older MLflow and cannot be upgraded to the installed "
            f"{version('mlflow')}'s ({printable(str(error))[:120]}); move it away, and `resomap sync` writes it anew "
            "from the journals"
        ) from None
    finally:
        engine.dispose()
    kept = database.with_name(f"{database.stem}.before-{revision}{database.suffix}")
    kept.unlink(missing_ok=True)
    try:
        os.link(database, kept)
    except OSError:  # a file system without links
        shutil.copyfile(database, kept)
    unfinished.replace(database)
    for suffix in ("-wal", "-shm"):  # of the original: with the copy they would be read as its own
        with suppress(FileNotFoundError):
            database.with_name(f"{database.name}{suffix}").unlink()
    print(f"{database} is of an older MLflow: it is upgraded, and kept as it was in {kept}", flush=True)


def _unfinished(database: Path) -> Path:
    return database.with_name(f".{database.name}.{uuid.uuid4().hex}.new")


def _revision(database: Path) -> str | None:
    """Return the schema's revision; None for a database without any table. Raises sqlite3.Error."""
    tables = {name for (name,) in query(database, "select name from sqlite_master where type = 'table'")}
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise sqlite3.DatabaseError("it has tables, and none of MLflow's")
    rows = query(database, "select version_num from alembic_version")
    return str(rows[0][0]) if rows else None


def _alembic() -> Any:
    """Return alembic's configuration with the migrations of the installed MLflow."""
    from alembic.config import Config

    found = find_spec("mlflow")  # not imported: planning asks too
    scripts = Path(str(found and found.origin)).parent / "store" / "db_migrations"
    config = Config(str(scripts / "alembic.ini"))
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    return config


def _head() -> str | None:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_alembic()).get_current_head()


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}
