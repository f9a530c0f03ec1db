"""Id of the working directory, by which runs of another directory are told from our own.

Runs of one directory do not compete with each other, since a cell's lock prevents it. So a training that was killed
here and is started again need not wait until its run in the tracker looks dead.
"""

import os
import uuid

from resomap.cells.study import STATE_DIRECTORY

ID_FILE = STATE_DIRECTORY / "place"


def directory_id() -> str:
    """Return 32 hex digits, drawn at the first call in a directory; the same for all machines that share it."""
    try:
        return ID_FILE.read_text().strip()
    except FileNotFoundError:
        pass
    ID_FILE.parent.mkdir(parents=True, exist_ok=True)
    temporary = ID_FILE.with_name(f".place.{uuid.uuid4().hex}.tmp")
    temporary.write_text(uuid.uuid4().hex)
    try:
        os.link(temporary, ID_FILE)  # of several at once the first wins; a reader never finds half an id
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
    return ID_FILE.read_text().strip()
