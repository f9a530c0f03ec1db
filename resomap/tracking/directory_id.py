"""The id of this working directory. Runs that come from here do not compete with each other: a cell's lock sees to it.

So a training that was killed here and is started again need not wait until its run in the tracker looks dead.
"""

import os
import uuid

from resomap.cells.study import STATE_DIRECTORY

PLACE = STATE_DIRECTORY / "place"


def place() -> str:
    """32 hex digits, made at the first call in a directory; the same for all machines that share it."""
    try:
        return PLACE.read_text().strip()
    except FileNotFoundError:
        pass
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    own = PLACE.with_name(f".place.{uuid.uuid4().hex}.tmp")
    own.write_text(uuid.uuid4().hex)
    try:
        os.link(own, PLACE)  # of several at once the first wins; a reader never finds half an id
    except FileExistsError:
        pass
    finally:
        own.unlink(missing_ok=True)
    return PLACE.read_text().strip()
