"""Mistakes in a typed command line of Snakemake, each as one sentence with the line that was meant.

Snakemake would answer with a traceback, or take another meaning from them without a word. Only the standard library is
imported here: Snakemake loads this module in every run of the environment.
"""

import shlex
from collections import Counter

from resomap.planning.argv import Options, Words, split_at_separator

_OPENING, _CLOSING = "[{(", "]})"
_ONCE = {"--config": "KEY=VALUE KEY=VALUE", "--configfile": "FILE FILE"}


def mistake_in(words: list[str], options: Options) -> str | None:
    """Return the sentence on the first mistake in the values that are given to the workflow; None without one."""
    before, _ = split_at_separator(words)
    parsed = options.parse(before)
    for name, form in _ONCE.items():
        if sum(found.name == name for found in parsed) > 1:
            return f"{name} is given twice, and Snakemake takes it once; give all in one: {name} {form}"
    place = 0
    for found in parsed:
        if found.name == "--config" and (sentence := _of_config(found, before[place:])) is not None:
            return sentence
        place += len(found.words) + len(found.targets)
    return None


def _of_config(found: Words, following: list[str]) -> str | None:
    """Return the sentence on the values of a `--config`; `following` are the words from there on as they were typed."""
    for position, value in enumerate(following[1:], start=1):
        if value not in found.values:
            continue
        if _depth(value) > 0:
            return _torn(following[position:])
        key, equals, text = value.partition("=")
        if not equals:
            return f"--config {value} gives no value; write --config {value}=VALUE"
        if "." in key:
            return f"--config {value} names a key inside a section; write --config {shlex.quote(_nested(key, text))}"
    keys = Counter(value.partition("=")[0] for value in found.values)
    for key, count in keys.items():
        if count > 1:
            return (
                f"--config gives {key} {count} times, and only the last one would count; give it once, in quotes if it "
                f"has braces: --config '{key}={{epochs: 2, batch_size: 16}}'"
            )
    return None


def _torn(words: list[str]) -> str:
    """Return the sentence on a value with brackets that the shell divided at its blanks, because it was not quoted."""
    text = ""
    for word in words:
        text = f"{text} {word}" if text else word
        if _depth(text) <= 0:
            return f"the blanks in {text} divide it; put it in quotes: --config {shlex.quote(text)}"
    return f"--config {words[0]} opens a bracket that is never closed; close it, in quotes if it has blanks"


def _depth(text: str) -> int:
    """Return the number of brackets that are open at the end."""
    return sum(text.count(bracket) for bracket in _OPENING) - sum(text.count(bracket) for bracket in _CLOSING)


def _nested(key: str, value: str) -> str:
    """Return `training={epochs: 2}` for `training.epochs` and `2`."""
    first, *inner = key.split(".")
    for name in reversed(inner):
        value = f"{{{name}: {value}}}"
    return f"{first}={value}"
