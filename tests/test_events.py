"""The pseudocode of `resomap.train.events.Observer` against the events of a real training."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from resomap.cells.study import Study
from resomap.train import training
from resomap.train.attempt import train_cell
from resomap.train.events import Observer
from resomap.train.observer import CellObserver
from resomap.train.request import Request
from resomap.train.state import TrainingState

EVENTS = [name for name in vars(Observer) if inspect.isfunction(vars(Observer)[name]) and not name.startswith("_")]
EPOCHS, BATCH = 2, 8


def pseudocode() -> ast.Module:
    """The indented block of the docstring, as Python."""
    lines = (inspect.getdoc(Observer) or "").splitlines()
    return ast.parse(textwrap.dedent("\n".join(line for line in lines if line.startswith("    "))))


def shown(node: ast.AST) -> Iterator[str]:
    """The events in a piece of pseudocode, in the order in which they stand there."""
    called = (call.func for call in ast.walk(node) if isinstance(call, ast.Call))
    names = [each for each in called if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "observer"]
    yield from (each.attr for each in sorted(names, key=lambda each: (each.lineno, each.col_offset)))


def pattern(statements: Sequence[ast.stmt]) -> str:
    """A regular expression of what the pseudocode lets fire: loops any number of times, branches once or not."""
    text = ""
    for statement in statements:
        if isinstance(statement, ast.For | ast.While):
            text += f"(?:{pattern(statement.body)})*"
        elif isinstance(statement, ast.If):
            text += "".join(f"{name} " for name in shown(statement.test)) + f"(?:{pattern(statement.body)})?"
        else:
            text += "".join(f"{name} " for name in shown(statement))
    return text


Fired = list[tuple[str, tuple[int, int] | None]]  # events, each with the position in the training: (epoch, step)


def noting(name: str, fired: Fired) -> Callable[..., Any]:
    """The trainer's own method, which first notes that it is called."""

    def noted(observer: CellObserver, *states: TrainingState) -> Any:
        fired.append((name, (states[0].epoch, states[0].step) if states else None))
        return getattr(CellObserver, name)(observer, *states)

    return noted


@pytest.fixture
def fired(study_in: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> Iterator[Fired]:
    """The events of a training whose fourth step finds no memory for a whole batch."""
    events: Fired = []
    observer = type("NotedObserver", (CellObserver,), {name: noting(name, events) for name in EVENTS})
    monkeypatch.setattr(training, "CellObserver", observer)

    def refuse(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        steps = [name for name, _ in events].count("after_step")
        if module.training and isinstance(module, torch.nn.Conv2d) and len(inputs[0]) == BATCH and steps == 3:
            raise torch.OutOfMemoryError("injected")

    study = study_in(training={"epochs": EPOCHS, "batch_size": BATCH, "early_stopping": {"enabled": False}})
    hook = torch.nn.modules.module.register_module_forward_pre_hook(refuse)
    try:
        train_cell(Request(study, study.cells()[0], threads=1, attempt=1, say=lambda _line: None))
        yield events
    finally:
        hook.remove()


def test_events_fire_where_the_pseudocode_shows_them(fired: Fired) -> None:
    code = pseudocode()
    names = [name for name, _ in fired]
    assert sorted(shown(code)) == sorted(EVENTS), "the pseudocode shows each event once"
    assert set(names) == set(EVENTS), "this training has them all"
    assert list(dict.fromkeys(names[names.index("after_deviation") :])) == list(shown(code))
    assert re.fullmatch(pattern(code.body), "".join(f"{name} " for name in names)), names


def test_positions_are_those_of_the_pseudocode(fired: Fired) -> None:
    """A step and an epoch are counted before their event fires; what is undone is not."""
    at = {name: [position for each, position in fired if each == name] for name in EVENTS}
    steps = len(at["after_step"]) // EPOCHS
    assert at["after_step"] == [(epoch, step + 1) for epoch in range(EPOCHS) for step in range(steps)]
    assert at["after_deviation"] == [(0, 3)]
    assert set(at["during_validation"]) == {(epoch, steps) for epoch in range(EPOCHS)}
    assert at["after_epoch"] == [(epoch + 1, 0) for epoch in range(EPOCHS)]
    assert at["after_training"] == [(EPOCHS, 0)]
