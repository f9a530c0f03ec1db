"""Answer as plain values, and the answers on the terminal: a table, or JSON for programs."""

from collections.abc import Iterable, Sequence
from typing import IO, Any

import numpy as np

from resomap.cells.decision import OperatingPoint
from resomap.core.files import strict_json
from resomap.core.text import encodable
from resomap.prediction.image_answers import Answer
from resomap.prediction.networks import Network

Row = dict[str, Any]


def row_of(answer: Answer, network: Network, top: int) -> Row:
    """Return `image` with its `predictions`, likeliest first, or `error`.

    With an operating point also `log_odds` of its class, and `positive`: whether they are above its threshold.
    """
    image = encodable(answer.image)
    if answer.shares is None:
        return {"image": image, "error": answer.error}
    ranked = _ranked(answer.shares, network.classes, top)
    row = {"image": image, "predictions": [{"class": name, "probability": share} for name, share in ranked]}
    if (point := network.point) is None:
        return row
    odds = answer.log_odds(network.classes.index(point.positive))
    return {**row, "log_odds": odds, "positive": answer.is_positive(network.classes, point)}


def write_document(answers: Iterable[Answer], network: Network, top: int, stream: IO[str]) -> None:
    """Write strict JSON: facts of the weights, and a row for each image."""
    rows = [row_of(answer, network, top) for answer in answers]
    stream.write(strict_json(network.facts() | {"images": rows}) + "\n")


def write_table(answers: Iterable[Answer], network: Network, top: int, stream: IO[str]) -> None:
    """Write a table with a row for each image that could be read: its likeliest classes with their probabilities.

    With an operating point it says first whether the image is called its class.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    classes, point = network.classes, network.point
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    verdict = [f"{point.positive}?"] if point else []
    for heading in ("image", *verdict, *(str(place) for place in range(1, min(top, len(classes)) + 1))):
        table.add_column(heading, no_wrap=True, overflow="ignore")
    for answer in answers:
        if answer.shares is not None:
            # As Text, because a name may hold brackets, which rich would read as markup.
            called = [Text(_yes(answer, classes, point))] if point else []
            ranked = (Text(f"{name} {share:.4f}") for name, share in _ranked(answer.shares, classes, top))
            table.add_row(Text(encodable(answer.image)), *called, *ranked)
    # Wide enough for every name: people copy them, and a pipe has no width of its own.
    console = Console(file=stream, highlight=False)
    console.width = max(console.width, console.measure(table, options=console.options.update(width=10_000)).maximum)
    console.print(table)


def _yes(answer: Answer, classes: Sequence[str], point: OperatingPoint) -> str:
    return "yes" if answer.is_positive(classes, point) else "no"


def _ranked(shares: np.ndarray, classes: Sequence[str], top: int) -> list[tuple[str, float]]:
    order = np.argsort(-shares, kind="stable")[:top]
    return [(encodable(classes[index]), float(shares[index])) for index in order]
