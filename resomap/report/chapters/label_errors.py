"""Images whose label is probably wrong, with pictures: judged by trainings that did not learn from them."""

from dataclasses import dataclass, field

import numpy as np

from resomap.report.material import Material
from resomap.report.thumbnails import Thumbnails
from resomap.statistics.label_errors import suspects

SHOWN = 48  # with a picture
LISTED = 500  # by name


@dataclass(frozen=True)
class Suspect:
    """An image whose label stands in doubt; shares are in %."""

    name: str
    label: str
    own_share: str  # that the label gets
    said: str  # the class that the trainings say
    share: str
    picture: str | None = None  # as data


@dataclass(frozen=True)
class LabelErrors:
    """The chapter's content; `reason` says why there is none, or is empty."""

    images: int = 0  # that were judged
    trainings: int = 0
    has_folds: bool = False
    found: int = 0
    shown: list[Suspect] = field(default_factory=list)
    listed: list[Suspect] = field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True)
class Judged:
    """Images outside the training splits of those who judge them: names, labels int [N], mean probabilities [N, K]."""

    names: list[str]
    classes: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    trainings: int


def label_errors(material: Material, thumbnails: Thumbnails) -> LabelErrors:
    """Return the suspects among all validation images, with folds among all images outside the test split."""
    judged = judged_images(material)
    if judged is None:
        return LabelErrors(reason="No finished training has its validation predictions here yet.")
    try:
        found = suspects(judged.labels, judged.probabilities)
    except ImportError:
        return LabelErrors(reason="The package cleanlab, which finds them, is not installed: `pip install cleanlab`.")
    if found is None:
        return LabelErrors(reason="The validation images are too few, or of one class, to find wrong labels.")
    listed = [_suspect(judged, int(index)) for index in found.order[:LISTED]]
    with_pictures = [Suspect(**{**vars(one), "picture": thumbnails.of(one.name)}) for one in listed[:SHOWN]]
    return LabelErrors(
        images=len(judged.names),
        trainings=judged.trainings,
        has_folds=material.evidence.study.config.data.folds is not None,
        found=len(found.order),
        shown=with_pictures,
        listed=listed,
    )


def judged_images(material: Material) -> Judged | None:
    """Return the validation images of all trainings, each with the mean probabilities of those that judged it."""
    known = [one.predictions for one in material.evidence.trained if one.predictions is not None]
    if not known:
        return None
    classes = known[0].classes
    known = [one for one in known if one.classes == classes]
    index: dict[str, int] = {}
    for one in known:
        for name in one.splits["val"].names:
            index.setdefault(name, len(index))
    names = sorted(index)
    row = {name: number for number, name in enumerate(names)}
    sums, counts = np.zeros((len(names), len(classes))), np.zeros(len(names))
    labels = np.zeros(len(names), dtype=np.int64)
    for one in known:
        part = one.splits["val"]
        rows = np.array([row[name] for name in part.names], dtype=np.int64)
        sums[rows] += part.probabilities
        counts[rows] += 1
        labels[rows] = part.labels
    return Judged(names, classes, labels, sums / np.maximum(1, counts)[:, None], len(known)) if names else None


def _suspect(judged: Judged, index: int) -> Suspect:
    shares, label = judged.probabilities[index], judged.labels[index]
    others = shares.copy()
    others[label] = -1
    said = int(others.argmax())
    return Suspect(
        judged.names[index], judged.classes[label], f"{shares[label]:.0%}", judged.classes[said], f"{shares[said]:.0%}"
    )
