"""Whether a model takes a resolution, and how large its weights are: known before the grid starts and without
importing the libraries.
"""

import sys
from collections.abc import Iterable

from resomap.errors import ResomapError
from resomap.models.cache import ask_process, read_cache, writable_cache, write_cache


def require_supported(pairs: Iterable[tuple[str, int]]) -> None:
    """Check that every (model, resolution in pixels) can be built and run: seconds where one is new.

    The names must be known (`ModelIndex.entry`). Raises ResomapError naming every pair that fails, with the
    library's reason and the nearest resolution that works.
    """
    answers = _ask(pairs)
    # A number says that it works; a text says why not.
    reasons = [answer for answer in answers.values() if isinstance(answer, str)]
    if reasons:
        raise ResomapError("; ".join(dict.fromkeys(reasons)))


def weight_bytes(model: str, resolution: int) -> int:
    """Bytes of a model's state dict in float32, built for two classes and this resolution in pixels."""
    answer = _ask([(model, resolution)])[model, resolution]
    return answer if isinstance(answer, int) else 0


def _ask(pairs: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int | str]:
    wanted = list(dict.fromkeys(pairs))
    known = read_cache("fits")
    if any(_key(pair) not in known for pair in wanted):
        with writable_cache("fits") as path:
            known = read_cache("fits")
            missing = [pair for pair in wanted if _key(pair) not in known]
            if missing:
                if len(missing) > 5:
                    print(f"resomap: trying {len(missing)} models and resolutions, once ...", file=sys.stderr)
                known = {**known, **ask_process("resomap.models.probe", missing)}
                write_cache(path, known)
    return {pair: known[_key(pair)] for pair in wanted}


def _key(pair: tuple[str, int]) -> str:
    return f"{pair[0]}@{pair[1]}"
