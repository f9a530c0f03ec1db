"""Chapter of the winner: what it is made of, its figures on test, and how often these test images were looked at."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from resomap.cells import winner_record
from resomap.cells.evaluation_record import predictions_path
from resomap.cells.marker import Marker
from resomap.cells.predictions import Predictions
from resomap.cells.winner_cell import JUDGED_BY, REFIT, Begun, Winner, begun
from resomap.evaluation.uncertainty import image_intervals
from resomap.report.blocks import Words
from resomap.report.material import Material, in_words
from resomap.winner.recommended import other_recommendation

_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def winner(material: Material) -> list[Words]:
    """Return the paragraphs of the finished winner of these settings; none where there is none."""
    study = material.evidence.study
    found = begun(study)
    if found is None or found.marker is None:
        return []
    sentences = [_what(found), _tested(material, found.marker), _place(found.marker), _reading(found)]
    notes = [Words(" ".join(sentence for sentence in sentences if sentence))]
    other = other_recommendation(study, found.choice)
    return notes + ([Words(other[:1].upper() + other[1:] + ".")] if other else [])


def _what(found: Begun) -> str:
    choice, told = found.choice, ", ".join(found.choice.trainings)
    if choice.kind != REFIT:
        return (
            f"The winner is an ensemble of {told}: their probabilities are averaged. Validation images chose the "
            "epochs of its members, so that outside the test split nothing honest is known of it, and it is ranked "
            "against nothing."
        )
    return (
        f"The winner is {choice.position}, trained on train and validation images together for {choice.epochs} epochs, "
        f"the median of those that its trainings chose ({told})."
    )


def _tested(material: Material, marker: Marker) -> str:
    metric = material.map.metric
    name = metric if f"test/{metric}" in marker.metrics else "balanced_accuracy"
    value = marker.metrics.get(f"test/{name}")
    if value is None:
        return ""
    interval = _intervals(marker).get(name)
    brackets = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    return f"On test images its {in_words(name)} is {value:.3f}{brackets}."


def _intervals(marker: Marker) -> Mapping[str, Any]:
    """Return 95 % intervals by metric for other images; empty where its predictions are not here."""
    found = Predictions.load(predictions_path(Winner.of_any_cell()), JUDGED_BY)
    if found is None or not marker.is_of(found.fingerprint, found.uid):
        return {}
    part = found.splits["test"]
    metrics = {name.removeprefix("test/"): value for name, value in marker.metrics.items()}
    return image_intervals(part.log_probabilities, np.asarray(part.labels), metrics, part.groups)


def _place(marker: Marker) -> str:
    """Return which winner it is on these test images: one that was taken for its test figure is flattered by it."""
    found = winner_record.place_of(marker.uid)
    if found is None:
        return ""
    place, count = found
    word = _PLACES[place - 1] if place <= len(_PLACES) else f"{place}th"
    if count == 1:
        return "It is the first winner evaluated on this test split."
    return (
        f"It is the {word} winner evaluated on this test split, of {count} so far: whoever takes the one with the best "
        f"test figure has chosen on test, and that figure is too high (`{winner_record.PATH}` has them all)."
    )


def _reading(found: Begun) -> str:
    choice = found.choice
    threshold = f" and the threshold for {choice.positive}" if choice.threshold is not None else ""
    return (
        f"Its temperature ({choice.temperature:.2f}){threshold} is transferred: chosen on {choice.images:,} validation "
        "predictions of those trainings."
        if choice.images
        else "No validation predictions of its trainings are here, so that its answers are read at temperature 1."
    )
