"""Operating points in the report: each training's decisions for the positive class, and at another prevalence."""

from resomap.report.blocks import Align, Table
from resomap.report.material import Material, in_words, interval, name, quality, training_number
from resomap.summary.document import OperatingPoint

_NUMBER: Align = "number"


def operating_points(material: Material) -> Table | None:
    """Return the table of thresholds with what they hold on test; None where no operating point is asked for."""
    found = [one for one in material.map.operating_points if one.threshold is not None]
    if not found:
        return None
    first = found[0]
    rows = [
        [
            *_training(one),
            f"{one.threshold:.3f}",
            quality(one.validation),
            interval(one.test),
            interval(one.held),
        ]
        for one in found
    ]
    words = in_words(str(first.metric))
    return Table(
        f"Operating point: {words} {first.at:g}, {first.positive} against the rest",
        ["cell", "seed", "threshold (log odds)", f"validation {words}", f"test {words}", f"{first.holds} on test"],
        rows,
        ["text", _NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER],
        f"An image is called {first.positive} where log p - log(1 - p) is above the threshold, which is chosen on "
        "validation. Validation values judge each image at a threshold that other images chose. On test the interval "
        f"of the metric holds for a {first.holds} of exactly {first.at:g}, so the choice of the threshold is in it; "
        f"that of the {first.holds} speaks of this threshold. Brackets are 95 % intervals of each training alone.",
    )


def at_prevalence(material: Material) -> Table | None:
    """Return the table of accuracy and predictive values at `report.prevalence`; None where none is given."""
    found = [one for one in material.map.operating_points if one.prevalence is not None]
    if not found:
        return None
    first = found[0]
    rows = [
        [
            *_training(one),
            interval(one.sensitivity),
            interval(one.specificity),
            interval(one.accuracy),
            interval(one.ppv),
            interval(one.npv),
        ]
        for one in found
    ]
    how = "at the threshold above" if first.threshold is not None else "where it is the likeliest class"
    return Table(
        f"Where {first.prevalence:.3g} of the images are {first.positive}",
        ["cell", "seed", "sensitivity", "specificity", "accuracy", "PPV", "NPV"],
        rows,
        ["text", *[_NUMBER] * 6],
        f"Test images; an image is called {first.positive} {how}. Sensitivity and specificity do not depend on the "
        "prevalence; accuracy and the predictive values are worked out from them for it. PPV: of the images called "
        f"{first.positive}, the share that is. Brackets are 95 % intervals of each training alone.",
    )


def _training(one: OperatingPoint) -> list[str]:
    """Return the first columns of a row: the training's square and its seed."""
    return [name(one), training_number(one)]
