"""Types of the values that configuration keys hold: their limits, and the conversion of text from `--config`."""

import ipaddress
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from resomap.core.text import is_whole_number


def none_from_text(value: Any) -> Any:
    """Return None for 'null' and 'none', which Snakemake's --config gives as text; any other value as it is."""
    return None if isinstance(value, str) and value.strip().lower() in ("null", "none", "~", "") else value


def list_from_text(value: Any) -> Any:
    """Return a list for one string with commas or for one number; any other value as it is.

    `--config models=vgg11,resnet18` arrives as one string, `resolutions=224` as one number.
    """
    if isinstance(value, str):
        return [part.strip() for part in value.strip("[] ").split(",") if part.strip()]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def without_repeats(value: list[Any]) -> list[Any]:
    """Return the list if no entry stands in it twice; else raise ValueError."""
    repeated = sorted({str(item) for item in value if value.count(item) > 1})
    if repeated:
        raise ValueError(f"names {', '.join(repeated)} more than once")
    return value


def exact_int(value: Any) -> Any:
    """Return the value; raise ValueError for a bool, which is an int in Python and as a count a mistake."""
    if isinstance(value, bool):
        raise ValueError(f"is {str(value).lower()}, and must be a whole number")
    return value


def count_auto_or_none(value: Any) -> Any:
    """Return a whole number of at least 1, "auto" or None; raise ValueError for anything else.

    One validator, because a union would answer a mistake with one sentence for each of its members.
    """
    value = none_from_text(value)
    if isinstance(value, str) and is_whole_number(value.strip()):
        value = int(value)
    if value is None or (isinstance(value, str) and value.strip().lower() == "auto"):
        return value and "auto"
    if isinstance(value, bool) or not isinstance(value, int):
        given = str(value).lower() if isinstance(value, bool) else repr(value)
        raise ValueError(f"is {given}, and must be a whole number, auto or null")
    if value < 1:
        raise ValueError(f"is {value}, and must be at least 1")
    return value


def rate_or_auto(value: Any) -> Any:
    """Return a finite number above 0, or "auto"; raise ValueError for anything else."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    if value is None:
        raise ValueError("is null, and must be a number or auto; leave the key out for its default")
    if isinstance(value, bool):
        raise ValueError(f"is {str(value).lower()}, and must be a number or auto")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"is {str(value)[:60]!r}, and must be a number or auto") from None
    if not math.isfinite(number):
        raise ValueError(f"is {value!r}, and must be a finite number or auto")
    if number <= 0:
        raise ValueError(f"is {value}, and must be more than 0")
    return number


def ladder(rates: list[float]) -> list[float]:
    """Return learning rates in ascending order; raise ValueError where they are fewer than two, or one stands twice."""
    if len(rates) < 2:
        raise ValueError("has fewer than two rates, and a search compares at least two")
    if len(set(rates)) < len(rates):
        raise ValueError("has a rate more than once")
    return sorted(rates)


def count_or_all(value: Any) -> Any:
    """Return a whole number of at least 1, or "all"; raise ValueError for anything else."""
    if isinstance(value, str) and value.strip().lower() == "all":
        return "all"
    if isinstance(value, str) and is_whole_number(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        given = str(value).lower() if isinstance(value, bool) else repr(value)
        raise ValueError(f"is {given}, and must be a whole number of at least 1, or all")
    return value


def count_or_auto(most: int) -> Callable[[Any], Any]:
    """Return a validator of a whole number from 1 to `most`, or "auto"; it raises ValueError for anything else."""

    def validate(value: Any) -> Any:
        if isinstance(value, str) and value.strip().lower() == "auto":
            return "auto"
        if isinstance(value, str) and is_whole_number(value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            given = str(value).lower() if isinstance(value, bool) else repr(value)
            raise ValueError(f"is {given}, and must be a whole number from 1 to {most}, or auto")
        return value

    return validate


def two_ends_or_none(value: Any) -> tuple[float, float] | None:
    """Return the two ends of a range of numbers, the lower first, or None; raise ValueError for anything else."""
    value = list_from_text(none_from_text(value))
    if value is None:
        return None
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        raise ValueError(f"is {value!r}, and must be two numbers, such as [0, 10000], or null") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"is [{low:g}, {high:g}], and must have a lower end first")
    return low, high


def device_or_none(value: Any) -> Any:
    """Return the name of a device, or None; raise ValueError for what cannot be one."""
    value = none_from_text(value)
    if value is None or (isinstance(value, str) and DEVICE.fullmatch(value) and value.strip(".")):
        return value
    raise ValueError("must have 1 to 64 letters, digits, dots, dashes and underscores, and not dots alone")


def is_open_http(address: str) -> bool:
    """Return True if an address is plain http to another machine: whoever sits between reads along."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme.lower() != "http" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def off_from_false(value: Any) -> Any:
    """Return "off" for false and "auto" for true: an unquoted `off` or `on` is a bool to a YAML 1.1 reader."""
    return {True: "auto", False: "off"}[value] if isinstance(value, bool) else value


def key(default: Any, meaning: str, unit: str = "", **limits: Any) -> Any:
    """Return the pydantic field of a configuration key with its meaning, unit and limits."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit} if unit else None, **limits)


def section(kind: type[BaseModel], meaning: str) -> Any:
    """Return the pydantic field of a nested section with its own defaults."""
    return Field(default_factory=kind, description=meaning)


# Mark of a key that decides no result by itself, for example `workers: Annotated[OptionalCount, UNHASHED]`: a number of
# workers, a place, or a name that stands for values of other keys. It enters no fingerprint, whatever its value. (That
# of `learning_rate_search` enters by `Study.rate_search`, where a rate is to be found.)
UNHASHED = "unhashed"

RESOLUTIONS = range(8, 4097)  # pixels
DEVICE = re.compile(r"[A-Za-z0-9._-]{1,64}")  # a machine on which costs were measured, by its folder
SEEDS = range(2**32)

Count = Annotated[int, BeforeValidator(exact_int)]
Names = Annotated[list[str], BeforeValidator(list_from_text)]
Resolution = Annotated[int, Field(ge=RESOLUTIONS[0], le=RESOLUTIONS[-1]), BeforeValidator(exact_int)]
Resolutions = Annotated[list[Resolution], BeforeValidator(list_from_text)]
Seed = Annotated[int, Field(ge=SEEDS.start, lt=SEEDS.stop), BeforeValidator(exact_int)]
Seeds = Annotated[list[Seed], BeforeValidator(list_from_text)]
# "none" is a class in many data sets: only null, which `--config` may give as text, is none here.
ClassName = Annotated[str | None, BeforeValidator(lambda value: None if value in ("null", "~", "") else value)]
DeviceName = Annotated[str | None, PlainValidator(device_or_none, str | None)]
OptionalText = Annotated[str | None, BeforeValidator(none_from_text)]
OptionalFloat = Annotated[float | None, BeforeValidator(none_from_text)]
PositiveCount = Annotated[int, Field(ge=1), BeforeValidator(exact_int)]
Microbatch = Annotated[
    int | Literal["auto"] | None,
    PlainValidator(count_auto_or_none, Annotated[int, Field(ge=1)] | Literal["auto"] | None),
]
LearningRate = Annotated[
    float | Literal["auto"], PlainValidator(rate_or_auto, Annotated[float, Field(gt=0)] | Literal["auto"])
]
Rates = Annotated[
    list[Annotated[float, Field(gt=0)]],
    BeforeValidator(list_from_text),
    AfterValidator(ladder),
    WithJsonSchema({"type": "array", "minItems": 2, "items": {"type": "number", "exclusiveMinimum": 0}}),
]
OptionalCount = Annotated[PositiveCount | None, BeforeValidator(none_from_text)]
Channels = Annotated[
    Annotated[int, Field(ge=1, le=16), BeforeValidator(exact_int)] | None, BeforeValidator(none_from_text)
]
ValueRange = Annotated[
    tuple[float, float] | None,
    PlainValidator(two_ends_or_none, Annotated[list[float], Field(min_length=2, max_length=2)] | None),
]
Folds = Annotated[Annotated[int, Field(ge=2), BeforeValidator(exact_int)] | None, BeforeValidator(none_from_text)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change after loading."""

    # Numbers become text where text is wanted: `--config experiment=2024` arrives as a number.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)
