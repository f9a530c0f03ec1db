"""Reads Snakemake's command line before Snakemake does, so that the obvious commands work as they are typed.

Snakemake's `--resources gpu=1 TARGET` takes the target for a second resource and ends in a traceback, and a
local run without `--cores` is an error. Snakemake imports logger plugins while it builds its parser, before it
reads `sys.argv`: the place to move the targets out and to add defaults.
"""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resomap.machine.cpus import available_cores
from resomap.planning import argv_options as options

# One of the first lines of the Snakefile starts with this; other people's workflows are left alone.
MARKER = "# ResoMap"
MARKER_LINES = 5
# The command line as typed, for the commands that resume; the rewritten one holds our own defaults too.
typed: list[str] = list(sys.argv)

SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")

# What a command that resumes a cell needs besides the target; the rest (-n, -F, --until) is of its moment.
KEPT_FOR_RESUME = (
    *(
        "--snakefile",
        "--directory",
        "--profile",
        "--workflow-profile",
        "--executor",
        "--configfile",
        "--config",
    ),
    *("--cores", "--jobs", "--resources"),
)


@dataclass
class Option:
    """One option of a command line with its values; a bare target is an Option without a name."""

    name: str | None
    words: list[str]  # the words as typed, the option's own included
    values: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)  # values that are none: swallowed targets


def rewrite(argv: list[str], cores: int | None) -> list[str]:
    """The command line with swallowed targets at its front, and defaults for cores, keep-going and logger.

    `argv` includes the program's name; `cores` is how many a local run takes that names no number, None where
    that is decided elsewhere. A line that needs nothing comes back as it is, and so does a child process's.
    """
    before, after = _split(argv[1:])
    parsed = list(_parse(before))
    names = {option.name for option in parsed}
    if names & {"--mode", "--target-jobs"}:
        return list(argv)
    if any(option.targets for option in parsed) or _are_scattered(parsed):
        targets = [target for option in parsed for target in option.targets]
        bare = [word for option in parsed if option.name is None for word in option.words]
        before = [word for option in parsed if option.name is not None for word in option.words]
        if after:
            after = ["--", *bare, *targets, *after[1:]]
        else:
            # All targets side by side: argparse accepts them in one place only.
            before = [*bare, *targets, *before]
    return [*argv[:1], *before, *_defaults(parsed, cores), *after]


def resume_command(argv: list[str], target: str) -> str:
    """`snakemake --rerun-incomplete <target>` with the options of `argv` that decide what runs where."""
    before, _ = _split(argv[1:])
    kept = [word for option in _parse(before) if option.name in KEPT_FOR_RESUME for word in option.words]
    return shlex.join(["snakemake", "--rerun-incomplete", target, *kept])


def is_local(argv: list[str]) -> bool:
    """Whether this call runs its jobs on this machine, as far as the command line tells."""
    return _is_local(list(_parse(_split(argv[1:])[0])))


def is_ours(argv: list[str], directory: Path) -> bool:
    """Whether this is Snakemake's main process on a ResoMap Snakefile, started in `directory`."""
    program = Path(argv[0])
    is_snakemake = program.name in ("snakemake", "snakemake.exe") or program.parts[-2:] == (
        "snakemake",
        "__main__.py",
    )
    if not is_snakemake:
        return False
    named = [option.values[0] for option in _parse(_split(argv[1:])[0]) if _is_snakefile(option)]
    candidates = [directory / name for name in (named[-1:] or SNAKEFILES)]
    snakefile = next((path for path in candidates if path.is_file()), None)
    if snakefile is None:
        return False
    with snakefile.open(errors="replace") as stream:
        return any(line.startswith(MARKER) for _, line in zip(range(MARKER_LINES), stream, strict=False))


def apply() -> None:
    """Where this process is ours, rewrite its command line, and let it outlive the reader of what it prints.

    Never raises: that would break every Snakemake.
    """
    try:
        if sys.argv and is_ours(sys.argv, Path.cwd()):
            decided = _profile_decides(Path.cwd(), os.environ)
            sys.argv[:] = rewrite(sys.argv, None if decided else available_cores())
    except Exception as error:
        print(f"ResoMap leaves the command line as it is, because of: {error!r}", file=sys.stderr)


def _profile_decides(directory: Path, environment: Mapping[str, str]) -> bool:
    """Whether a profile that the command line does not name (environment, profiles/default) sets the cores."""
    if environment.get("SNAKEMAKE_PROFILE", "none") != "none":
        return True
    files = [path for place in ("profiles", "workflow/profiles") for path in (directory / place).glob("default/*.yaml")]
    decisive = ("cores:", "jobs:", "executor:", "profile:")
    return any(line.startswith(decisive) for path in files for line in path.read_text().splitlines())


def _defaults(parsed: list[Option], cores: int | None) -> list[str]:
    names = {option.name for option in parsed}
    is_report = "--report" in names and "--report-after-run" not in names
    if names & options.MANAGEMENT or is_report or "--reporter" in names:
        return []
    added = [] if "--keep-going" in names else ["--keep-going"]
    if cores is not None and _is_local(parsed) and not names & {"--cores", "--jobs"}:
        added += ["--cores", str(cores)]
    # A dry run is Snakemake's own output: through a plugin's queue it would take a tenth longer.
    # With "=", or it would swallow what follows.
    return added if names & {"--logger", "--dry-run"} else [*added, "--logger=resomap"]


def _is_local(parsed: list[Option]) -> bool:
    for option in parsed:
        if option.name == "--executor" and option.values != ["local"]:
            return False
        if option.name in ("--profile", "--workflow-profile") and option.values != ["none"]:
            return False
        if option.name is not None and option.name.startswith("--cluster"):
            return False
    return True


def _is_snakefile(option: Option) -> bool:
    return option.name == "--snakefile" and bool(option.values)


def _are_scattered(parsed: list[Option]) -> bool:
    """Whether targets stand in several places, which argparse rejects as unrecognized arguments."""
    names = [option.name for option in parsed]
    return sum(name is None and names[:place][-1:] != [None] for place, name in enumerate(names)) > 1


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before `--`, and from there on."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place:]


def _parse(words: list[str]) -> Iterator[Option]:
    """Options with their values, in order, as argparse sees them, but for the targets that it swallows."""
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("-") or word == "-":
            yield Option(None, [word])
            continue
        flags, name, attached = _identify(word)
        yield from (Option(flag, []) for flag in flags)
        option = Option(name, [word], [] if attached is None else [attached])
        if attached is None and name not in options.FLAGS:
            end = position
            most = None if name in options.SEVERAL else 1
            while end < len(words) and not words[end].startswith("-") and (most is None or end - position < most):
                end += 1
            _divide(option, words[position:end])
            position = end
        yield option


def _identify(word: str) -> tuple[list[str], str, str | None]:
    """(flags in front, full name, attached value): `-nq` is `([--dry-run], --quiet, None)`."""
    if word.startswith("--"):
        name, equals, attached = word.partition("=")
        return [], _full_name(name), attached if equals else None
    flags: list[str] = []
    for place, letter in enumerate(word[1:], start=1):
        name = options.LETTERS.get(letter, f"-{letter}")
        rest = word[place + 1 :]
        if name not in options.FLAGS or not rest:
            return flags, name, rest.removeprefix("=") if rest else None
        flags.append(name)
    return flags, word, None


def _full_name(name: str) -> str:
    """The first name of a long option; as in argparse, an abbreviation counts where it fits only one."""
    known = options.FLAGS | options.ONE_VALUE | options.OPTIONAL | options.SEVERAL
    if name not in known:
        fitting = [candidate for candidate in known if candidate.startswith(name)]
        name = fitting[0] if len(fitting) == 1 else name
    return options.SYNONYMS.get(name, name)


def _divide(option: Option, values: list[str]) -> None:
    """Tell an option's values from the targets behind them: what follows the first stranger is a target."""
    pattern = options.VALUE_PATTERNS.get(option.name or "")
    end = len(values)
    if pattern is not None:
        first = 1 if option.name in options.FIRST_STAYS else 0
        strangers = (place for place in range(first, end) if not pattern.match(values[place]))
        end = next(strangers, end)
    # A value may still stand behind a target: `--config a=1 results/x/all b=2`. Not `all`, which is a rule too.
    sure = pattern is not None and pattern is not options.WORD and option.name != "--quiet"
    late = [value for value in values[end:] if sure and pattern and pattern.match(value)]
    option.values += [*values[:end], *late]
    option.words += option.values
    option.targets = [value for value in values[end:] if value not in late]
