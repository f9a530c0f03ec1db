"""Tables of the report: resolutions, what is missing, the origin of each training."""

from datetime import UTC, datetime

from resomap.report.blocks import Table
from resomap.report.material import Material, name, quality, training_name, training_number
from resomap.summary.document import Training

_RUN_DIGITS = 8


def resolutions(material: Material) -> Table | None:
    """Return the table of each model's best resolution and those that cannot be told from it."""
    rows = []
    for one in material.map.model_resolutions:
        claims = ", ".join(f"{claim.better} > {claim.worse}" for claim in one.claims)
        alike = ", ".join(map(str, one.alike))
        rows.append([one.model, str(one.best), alike, claims or "none"])
    if not rows:
        return None
    noise = all(one.includes_training_noise for one in material.map.model_resolutions)
    note = "On validation, simultaneous over all models. " + (
        "A claim holds for training at these resolutions again."
        if noise
        else "With one seed a cell training noise is unknown, so nothing can be claimed about training at a resolution."
    )
    return Table(
        "The best resolution of each model",
        ["model", "best (px)", "not distinguishable from it (px)", "shown to be better (px)"],
        rows,
        ["text", "number", "text", "text"],
        note,
    )


def missing(material: Material) -> Table | None:
    """Return the table of what the whole map would have, and why it is not there."""
    rows = [
        [
            f"{gap.model} @ {gap.resolution} px" + ("" if gap.seed is None else f", {training_name(gap)}"),
            gap.what,
            gap.reason,
        ]
        for gap in material.map.missing
    ]
    if not rows:
        return None
    return Table("What is missing, and why", ["cell", "what", "why"], rows, ["text", "text", "text"])


def deviations(material: Material) -> Table | None:
    """Return the table of trainings that are not, to the bit, as an uninterrupted one would have been, and why."""
    rows = [
        [_training(one), "; ".join(one.exact_reasons) or "its marker gives no reason"]
        for one in material.map.trainings
        if not one.exact
    ]
    if not rows:
        return None
    return Table(
        "What was deviated from",
        ["training", "why it is not repeatable to the bit"],
        rows,
        ["text", "text"],
    )


def origins(material: Material) -> Table | None:
    """Return the table of where each training comes from."""
    metric = f"test/{material.map.metric}"
    rows = [
        [
            name(one),
            training_number(one),
            "here" if one.origin == "local" else "tracker",
            _time(one.finished_at),
            "–" if one.epochs is None else f"{one.epochs}",
            "–" if one.best_epoch is None else f"{one.best_epoch}",
            quality(one.metrics.get(metric)),
            "yes" if one.exact else "no",
            one.device or "–",
            one.fingerprint,
            (one.run_id or "–")[:_RUN_DIGITS],
        ]
        for one in material.map.trainings
    ]
    if not rows:
        return None
    return Table(
        "Every training, and where it comes from",
        [
            *("cell", "seed", "trained", "finished (UTC)", "epochs", "used epoch", f"test {material.metric}", "exact"),
            *("device", "fingerprint", "run"),
        ],
        rows,
        ["text", "number", "text", "nowrap", "number", "number", "number", "text", "text", "code", "code"],
        "The fingerprint stands for all that decides the result: settings, seed, images, recipe. The run is the one "
        "in the tracker.",
    )


def _training(one: Training) -> str:
    return f"{name(one)}, {training_name(one)}"


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
