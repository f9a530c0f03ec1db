"""Names of metrics and params: those of runs that another script logged, translated into ours."""

import math
import re
from collections.abc import Mapping, Sequence

from resomap.core.errors import ResomapError

SPLIT_OF_WORD = {"test": "test", "val": "val", "valid": "val", "validation": "val"}
# Names of metrics as scripts write them, without split and `best`; what is not here is told by --metric.
QUALITIES = {
    "accuracy": ("accuracy", "acc", "acc1", "top1", "top1_accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "balanced_acc", "bal_acc", "bacc"),
    "macro_f1": ("macro_f1", "f1_macro", "f1", "f1_score", "macro_f1_score", "f1_score_macro"),
    "macro_precision": ("macro_precision", "precision", "precision_macro"),
    "macro_recall": ("macro_recall", "recall", "recall_macro"),
    "auroc": ("auroc", "auc", "roc_auc"),
    "loss": ("loss",),
}
PARAMS = {"lr": "learning_rate", "num_epochs": "epochs", "n_epochs": "epochs", "bs": "batch_size", "wd": "weight_decay"}


def meanings(pairs: Sequence[str]) -> dict[str, str]:
    """Parse `acc=test/accuracy` into {acc: test/accuracy}. Raises ResomapError for a metric that ResoMap has not."""
    given = {}
    for pair in pairs:
        theirs, _, ours = pair.partition("=")
        split, _, quality = ours.partition("/")
        if split not in SPLIT_OF_WORD.values() or quality not in QUALITIES or not theirs:
            valid = ", ".join(QUALITIES)
            raise ResomapError(f"--metric {pair} must be THEIRS=test/NAME or THEIRS=val/NAME, with NAME one of {valid}")
        given[theirs] = ours
    return given


def our_metrics(metrics: Mapping[str, float], given: Mapping[str, str]) -> tuple[dict[str, float], list[str]]:
    """Return a run's metrics under our names, and notes of what was assumed.

    Unknown, impossible and training metrics are left out. Of several of one meaning the one that was named counts,
    then the one called `best`.
    """
    found: dict[str, tuple[int, float]] = {}
    notes = []
    for theirs, value in sorted(metrics.items()):
        words = [word for word in re.split(r"[^a-z0-9]+", theirs.lower()) if word]
        ours, rank = given.get(theirs) or _guessed_name(words), 2 if theirs in given else int("best" in words)
        if ours is None or not math.isfinite(value) or value < 0:
            continue
        if not ours.endswith("/loss") and value > 1:
            if value > 100:
                continue
            value /= 100
            notes.append(f"{theirs} is taken for percent")
        if ours not in found or rank > found[ours][0]:
            found[ours] = (rank, value)
    return {name: value for name, (_, value) in found.items()}, notes


def _guessed_name(words: Sequence[str]) -> str | None:
    splits = [SPLIT_OF_WORD[word] for word in words if word in SPLIT_OF_WORD]
    quality = "_".join(word for word in words if word not in SPLIT_OF_WORD and word not in ("best", "final"))
    known = [ours for ours, names in QUALITIES.items() if quality in names]
    return f"{splits[0]}/{known[0]}" if len(splits) == 1 and known else None


def our_params(params: Mapping[str, str]) -> dict[str, str]:
    """Return a run's params, those with a common other name under ours."""
    return {PARAMS.get(name, name): str(value) for name, value in params.items()}
