"""The study's own database where it is damaged: set aside, so that it is written anew from the journals.

Only results/mlflow.db, of which the journals hold everything. A database that the configuration names is somebody's.
"""

import fcntl
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from resomap.core.files import open_own
from resomap.tracking.local_database import note_renaming, query, tells_of_damage

COMPANIONS = ("-journal", "-wal", "-shm")


def is_damaged(database: Path) -> bool:
    """Return True if SQLite finds a database damaged; it reads all of it."""
    try:
        return query(database, "PRAGMA quick_check(1)") != [("ok",)]
    except sqlite3.Error as error:
        return tells_of_damage(error)


def set_aside(database: Path) -> Path | None:
    """Rename a damaged database to `mlflow.damaged-<time>.db`; return that path, or None where it is whole.

    Another process may have done so meanwhile: under the lock with which databases are made it is looked at again.
    """
    if not database.exists():
        return None
    with os.fdopen(open_own(database.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists() or not is_damaged(database):
            return None
        kept = database.with_name(f"{database.stem}.damaged-{time.strftime('%Y%m%d-%H%M%S')}{database.suffix}")
        for companion in COMPANIONS:  # they would be read as the next database's own
            with suppress(FileNotFoundError):
                os.replace(f"{database}{companion}", f"{kept}{companion}")
        os.replace(database, kept)
        note_renaming()
        return kept
