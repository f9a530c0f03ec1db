"""Chapter of the winner: what it is made of, its figures on test, and how often these test images were looked at."""

import numpy as np

from resomap.cells import winner_record
from resomap.cells.evaluation_record import kept_predictions
from resomap.cells.marker import Marker
from resomap.cells.predictions import SplitPredictions
from resomap.cells.winner_cell import JUDGED_BY, REFIT, Begun, Choice, begun
from resomap.compute.thresholds import log_odds, share_at
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
    sentences = [_what(found), _tested(material, found), _place(found.marker), _reading(found)]
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


def _tested(material: Material, found: Begun) -> str:
    """Return the figures on test: the report's metric where a marker has it or a threshold decides, and accuracy."""
    marker, part = found.marker, _test_part(found)
    assert marker is not None
    if part is not None and (told := _at_threshold(material, found.choice, *part)):
        return told
    metric = material.map.metric
    name = metric if f"test/{metric}" in marker.metrics else "balanced_accuracy"
    value = marker.metrics.get(f"test/{name}")
    if value is None:
        return ""
    metrics = {one.removeprefix("test/"): number for one, number in marker.metrics.items()}
    interval = (
        image_intervals(part[0].log_probabilities, np.asarray(part[0].labels), metrics, part[0].groups).get(name)
        if part
        else None
    )
    brackets = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    return f"On test images its {in_words(name)} is {value:.3f}{brackets}."


def _at_threshold(material: Material, choice: Choice, part: SplitPredictions, classes: list[str]) -> str:
    """Return the metric of an operating point at the threshold that came with the choice; empty without one."""
    metric = choice.metric
    if choice.threshold is None or metric != material.map.metric or choice.positive not in classes:
        return ""
    index = classes.index(choice.positive)
    is_positive = np.asarray(part.labels) == index
    value = share_at(log_odds(part.log_probabilities, index) > choice.threshold, is_positive, metric)  # type: ignore[arg-type]
    if value is None:
        return ""
    return f"On test images its {in_words(metric)} {choice.at:g} for {choice.positive} is {value:.3f}."


def _test_part(found: Begun) -> tuple[SplitPredictions, list[str]] | None:
    """Return its predictions of the test images, and the classes; None where they are not here."""
    assert found.marker is not None
    kept = kept_predictions(found.cell, found.marker, found.cell.resolution, JUDGED_BY)
    return None if kept is None else (kept.splits["test"], kept.classes)


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
    threshold = f" and the threshold for {choice.positive} are" if choice.threshold is not None else " is"
    return (
        f"Its temperature ({choice.temperature:.2f}){threshold} transferred: chosen on {choice.images:,} validation "
        "predictions of those trainings."
        if choice.images
        else "No validation predictions of its trainings are here, so that its answers are read at temperature 1."
    )
