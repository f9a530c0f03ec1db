"""Snakemake's command line for the study of a folder: its Snakefile and configuration, which nobody has to repeat.

A folder is a study where it has a Snakefile of ResoMap or `resomap.yaml`, both of which `resomap init` writes, or where
Snakemake has planned or run one; that call's configuration is then taken again.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from resomap.cells.resume_command import Call
from resomap.cells.study import CURRENT
from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.core.workflow_files import OWN_CONFIGURATION, SNAKEFILE, TYPED_AS, is_ours


def snakemake_line(directory: Path | None, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs Snakemake on a study, and what to add to its environment.

    `directory` is the study's folder, the working directory where it is None; `words` are Snakemake's, as they were
    typed. Raises ResomapError where the folder holds no study and the words name no configuration.
    """
    place = directory or Path()
    if not place.is_dir() and not (place.parent.is_dir() and _names(words, "--configfile", "--configfiles")):
        raise ResomapError(f"there is no folder {place}; `resomap init {place} --data IMAGES` begins a study there")
    call = _remembered(place)
    where = ["--directory", str(place)] if directory else []
    begin = [sys.executable, "-m", "snakemake", "--snakefile", str(_snakefile(place, call)), *where]
    environment = {TYPED_AS: shlex.join([*where, *words])}
    if _names(words, "--configfile", "--configfiles") or (place / OWN_CONFIGURATION).exists():
        return [*begin, *words], environment
    if call is None:
        if is_ours(place / "Snakefile"):
            return [*begin, *words], environment
        raise ResomapError(
            f"{place.absolute()} holds no study; `resomap init {place} --data IMAGES` begins one, and --configfile "
            "FILE names the configuration of one"
        )
    if missing := [name for name in call.configfiles if not Path(name).exists()]:
        raise ResomapError(
            f"the study in {place.absolute()} was called with --configfile {missing[0]}, which is not there any more; "
            "name another one with --configfile"
        )
    configfiles = ["--configfile", *call.configfiles] if call.configfiles else []
    return [*begin, *_with_config(words, call.config), *configfiles], environment


def _with_config(words: Sequence[str], remembered: Sequence[str]) -> list[str]:
    """Return the words with the remembered values of `--config` too, where they give none of the same key."""
    if "--config" not in words:
        return [*words, *(["--config", *remembered] if remembered else [])]
    place = list(words).index("--config") + 1
    given = {word.partition("=")[0] for word in words[place:]}
    return [*words[:place], *(word for word in remembered if word.partition("=")[0] not in given), *words[place:]]


def _names(words: Sequence[str], *options: str) -> bool:
    return any(word.partition("=")[0] in options for word in words)


def _snakefile(place: Path, call: Call | None) -> Path:
    own = place / "Snakefile"
    if is_ours(own):
        return own
    if call is not None and call.snakefile is not None and is_ours(Path(call.snakefile)):
        return Path(call.snakefile)
    return SNAKEFILE


def _remembered(place: Path) -> Call | None:
    """Return the call that planned or ran the study of a folder; None without one."""
    content = read_json(place / CURRENT)
    try:
        return None if content is None else Call.read(content, place.resolve())
    except (AttributeError, KeyError, TypeError):
        return None
