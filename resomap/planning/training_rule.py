"""The names of the rules that train, also where another workflow uses them as a module under longer names."""

NAME, WINNER, SEARCH = "train", "winner", "learning_rate"


def is_training(rule: str) -> bool:
    """Return True for `train` and `winner` and for what `use rule * from resomap as x_*` makes of them."""
    return _is(rule, NAME) or is_winner(rule)


def is_winner(rule: str) -> bool:
    """Return True for `winner`, whatever a module calls it."""
    return _is(rule, WINNER)


def is_rate_search(rule: str) -> bool:
    """Return True for `learning_rate`, whatever a module calls it."""
    return _is(rule, SEARCH)


def _is(rule: str, name: str) -> bool:
    return rule == name or rule.endswith(f"_{name}")
