"""Settings as they enter fingerprints and other digests, so that a new configuration key makes nothing stale.

A key that recipe version 2 knew enters with its value. Any later key enters only where it is not at its default: a
study that does not use the key keeps its fingerprints, and nothing that is finished trains, is measured or is drawn
anew. So adding a key to the schema takes no line here; the frozen list below never grows. In return the default of a
later key may not change without a rise of the recipe's version, because digests do not hold it.
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from resomap import RECIPE_VERSION
from resomap.config.schema import WARMUP_SHARE, Training
from resomap.config.values import UNHASHED

# Section, and the keys of it that recipe version 2 knew. Frozen: digests of finished studies rest on it.
_VERSION_2 = {
    "data": "source split_seed groups problems fit on_disk keep_train workers",
    "data.split": "train val test",
    "training": "epochs batch_size microbatch optimizer learning_rate weight_decay momentum schedule warmup_epochs "
    "min_learning_rate gradient_clip label_smoothing class_weights ema_decay dropout weights amp channels_last monitor",
    "training.early_stopping": "enabled patience min_delta warmup_epochs",
    "training.augment": "hflip vflip rotate90 scale degrees brightness contrast erase mixup",
    "cost": "seconds least_runs largest_batch",
    "report": "metric margin",
    "budget": "latency_ms memory_mb flops params",
}
KEYS_OF_VERSION_2 = frozenset(f"{section}.{name}" for section, names in _VERSION_2.items() for name in names.split())


def recipe_version(training: Training) -> int:
    """Return the version of one recipe, which rises where the same settings now train to other numbers.

    It enters the fingerprint and never `base`, so a change that touches some recipes leaves the others finished, and
    one query still finds all cells of a study.
    Version 3: balanced class weights with soft targets weigh an image by its true class and leave the target as it is.
    Version 4: a warm-up longer than WARMUP_SHARE of the training is cut to that.
    Version 5: random crops are taken of images that are stored larger for it.
    """
    if training.augment.scale < 1:
        return 5
    if training.warmup_epochs > WARMUP_SHARE * training.epochs:
        return 4
    is_soft = training.label_smoothing > 0 or training.augment.mixup > 0
    return 3 if training.class_weights == "balanced" and is_soft else RECIPE_VERSION


def hashed(section: BaseModel, name: str) -> dict[str, Any]:
    """Return the settings of a section of the configuration (`training`, `report`, ...) as they enter a digest.

    Presets enter expanded: a key that only stands for values of others (marked `UNHASHED` in the schema) is left out.
    """
    return _kept(section, name, lambda key, is_default: key in KEYS_OF_VERSION_2 or not is_default)


def hashed_additions(section: BaseModel, name: str) -> dict[str, Any]:
    """Return only what keys later than recipe version 2 add to the digest; empty where all are at their defaults."""
    return _kept(section, name, lambda key, is_default: key not in KEYS_OF_VERSION_2 and not is_default)


def _kept(section: BaseModel, path: str, enters: Callable[[str, bool], bool]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    plain = section.model_dump()
    for name, field in type(section).model_fields.items():
        key, value = f"{path}.{name}", getattr(section, name)
        if UNHASHED in field.metadata:
            continue
        if isinstance(value, BaseModel):
            inner = _kept(value, key, enters)
            found |= {name: inner} if inner else {}
        elif enters(key, value == field.get_default(call_default_factory=True)):
            found[name] = plain[name]
    return found
