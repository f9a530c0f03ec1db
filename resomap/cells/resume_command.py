"""Resume commands in files of a study: they hold no absolute path of the study, which may be moved or copied.

Where such a command names the study's folder or a file in it, the file has PLACE in place of the folder, and whoever
reads it gets the folder in which it lies now.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.core.place import short, typed_in

PLACE = "@STUDY@"
# A word, or what follows `=` in one: `--directory=/data/study`.
_PATH = re.compile(r"(?P<option>--?[\w-]+=|)(?P<path>/.*)", re.DOTALL)
_DIRECTORY = ("--directory", "-d")
TARGET = "TARGET"


@dataclass(frozen=True)
class Call:
    """The call of Snakemake that opened a study: what a person typed, and what the study remembers of it.

    `resomap run` and `resomap plan` repeat `snakefile`, `configfiles` and `config`, so that nobody has to; `options`
    (cores, resources, profile) belong to a command that resumes. Paths are absolute.
    """

    command: str = f"snakemake --rerun-incomplete {TARGET}"  # resumes the target TARGET, from the folder `folder`
    folder: str | None = None  # where it was typed; None: not known, of an earlier version
    snakefile: str | None = None
    configfiles: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, Any], study: Path | None = None) -> "Call":
        """Return the call that a file of the study in a folder keeps, by default the working directory.

        Raises KeyError, TypeError or AttributeError for what is none.
        """
        command, kept = present(content["command"]), dict(content.get("call") or {})
        place = str(study or Path.cwd())
        folder, snakefile = (None if kept.get(name) is None else kept[name].replace(PLACE, place) for name in _SINGLE)
        lists = {name: tuple(word.replace(PLACE, place) for word in kept.get(name) or ()) for name in _LISTS}
        return cls(command, folder, snakefile, **lists)

    def as_json(self) -> dict[str, Any]:
        """Return the call as a file of the study keeps it: without the place of the study."""
        single = {name: None if (value := getattr(self, name)) is None else _portable(value) for name in _SINGLE}
        return {
            "command": portable(self.command),
            "call": {**single, **{name: [_portable(word) for word in getattr(self, name)] for name in _LISTS}},
        }

    def as_typed(self, target: str) -> str:
        """Return the command that resumes a target, for who reads it where the call was typed."""
        return self.command.replace(TARGET, shlex.quote(target), 1)

    @property
    def works_here(self) -> bool:
        """True if the command can be used where this process's own command was typed."""
        return self.folder is None or Path(self.folder).resolve() == typed_in()

    def resume(self, target: str) -> str:
        """Return the command that resumes a target of the study of the working directory, for this process's reader."""
        return self.as_typed(target) if self.works_here else run_command(Path.cwd(), [target, *self.options])


_SINGLE = ("folder", "snakefile")
_LISTS = ("configfiles", "config", "options")


def run_command(directory: Path, words: Iterable[str] = (), subcommand: str = "run") -> str:
    """Return the line `resomap run -C DIRECTORY words` for this process's reader; without `-C` where he is there."""
    directory = directory.resolve()
    where = [] if directory == typed_in() else ["-C", short(directory)]
    return shlex.join(["resomap", subcommand, *where, *words])


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
