"""Parse Snakemake's command line: move swallowed targets out of value lists, and write the command that resumes.

`snakemake --resources gpu=1 TARGET` takes the target for a second resource and ends in a traceback; `--config`,
`--rerun-triggers` and others swallow it too. How many values an option takes comes from Snakemake's own parser.
Only the standard library is imported here: Snakemake loads this module in every run of the environment.
"""

import argparse
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# What a command that resumes a cell needs besides the target; the rest (-n, -F, --until) is of its moment.
KEPT_FOR_RESUME = (
    *("--snakefile", "--directory", "--profile", "--workflow-profile", "--executor", "--configfile", "--config"),
    *("--cores", "--jobs", "--resources"),
)
# Of these, what `resomap run` does not know by itself.
KEPT_ANYWHERE = ("--profile", "--workflow-profile", "--executor", "--cores", "--jobs", "--resources")

# Values of these are told from targets by a pattern; options with choices have those, and no others are listed in
# Snakemake's help as NAME=VALUE. Nothing tells rules or files (--until, --forcerun, --prioritize ...) from targets.
_ASSIGNMENT = re.compile(r"[^/=\s]+=", re.DOTALL)
_WORD = re.compile(r"[^/]+\Z")
_PATTERNS = {
    # Whatever lies below results/ is written by the workflow, JSON included.
    "--configfile": re.compile(r"(?!results/).*\.(ya?ml|json)\Z"),
    "--groups": _ASSIGNMENT,
    "--group-components": _ASSIGNMENT,
    "--cache": _WORD,
    "--envvars": _WORD,
    "--allowed-rules": _WORD,
    "--preemptible-rules": _WORD,
}


@dataclass(frozen=True)
class Option:
    """An option of a parser: its first long name, the number of values that it takes, and their pattern."""

    name: str
    most: int | None = 1  # None: as many as follow
    needs_one: bool = False  # its first value stays whatever it looks like: Snakemake can say what is wrong with it
    pattern: re.Pattern[str] | None = None  # None: nothing tells a value from a target

    @classmethod
    def of(cls, action: argparse.Action) -> "Option":
        """Read the properties of an option from the parser's own entry for it."""
        name = next((text for text in action.option_strings if text.startswith("--")), action.option_strings[0])
        many = action.nargs in ("+", "*")
        most = None if many else action.nargs if isinstance(action.nargs, int) else 1
        is_assignment = isinstance(action.metavar, str) and "=" in action.metavar
        pattern = _ASSIGNMENT if is_assignment else _PATTERNS.get(name)
        if action.choices is not None and action.nargs is not None:
            pattern = re.compile(rf"({'|'.join(re.escape(str(choice)) for choice in action.choices)})\Z")
        return cls(name, most, many and (action.nargs == "+" or is_assignment), pattern)


@dataclass
class Words:
    """An option of a command line with its values, or a bare target, which has no option."""

    option: Option | None
    words: list[str]  # as typed, the option's own included
    values: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)  # values that are none: swallowed targets

    @property
    def name(self) -> str | None:
        """The option's first long name; None for a bare target."""
        return self.option.name if self.option else None


class Options:
    """Options of a parser by all their names; divides a command line into them."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._known: Mapping[str, Option] = {
            text: Option.of(action) for text, action in parser._option_string_actions.items()
        }

    def parse(self, words: list[str]) -> list[Words]:
        """Divide the words before `--` into options with their values, in order, as argparse does.

        Swallowed targets are separated from the values where a pattern tells them apart.
        """
        return list(self._divided(words))

    def _divided(self, words: list[str]) -> Iterator[Words]:
        position = 0
        while position < len(words):
            word = words[position]
            position += 1
            if not word.startswith("-") or word == "-":
                yield Words(None, [word])
                continue
            flags, option, attached = self._identify(word)
            yield from (Words(flag, []) for flag in flags)
            found = Words(option, [word], [] if attached is None else [attached])
            if attached is None and option.most != 0:
                end = position
                while end < len(words) and not words[end].startswith("-"):
                    if option.most is not None and end - position >= option.most:
                        break
                    end += 1
                _separate_targets(found, option, words[position:end])
                position = end
            yield found

    def _identify(self, word: str) -> tuple[list[Option], Option, str | None]:
        """Return (flags in front, option, attached value) of a word: `-nq` is `([--dry-run], --quiet, None)`."""
        if word.startswith("--"):
            name, equals, attached = word.partition("=")
            return [], self._named(name), attached if equals else None
        flags: list[Option] = []
        for place, letter in enumerate(word[1:], start=1):
            option, rest = self._named(f"-{letter}"), word[place + 1 :]
            if option.most != 0 or not rest:
                return flags, option, rest.removeprefix("=") if rest else None
            flags.append(option)
        return flags, Option(word), None

    def _named(self, name: str) -> Option:
        """Return the option of this name; as in argparse, an abbreviation counts where it fits only one."""
        if name in self._known:
            return self._known[name]
        fitting = {text for text in self._known if text.startswith(name)} if name.startswith("--") else set()
        return self._known[fitting.pop()] if len(fitting) == 1 else Option(name)


def move_targets(words: list[str], options: Options) -> list[str]:
    """Return the command line with all targets side by side, in front of the options or behind `--`.

    argparse accepts positional words in one place only. A line that needs nothing comes back as it is.
    """
    before, after = split_at_separator(words)
    parsed = options.parse(before)
    if not any(option.targets for option in parsed) and not _are_scattered(parsed):
        return list(words)
    targets = [target for option in parsed for target in option.targets]
    bare = [word for option in parsed if option.option is None for word in option.words]
    before = [word for option in parsed if option.option is not None for word in option.words]
    return [*before, "--", *bare, *targets, *after[1:]] if after else [*bare, *targets, *before]


def values_of(name: str, words: list[str], options: Options) -> list[str]:
    """Return all values that an option, by its first long name, has on a command line."""
    return [
        value for found in options.parse(split_at_separator(words)[0]) if found.name == name for value in found.values
    ]


def names_in(words: list[str], options: Options) -> set[str | None]:
    """Return the first long names of all options on a command line."""
    return {found.name for found in options.parse(split_at_separator(words)[0])}


def resume_command(words: list[str], options: Options, target: str, begin: Sequence[str] = ()) -> str:
    """Return the command that resumes a target.

    It is `snakemake --rerun-incomplete <target>`, or what `begin` has in place of that, with the options of a command
    line that decide what runs where.
    """
    begin = begin or ["snakemake", "--rerun-incomplete", target]
    return shlex.join([*begin, *kept_words(words, options, KEPT_FOR_RESUME)])


def kept_words(words: list[str], options: Options, names: Collection[str]) -> list[str]:
    """Return the words of a command line that belong to options of these names."""
    parsed = options.parse(split_at_separator(words)[0])
    return [word for option in parsed if option.name in names for word in option.words]


def split_at_separator(words: list[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the words before `--`, and those from there on."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place:]


def _are_scattered(parsed: list[Words]) -> bool:
    """Return True if targets stand in several places, which argparse rejects as unrecognized arguments."""
    names = [option.name for option in parsed]
    return sum(name is None and names[:place][-1:] != [None] for place, name in enumerate(names)) > 1


def _separate_targets(found: Words, option: Option, values: list[str]) -> None:
    """Split an option's words into its values and trailing targets, which begin at the first word that is no value."""
    end, pattern = len(values), option.pattern
    if pattern is not None:
        first = 1 if option.needs_one else 0
        others = (place for place in range(first, end) if not pattern.match(values[place]))
        end = next(others, end)
    # A value may still stand behind a target: `--config a=1 results/x/all b=2`. Not `all`, which is a rule too.
    is_sure = pattern is not None and pattern is not _WORD and option.name != "--quiet"
    later = [value for value in values[end:] if is_sure and pattern and pattern.match(value)]
    found.values += [*values[:end], *later]
    found.words += found.values
    found.targets = [value for value in values[end:] if value not in later]
