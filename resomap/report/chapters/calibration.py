"""Calibration chapter: whether confidences are to be believed, before and after temperature scaling."""

from resomap.report.blocks import Table
from resomap.report.material import Material, name, training_number
from resomap.summary.document import Calibrated, CalibrationError


def calibration(material: Material) -> Table | None:
    """Return the table of each training's calibration error; None where no evaluation of this version is here."""
    rows = [
        [name(one), "all folds", f"{one.calibration.temperature:.2f}", *_figures(one.calibration), *_figures(None)]
        for one in material.map.squares
        if one.calibration is not None
    ]
    for one in material.map.trainings:
        splits = [one.calibration.get(split) for split in ("val", "test")]
        first = splits[0]
        if first is not None:
            figures = [text for found in splits for text in _figures(found)]
            rows.append([name(one), training_number(one), f"{first.temperature:.2f}", *figures])
    if not rows:
        return None
    return Table(
        "Are confidences to be believed?",
        [
            *("cell", "seed", "temperature"),
            *("validation", "with temperature", "of 15 bins (if calibrated)"),
            *("test", "with temperature", "of 15 bins (if calibrated)"),
        ],
        rows,
        ["text", *("number",) * 8],
        "Calibration error in points: how far confidence is from the share of right answers, with its 95 % interval, "
        "which begins at 0 where the model may well be calibrated. `Of 15 bins` is the usual error, which noise "
        "enlarges, and in brackets what it comes to for calibrated models. The temperature is fitted on validation "
        "images, for which the error with it is that of images left out of the fit; `resomap predict` divides logits "
        "by it: above 1 answers become less sure.",
    )


def _figures(found: Calibrated | None) -> list[str]:
    if found is None:
        return ["–", "–", "–"]
    shown = found.as_trained
    binned = f"{shown.binned * 100:.1f} (≤ {shown.binned_if_calibrated * 100:.1f})" if shown else "–"
    return [_error(found.as_trained), _error(found.tempered), binned]


def _error(found: CalibrationError | None) -> str:
    return "–" if found is None else f"{found.error * 100:.1f} [{found.low * 100:.1f}, {found.high * 100:.1f}]"
