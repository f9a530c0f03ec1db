"""Resume commands in files of a study: they hold no absolute path of the study, which may be moved or copied.

Where such a command names the study's folder or a file in it, the file has PLACE in place of the folder, and whoever
reads it gets the folder in which it lies now.
"""

import re
import shlex
from pathlib import Path

PLACE = "@STUDY@"
# A word, or what follows `=` in one: `--directory=/data/study`.
_PATH = re.compile(r"(?P<option>--?[\w-]+=|)(?P<path>/.*)", re.DOTALL)
_DIRECTORY = ("--directory", "-d")


def portable(command: str) -> str:
    """Return a command as a file of the study keeps it."""
    words = _words(command)
    kept = [_portable(word) for word in words]
    return command if kept == words else shlex.join(kept)


def present(command: str) -> str:
    """Return the command that a file of the study keeps, as it is to be typed now."""
    here, words = Path.cwd(), _words(command)
    typed = [word.replace(PLACE, str(here)) for word in words]
    for place, word in enumerate(typed[1:], start=1):
        # Relative to where it was typed, and the study has another name since.
        if words[place - 1] in _DIRECTORY and Path(word).name != here.name:
            typed[place] = str(here)
    return command if typed == words else shlex.join(typed)


def _portable(word: str) -> str:
    match = _PATH.fullmatch(word)
    if match is None:
        return word
    here, path = Path.cwd().resolve(), Path(match["path"]).resolve()
    if not path.is_relative_to(here):
        return word
    inside = path.relative_to(here)
    return match["option"] + (PLACE if inside == Path() else f"{PLACE}/{inside}")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # none of ours: its quotes are not closed
        return []
