"""Reach of the libraries' pretrained weights (`weights: default`), asked before a grid does anything: light."""

import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resomap.core.errors import ResomapError
from resomap.models.cache import ask_process, read_cache, writable_cache, write_cache
from resomap.models.weights_store import stored_file

REACH_SECONDS = 5.0  # for a server's first answer


def require_reachable(models: Iterable[str], directory: Path | None) -> None:
    """Check that each model's pretrained weights are on this machine, or that their server answers.

    `directory` is that of fetched weights. A model that was never asked for takes seconds, for the libraries know the
    addresses. Raises ResomapError, with all models at fault in one sentence.
    """
    wanted = [model for model in dict.fromkeys(models) if stored_file(directory, model) is None]
    without, unreached, answers = [], dict[str, list[str]](), dict[str, bool]()
    for model, place in _ask(wanted).items():
        if isinstance(place, str):
            without.append(place)
        elif not _is_here(place):
            server = _server(place)
            if server not in answers:
                answers[server] = does_answer(server)
            if not answers[server]:
                unreached.setdefault(server, []).append(model)
    sentences = [
        f"{server} does not answer, and the pretrained weights of {', '.join(names)} are not on this machine; fetch "
        f"them where there is a network (`resomap weights fetch {' '.join(names)} --directory DIR`) and set "
        "`weights_directory`, or set training.weights to a file or to null"
        for server, names in unreached.items()
    ]
    if without or sentences:
        raise ResomapError("; ".join([*without, *sentences]))


def does_answer(url: str) -> bool:
    """Return True if a server answers at all within seconds (through the proxies of the environment)."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=REACH_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # A certificate that only the hub's own client knows is a server that answers.
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, http.client.HTTPException):
        return False


def _ask(models: list[str]) -> dict[str, dict[str, Any] | str]:
    """Return where each model's weights are: `url`, or `hub` (repository) and `file`; or why there are none."""
    known = read_cache("weights") if models else {}
    if any(model not in known for model in models):
        with writable_cache("weights") as path:
            known = read_cache("weights")
            if missing := [model for model in models if model not in known]:
                known = {**known, **ask_process("resomap.models.weights_places", missing)}
                write_cache(path, known)
    return {model: known[model] for model in models}


def _is_here(place: dict[str, Any]) -> bool:
    """Return True if the library's cache has the file."""
    if "url" in place:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")  # as torch.hub.get_dir, without its import
        return Path(home, "hub", "checkpoints", place["url"].rpartition("/")[2]).expanduser().is_file()
    from huggingface_hub import try_to_load_from_cache

    names = [place["file"]] if place["file"] else ["model.safetensors", "pytorch_model.bin"]  # in timm's order
    return any(isinstance(try_to_load_from_cache(place["hub"], name), str) for name in names)


def _server(place: dict[str, Any]) -> str:
    if "url" in place:
        scheme, _, rest = place["url"].partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"
    from huggingface_hub import constants

    return constants.ENDPOINT
