"""The name of the rule that trains, also where another workflow uses it as a module under a longer name."""

NAME = "train"


def is_training(rule: str) -> bool:
    """Return True for `train` and for what `use rule * from resomap as x_*` makes of it."""
    return rule == NAME or rule.endswith(f"_{NAME}")
