"""Recipes by name: the values of `training` keys that `training.recipe` stands for."""

from collections.abc import Mapping
from typing import Any, Literal

RecipeName = Literal["scratch", "finetune", "linear_probe"]

# Every recipe has the same keys, so that one in `overrides` leaves nothing of another behind. Those of `scratch` are
# the schema's defaults (a test holds them together). The others' are starting points: docs/recipes.md.
RECIPES: dict[RecipeName, dict[str, Any]] = {
    "scratch": {
        "weights": None,
        "epochs": 25,
        "learning_rate": 0.001,
        "layer_decay": None,
        "freeze_epochs": 0,
        "trainable": "all",
        "warmup_epochs": 1.0,
        "ema_decay": None,
        "augment": {"hflip": 0.5, "scale": 1.0, "brightness": 0.0, "contrast": 0.0},
    },
    "finetune": {
        "weights": "default",
        "epochs": 10,
        "learning_rate": 0.001,
        "layer_decay": 0.9,
        "freeze_epochs": 1,
        "trainable": "all",
        "warmup_epochs": 1.0,
        "ema_decay": 0.99,
        "augment": {"hflip": 0.5, "scale": 0.7, "brightness": 0.1, "contrast": 0.1},
    },
    "linear_probe": {
        "weights": "default",
        "epochs": 40,
        "learning_rate": 0.003,
        "layer_decay": None,
        "freeze_epochs": 0,
        "trainable": "head",
        "warmup_epochs": 1.0,
        "ema_decay": None,
        "augment": {"hflip": 0.0, "scale": 1.0, "brightness": 0.0, "contrast": 0.0},
    },
}
# Those keys, with dots: `learning_rate`, `augment.scale`.
NAMED_KEYS = frozenset(
    f"{name}.{inner}" if inner else name
    for name, value in RECIPES["scratch"].items()
    for inner in (value if isinstance(value, dict) else [""])
)


def recipe_values(name: object) -> dict[str, Any]:
    """Return the values that a recipe stands for; none for what is no recipe's name."""
    return next((values for known, values in RECIPES.items() if known == name), {})


def expanded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `training` with those of their recipe where none is given; an unknown name adds nothing."""
    named = recipe_values(values.get("recipe", "scratch"))
    merged = dict(values)
    for name, value in named.items():
        given = values.get(name)
        if name not in values:
            merged[name] = dict(value) if isinstance(value, dict) else value
        elif isinstance(value, dict) and isinstance(given, Mapping):
            merged[name] = {**value, **given}
    return merged
