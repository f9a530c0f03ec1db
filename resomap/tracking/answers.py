"""Answers of a tracker as ResoMap reads them: their schema, checked where they arrive.

A server may be anything that listens at the address. What is not of this form is no answer of MLflow's; text in it has
no control characters from here on. Fields that nothing reads are left out.
"""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from resomap.core.text import without_controls

MAX_BYTES = 64 << 20  # of one answer: a thousand runs with all that they hold are 5 MB


def _text(value: Any) -> Any:
    return without_controls(str(value)) if isinstance(value, str | int | float) else value


def _none_as_empty(value: Any) -> Any:
    """Return an empty list for null: MLflow leaves empty lists out, others write null."""
    return [] if value is None else value


Text = Annotated[str, BeforeValidator(_text)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class KeyValue(_Answer):
    """A tag or a param."""

    key: Text
    value: Annotated[Text, BeforeValidator(lambda value: "" if value is None else value)] = ""


Pairs = Annotated[list[KeyValue], BeforeValidator(_none_as_empty)]


class RunInfo(_Answer):
    """Identity and state of a run."""

    run_id: Text = Field(min_length=1)
    status: Text | None = None
    run_name: Text | None = None
    lifecycle_stage: Text = "active"


class RunData(_Answer):
    """Tags and params of a run; its metrics stand in its marker tag."""

    tags: Pairs = []
    params: Pairs = []


class Run(_Answer):
    """A run as `runs/search` and `runs/get` give it."""

    info: RunInfo
    data: RunData = RunData()


class Runs(_Answer):
    """A page of `runs/search`. Its runs are checked one by one: a strange one among them hides no other."""

    runs: Annotated[list[Any], BeforeValidator(_none_as_empty)] = []
    next_page_token: str | None = None


class OneRun(_Answer):
    """Answer of `runs/get`."""

    run: Run


class Experiment(_Answer):
    """An experiment."""

    experiment_id: Text = Field(min_length=1)
    lifecycle_stage: Text = "active"
    artifact_location: Text = ""


class Experiments(_Answer):
    """Answer of `experiments/search`."""

    experiments: Annotated[list[Experiment], BeforeValidator(_none_as_empty)] = []


class OneExperiment(_Answer):
    """Answer of `experiments/get-by-name`."""

    experiment: Experiment


A = TypeVar("A", bound=BaseModel)


def parsed(kind: type[A], content: Any) -> A | None:
    """Return decoded JSON as an answer of this kind; None where it is of another form."""
    try:
        return kind.model_validate(content)
    except ValidationError:
        return None
