"""Check of an optimizer's name before the grid starts, without importing timm."""

import sys
from collections.abc import Iterable

from resomap.core.errors import ResomapError
from resomap.core.text import nearest
from resomap.models.cache import ask_process, read_cache, writable_cache, write_cache

USUAL = "adamw"  # most studies have no other, and need to ask nobody
_LOOKAHEAD = "lookahead_"  # timm's prefix: the same optimizer inside Lookahead (Zhang et al. 2019)


def require_optimizers(names: Iterable[str]) -> None:
    """Check that timm knows each optimizer and that a training can use it; a new installation is asked once.

    Raises ResomapError naming the first that fails, with the nearest name or the reason.
    """
    wanted = {name.lower().removeprefix(_LOOKAHEAD): name for name in names}
    if set(wanted) <= {USUAL}:
        return
    known = _known()
    for name, given in wanted.items():
        if name not in known:
            match = nearest(name, known)
            hint = f"did you mean '{match}'?" if match else "common ones are adamw, sgd, nadamw, lamb, rmsprop"
            raise ResomapError(f"training.optimizer is '{given}', and timm has no such optimizer; {hint}")
        if not known[name]:
            raise ResomapError(
                f"training.optimizer is '{given}', which needs second derivatives, and a training here computes only "
                "first ones; common ones are adamw, sgd, nadamw, lamb, rmsprop"
            )


def _known() -> dict[str, bool]:
    """Return name -> whether a training can use it, of the installed timm."""
    if found := read_cache("optimizers"):
        return found
    with writable_cache("optimizers") as path:
        found = read_cache("optimizers")
        if not found:
            print("resomap: listing the optimizers of timm, once per installation ...", file=sys.stderr)
            found = ask_process("resomap.models.optimizers")
            write_cache(path, found)
    return found
