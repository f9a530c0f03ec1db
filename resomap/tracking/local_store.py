"""The study's own MLflow database, which names no absolute path: a study that is moved or copied is a whole.

MLflow makes each artifact location absolute, and a study that was moved would write to where it was once, a copy into
its original. So the locations of the default database are rewritten: relative ones count from the working directory,
which for all processes of a study (and `mlflow ui` there) is its folder. Receipts name the database likewise.
"""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from resomap.tracking.rest import LOCAL_ARTIFACTS, LOCAL_DATABASE

BUSY_SECONDS = 60.0  # that another process may be writing
_ABSOLUTE = r"(?:file:)?/.*/"
# Locations that MLflow has made absolute, of this folder or of where it was once.
ARTIFACTS = re.compile(rf"{_ABSOLUTE}({LOCAL_ARTIFACTS}(?:/.*)?)", re.DOTALL)
DEFAULT_EXPERIMENT = re.compile(rf"{_ABSOLUTE}(mlruns/0)", re.DOTALL)  # MLflow's own, in which nothing is written
SQLITE = "sqlite:///"
OWN = f"{SQLITE}{LOCAL_DATABASE}"
OWN_THEN = re.compile(rf"{SQLITE}/.*/{LOCAL_DATABASE}", re.DOTALL)


def is_own(uri: str) -> bool:
    """Return True if a tracking URI, however it is written, is that of the study's own database."""
    return uri.startswith(SQLITE) and Path(uri.removeprefix(SQLITE)).resolve() == LOCAL_DATABASE.resolve()


def portable_uri(uri: str) -> str:
    """Return a tracking URI as files of the study name it: of its own database without the study's place."""
    return OWN if is_own(uri) else uri


def noted_uri(noted: str) -> str:
    """Return, as `portable_uri` writes it, the tracking URI that stands in a file of the study.

    Files of earlier versions have the absolute path that the database had then. Where another database lies there, the
    file is a copy's: that database is the original's.
    """
    if not OWN_THEN.fullmatch(noted):
        return portable_uri(noted)
    then = Path(noted.removeprefix(SQLITE))
    return portable_uri(noted) if then.exists() else OWN


def make_portable(database: Path) -> None:
    """Rewrite absolute artifact locations of experiments and runs as relative ones. Raises sqlite3.Error."""
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection, connection:
        for table, key, column in (
            ("experiments", "experiment_id", "artifact_location"),
            ("runs", "run_uuid", "artifact_uri"),
        ):
            condition = f"{column} LIKE '/%' OR {column} LIKE 'file:%'"
            rows = connection.execute(f"SELECT {key}, {column} FROM {table} WHERE {condition}").fetchall()
            found = ((ARTIFACTS.fullmatch(place) or DEFAULT_EXPERIMENT.fullmatch(place), name) for name, place in rows)
            changes = [(match[1], name) for match, name in found if match]
            if changes:
                connection.executemany(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", changes)
