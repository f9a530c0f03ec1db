"""Snakemake's command line as it was typed, and its parsed arguments once profiles are merged.

Snakemake imports logger plugins while it builds its parser. From there `attend` takes hold of two things, each with a
contract test: the parser, whose `parse_args` gets a line on which targets stand where argparse looks for them, and
`snakemake.cli.args_to_api`, which receives the arguments after environment and profiles are merged. Only these tell
whether a run is local. Only the standard library is imported here, and nothing is changed for other people's
workflows.
"""

import argparse
import errno
import functools
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from resomap.cells.resume_command import TARGET, Call
from resomap.core.errors import ResomapError, refusal
from resomap.core.place import remember_reader, typed_in
from resomap.core.workflow_files import TYPED_AS, is_ours, profile_of
from resomap.machine import slurm
from resomap.machine.cpus import available_cores
from resomap.planning import argv
from resomap.planning.full_disk import no_room, say_refusals
from resomap.planning.interruption import EXIT_CODE, interruption, leave_termination_to_the_training
from resomap.planning.training_rule import is_training
from resomap.planning.typing_mistakes import mistake_in

LOGGER = "resomap"
# What Snakemake and the steps write to, below the working directory.
WRITTEN = ("", ".snakemake", ".resomap", "results", "checkpoints")
# What a dry run leaves out of Snakemake's lines, for the map of the cells at its end; any of these options keeps them.
QUIET = {"PROGRESS", "RULES", "HOST"}
DETAILED = {"--quiet", "--printshellcmds", "--verbose", "--debug-dag", "--logger"}
# The calls in whose place Snakemake runs no jobs, beside those that write nothing; the last two make believe.
BESIDE_RUNS = (
    *("containerize", "report", "generate_unit_tests", "dag", "rulegraph", "filegraph", "d3dag", "unlock"),
    *("cleanup_metadata", "conda_cleanup_envs", "conda_create_envs_only", "list_conda_envs", "cleanup_shadow"),
    *("container_cleanup_images", "list_changes", "list_input_changes", "list_params_changes", "list_untracked"),
    *("summary", "detailed_summary", "archive", "delete_all_output", "delete_temp_output", "dryrun", "touch"),
)
READING = ("lint", "list_rules", "list_target_rules", "print_compilation")  # the calls that write nothing


class CommandLine:
    """The command line of one call of `snakemake`."""

    def __init__(self) -> None:
        self.typed: list[str] = []  # without the program's name
        self.options: argv.Options | None = None
        # Of the arguments that Snakemake acts on, profiles merged; as it stands where a program calls Snakemake.
        self.is_local = True  # the chosen executor runs jobs on this machine, under -n too
        self.jobs: int | None = None  # at once on a cluster
        self.executes = False  # it runs jobs: no dry run, and none of the calls that only read, draw or tidy up
        self.is_ours = False  # a main process that is to read a Snakefile of ResoMap
        self.after_dry_run: Callable[[], None] | None = None
        self._typed_as: list[str] | None = None  # where `resomap run` made this line
        self._snakefile: Path | None = None

    def resume_command(self, target: str) -> str:
        """Return the command that resumes one target, with the options of this line that decide what runs where."""
        if self.options is None:
            return f"snakemake --rerun-incomplete {target}"
        if self._typed_as is not None:
            return argv.resume_command(self._typed_as, self.options, target, ["resomap", "run", target])
        return argv.resume_command(self.typed, self.options, target)

    @property
    def again(self) -> str:
        """This command line, to be typed again."""
        if self._typed_as is not None:
            return shlex.join(["resomap", "run", *self._typed_as])
        return shlex.join(["snakemake", *self.typed])

    def call(self) -> Call:
        """Return what a study remembers of this call. To be called in the study's folder."""
        command = self.resume_command(TARGET)
        if self.options is None:
            return Call(command)
        return Call(
            command=command,
            folder=str(typed_in()),
            snakefile=None if self._snakefile is None else self._absolute(str(self._snakefile)),
            configfiles=tuple(map(self._absolute, argv.values_of("--configfile", self.typed, self.options))),
            config=tuple(argv.values_of("--config", self.typed, self.options)),
            options=tuple(argv.kept_words(self.typed, self.options, argv.KEPT_ANYWHERE)),
        )

    @staticmethod
    def _absolute(path: str) -> str:
        return os.path.normpath(typed_in() / path)

    def read(self, words: list[str], parser: argparse.ArgumentParser) -> list[str]:
        """Keep what was typed; return the line that Snakemake should read: without swallowed targets, if it is ours.

        ResoMap's profile goes in front, so that those of the user and of the environment win over it.
        """
        self.typed, self.options = list(words), argv.Options(parser)
        typed_as = os.environ.pop(TYPED_AS, None)
        self._typed_as = None if typed_as is None else shlex.split(typed_as)
        is_job = {"--mode", "--target-jobs"} & argv.names_in(words, self.options)  # a job's own process
        if slurm.job_id() is not None and _trains(argv.values_of("--target-jobs", words, self.options)):
            leave_termination_to_the_training()
        snakefile = _snakefile(argv.values_of("--snakefile", words, self.options))
        self.is_ours = not is_job and snakefile is not None and is_ours(snakefile)
        if snakefile is None or not self.is_ours:
            return words
        remember_reader()
        self._snakefile = snakefile
        return _with_profile(argv.move_targets(words, self.options), snakefile, self.options)

    def complete(self, arguments: argparse.Namespace) -> None:
        """Keep what is needed of Snakemake's arguments, and add what a profile cannot say, if the workflow is ours.

        To be called before Snakemake acts on them: in 9.23 a dry run then takes the executor's place. Added is the
        number of cores of a local run (in a profile it would cap a cluster too), and that outputs which a kill left
        half made are made again: every step can be repeated, whatever the user's own profiles say. A dry run does
        without our logger: its output is Snakemake's own, and through a plugin's queue it would take a tenth longer.
        """
        self.is_local, self.jobs = _runs_here(arguments), arguments.jobs
        snakefile = _snakefile([str(arguments.snakefile)] if arguments.snakefile else [])
        if snakefile is None or not is_ours(snakefile) or arguments.mode.name != "DEFAULT":
            return
        _require_documents(arguments.configfile or ())
        if not any(getattr(arguments, name, False) for name in READING):
            _require_writable(Path(arguments.directory or ""))
        self.executes = not any(getattr(arguments, name, None) for name in (*READING, *BESIDE_RUNS))
        arguments.rerun_incomplete = True
        if arguments.cores is None and arguments.jobs is None and self.is_local:
            arguments.cores = available_cores()
        if arguments.dryrun and self.options and "--logger" not in argv.names_in(self.typed, self.options):
            arguments.logger = [name for name in arguments.logger if name != LOGGER]
        if arguments.dryrun and self.options and not DETAILED & argv.names_in(self.typed, self.options):
            arguments.quiet = {*(arguments.quiet or ()), *_quietness(QUIET)}


# The command line of this process.
command_line = CommandLine()


def attend(on_run: Callable[[], None] = lambda: None) -> None:
    """Hook into Snakemake's parser and API to read and complete the command line.

    `on_run` is called before a ResoMap workflow is read. The logger plugin calls this when Snakemake imports it while
    it builds its parser; elsewhere it does nothing.
    """
    cli, parser = sys.modules.get("snakemake.cli"), _parser_being_built()
    if cli is None or parser is None:
        return
    parse_args, args_to_api = parser.parse_args, cli.args_to_api

    @functools.wraps(parse_args)
    def reading(args: Any = None, *more: Any, **named: Any) -> Any:
        if args is None:
            _guarded(lambda: _read(parser, on_run))
        return parse_args(args, *more, **named)

    @functools.wraps(args_to_api)
    def acting(args: argparse.Namespace, *more: Any, **named: Any) -> Any:
        _guarded(lambda: command_line.complete(args))
        if command_line.is_ours:
            _guarded(lambda: say_refusals(_api(), Path(args.directory or "")))
        success = args_to_api(args, *more, **named)
        if interruption.is_asked:
            raise SystemExit(EXIT_CODE)
        if success and command_line.after_dry_run is not None:
            command_line.after_dry_run()
        return success

    parser.parse_args, cli.args_to_api = reading, acting  # type: ignore[method-assign, attr-defined]


def _trains(jobs: Iterable[str]) -> bool:
    """Return True if one of a job's targets, `rule:wildcard=value`, is a training."""
    return any(is_training(job.partition(":")[0]) for job in jobs)


def _read(parser: argparse.ArgumentParser, on_run: Callable[[], None]) -> None:
    sys.argv[1:] = command_line.read(sys.argv[1:], parser)
    if command_line.is_ours and command_line.options is not None:
        if (sentence := mistake_in(command_line.typed, command_line.options)) is not None:
            print(f"resomap: {sentence}", file=sys.stderr)
            raise SystemExit(2)
        interruption.watch()
        on_run()


def _require_documents(paths: Iterable[str | Path]) -> None:
    """Exit with one sentence for a file that is no configuration: Snakemake would read a device to its end."""
    from resomap.config.documents import read_document

    try:
        for path in paths:
            read_document(Path(path))
    except ResomapError as error:
        print(f"resomap: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _require_writable(directory: Path) -> None:
    """Exit with one sentence where the study may only be read or has no room: Snakemake writes under -n too."""
    for place in (directory / name for name in WRITTEN):
        while not place.exists():
            place = place.absolute().parent
        if not os.access(place, os.W_OK):
            error = OSError(errno.EROFS if os.statvfs(place).f_flag & os.ST_RDONLY else errno.EACCES, "", str(place))
            print(f"resomap: {refusal(error)}", file=sys.stderr)
            raise SystemExit(2)
        if (full := no_room(place)) is not None:
            print(f"resomap: {refusal(full)}", file=sys.stderr)
            raise SystemExit(2)


def _guarded(act: Callable[[], None]) -> None:
    """Call a function and print its exception: an error here would break every Snakemake of this environment."""
    try:
        act()
    except Exception as error:
        print(f"ResoMap leaves the command line as it is, because of: {error!r}", file=sys.stderr)


def _parser_being_built() -> argparse.ArgumentParser | None:
    """Return the parser that a calling `get_argument_parser` of Snakemake has made so far; None without such a call."""
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_name == "get_argument_parser":
            found = frame.f_locals.get("parser")
            return found if isinstance(found, argparse.ArgumentParser) else None
    return None


def _quietness(names: Iterable[str]) -> set[Any]:
    from snakemake.settings.enums import Quietness

    return {Quietness[name] for name in names}


def _api() -> Any:
    from snakemake.api import SnakemakeApi

    return SnakemakeApi


def _runs_here(arguments: argparse.Namespace) -> bool:
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    plugin = ExecutorPluginRegistry().get_plugin(arguments.executor or "local")
    return bool(plugin.common_settings.local_exec)


def _snakefile(named: list[str]) -> Path | None:
    """Return the Snakefile of a command line, also one that Snakemake finds by itself; None where there is none."""
    from snakemake.api import resolve_snakefile

    found = resolve_snakefile(named[-1] if named else None, allow_missing=True)
    return found if isinstance(found, Path) else None


def _with_profile(words: list[str], snakefile: Path, options: argv.Options) -> list[str]:
    own = profile_of(snakefile)
    if own is None:
        return words
    named = argv.values_of("--profile", words, options)
    if named == ["none"]:
        return words
    added = ["--profile", str(own)]
    # A profile on the command line makes Snakemake forget that of the environment.
    from_environment = os.environ.get("SNAKEMAKE_PROFILE", "none")
    if not named and from_environment != "none":
        added += ["--profile", from_environment]
    return [*added, *words]
