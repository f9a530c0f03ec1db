"""Whether a model takes a resolution, known before the grid starts and without importing the libraries."""

import sys
from collections.abc import Iterable

from resomap.errors import ResomapError
from resomap.models.cache import ask_process, read_cache, writable_cache, write_cache


def require_supported(pairs: Iterable[tuple[str, int]]) -> None:
    """Check that every (model, resolution in pixels) can be built and run: seconds where one is new.

    The names must be known (`ModelIndex.entry`). Raises ResomapError naming every pair that fails, with the
    library's reason and the nearest resolution that works.
    """
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
    # None says that it works; a text says why not.
    reasons = [known[_key(pair)] for pair in wanted if known[_key(pair)] is not None]
    if reasons:
        raise ResomapError("; ".join(dict.fromkeys(reasons)))


def _key(pair: tuple[str, int]) -> str:
    return f"{pair[0]}@{pair[1]}"
