"""Error messages for a wrong configuration: one sentence on where, what was given and what would be valid."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from resomap.config.schema import Config
from resomap.core.text import nearest

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "dict": "a section with keys of its own",
    "model": "a section with keys of its own",
    "finite": "a finite number",
}
LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
# What people write who come from torch or elsewhere, where the letters alone would suggest something else.
SYNONYMS = {"gpu": "cuda", "float16": "fp16", "bfloat16": "bf16", "crop": "center", "false": "off", "null": "none"}
CREDENTIALS = {"password", "token", "username", "user", "secret", "key", "api_key", "access_key"}


def sentence(kind: type[BaseModel], error: ValidationError, where: str = "") -> str:
    """Return the sentence on the first mistake of a failed validation of `kind`, which lies at the path `where`.

    `where` is dotted, empty for the top.
    """
    problem = error.errors(include_url=False)[0]
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return _unknown_key(kind, path, where)
    if problem["type"] == "invalid_key":
        return f"the configuration has the key {problem['input']!r}, and keys must be text"
    # The position in a list helps nobody, the entry itself does.
    entry = len(path) > 1 and isinstance(problem["loc"][-1], int)
    name = ".".join(filter(None, [where, *path[: -1 if entry else None]]))
    if problem["type"] == "value_error":
        message = problem["msg"].removeprefix("Value error, ")
        if entry:
            message = message.replace("is ", "has ", 1).replace("must be", "each entry must be", 1)
        return _own_words(name, message)
    given = shown(problem["input"])
    if problem["type"] in ("too_short", "string_too_short"):
        return f"the configuration's {name} is empty, and must not be; leave the key out for its default"
    if entry:
        return f"the configuration's {name} has {given}, and each entry must be {_expected(problem)}"
    return f"the configuration's {name} is {given}, and must be {_expected(problem)}"


def shown(value: Any) -> str:
    """Return a value as one would write it in YAML, cut where it is long."""
    words = {None: "null", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that an annotation stands for, or None for a plain value."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _own_words(name: str, message: str) -> str:
    """Return the sentence for a message of the schema's own checks.

    They speak of one key (`is 3, and ...`) or of keys inside a section.
    """
    if not name:
        return f"the configuration's {message}"
    return f"the configuration's {name} {message}" if message.startswith(("is ", "has ")) else f"in {name}, {message}"


def _expected(problem: Mapping[str, Any]) -> str:
    kind, given = problem["type"], problem["input"]
    context = problem.get("ctx", {})
    if kind == "literal_error":
        valid = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return context["expected"] + _meant(shown(given).strip("'").lower(), valid)
    if kind in LIMITS:
        limit, words = LIMITS[kind]
        return f"{words} {context[limit]:.15g}"
    words = KINDS.get(kind.split("_")[0], problem["msg"])
    return words + ("; leave the key out for its default" if given is None else "")


def _meant(name: str, valid: list[str]) -> str:
    synonym = SYNONYMS.get(name)
    match = synonym if synonym in valid else nearest(name, valid)
    return f"; did you mean '{match}'?" if match else ""


def _unknown_key(kind: type[BaseModel], path: list[str], where: str) -> str:
    *sections, wrong = path
    said = f"the configuration has an unknown key '{'.'.join(filter(None, [where, *path]))}'"
    before, colon, after = wrong.partition(":")
    if colon:
        return f"{said}; put a space after its colon: '{before}: {after}'"
    if path[0] == "tracking" and wrong.lower() in CREDENTIALS:
        return f"{said}; credentials come from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    everywhere = {key.rpartition(".")[2]: key for key in _dotted(kind)}
    here = {key: ".".join([*sections, key]) for key in _keys_at(kind, sections)}
    valid = {**everywhere, **here}
    if where and wrong not in valid and wrong in Config.model_fields:
        return f"{said}; an override holds the keys of `training` directly, for example '{where}.epochs'"
    match = nearest(wrong.replace("-", "_"), valid)
    if match:
        return f"{said}; did you mean '{'.'.join(filter(None, [where, valid[match]]))}'?"
    return f"{said}; valid here are {', '.join(here)}"


def _keys_at(kind: type[BaseModel], sections: list[str]) -> list[str]:
    for name in sections:
        inner = section_of(kind.model_fields[name].annotation) if name in kind.model_fields else None
        if inner is None:
            break
        kind = inner
    return list(kind.model_fields)


def _dotted(kind: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield every key of a section and of the sections inside it, inner ones first, so that outer ones win."""
    for name, field in kind.model_fields.items():
        inner = section_of(field.annotation)
        if inner:
            yield from _dotted(inner, f"{before}{name}.")
    for name in kind.model_fields:
        yield before + name
