"""The command `resomap`: finds the subcommand, and turns a user's mistake into one sentence."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from resomap import __version__
from resomap.cells.leftovers import STATE_DIRECTORIES, remove_leftovers
from resomap.cells.step_failure import StepFailure, failure_file
from resomap.cells.study import CURRENT
from resomap.commands import PEOPLE, STEPS, Commands
from resomap.core.errors import ResomapError, refusal
from resomap.core.logging import copy_output_to
from resomap.core.place import remember_reader


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; a user's mistake is one sentence on stderr and an exit code that is not 0."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    made = parser()
    given, others = made.parse_known_args(words)
    if others and not getattr(given, "takes_snakemakes_words", False):
        made.error(f"unrecognized arguments: {' '.join(others)}")
    given.words = others
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files are any bytes
    if getattr(given, "log", None):
        copy_output_to(given.log, words[0])
    is_step = words[0] in STEPS
    try:
        if getattr(given, "enters_directory", False) and given.directory is not None:
            _enter(given)
        if is_step:
            failure_file(words).unlink(missing_ok=True)  # of an attempt before this one
            remove_leftovers(*STATE_DIRECTORIES)
        return given.run(given) or 0
    except ResomapError as error:
        if is_step:
            StepFailure.of(error).write(words)
        print(f"resomap: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of a pipe has gone (`resomap models | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if (sentence := refusal(error)) is None:
            if is_step:
                StepFailure.of(error).write(words)
            raise
        if is_step:
            StepFailure.of(ResomapError(sentence)).write(words)
        print(f"resomap: {sentence}", file=sys.stderr)
        return ResomapError.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if is_step:
            StepFailure.of(error).write(words)
        raise


def _enter(given: argparse.Namespace) -> None:
    """Change to the folder of the study; paths that were typed still mean what they meant where they were typed.

    Raises ResomapError where there is no such folder.
    """
    if not given.directory.is_dir():
        raise ResomapError(f"there is no folder {given.directory}; name the study's folder with -C")
    for name, value in vars(given).items():
        if name in ("directory", "log") or (name == "study" and value == CURRENT):
            continue
        if isinstance(value, Path):
            setattr(given, name, value.absolute())
        elif isinstance(value, list) and value and all(isinstance(each, Path) for each in value):
            setattr(given, name, [each.absolute() for each in value])
    remember_reader()
    os.chdir(given.directory)


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of all subcommands with their options."""
    made = argparse.ArgumentParser(prog="resomap", description="Which model, at which input resolution?")
    made.add_argument("--version", action="version", version=f"resomap {__version__}")
    commands = Commands(made)
    for name in (*PEOPLE, *STEPS):
        importlib.import_module(f"resomap.commands.{name}").add(commands)
    return made
