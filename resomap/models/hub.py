"""Pretrained weights from the libraries themselves (`weights: default`): from their cache, else downloaded."""

import contextlib
import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator

import timm
import torch
import torchvision
from huggingface_hub import constants
from torch import Tensor, nn

from resomap.core.errors import ResomapError
from resomap.models.index import ModelEntry
from resomap.models.size_options import size_options
from resomap.models.weights import fit_weights, head_tensors

STALL_SECONDS = 15.0  # without a single byte, after which a download counts as failed
REACH_SECONDS = 5.0  # for the hub's first answer


def load_default(entry: ModelEntry, model: nn.Module, resolution: int, num_classes: int) -> list[str]:
    """Load the library's pretrained weights into a network of `construct`; return notes as `fit_weights` does.

    Leaves torch's global generator as it was. Raises ResomapError: the library has no weights for the name,
    or they are neither in its cache nor within reach.
    """
    # The libraries fill a network of their own making, with all they know about it, whose tensors are taken.
    with torch.random.fork_rng(devices=[]):
        of_timm = entry.library == "timm"
        state = _timm_state(entry, resolution, num_classes) if of_timm else _torchvision_state(entry)
    return fit_weights(entry, model, state, f"{entry.library}'s weights of {entry.name}")


def _torchvision_state(entry: ModelEntry) -> dict[str, Tensor]:
    weights = torchvision.models.get_model_weights(entry.name).__members__.get("DEFAULT")
    if weights is None:
        raise _no_weights(entry)
    without_auxiliary = {"aux_logits": False} if entry.name in ("googlenet", "inception_v3") else {}
    with _failing_fast(entry, weights.url):
        return torchvision.models.get_model(entry.name, weights=weights, **without_auxiliary).state_dict()


def _timm_state(entry: ModelEntry, resolution: int, num_classes: int) -> dict[str, Tensor]:
    cfg = timm.models.get_pretrained_cfg(entry.name)
    if cfg is None or not cfg.has_weights:
        raise _no_weights(entry)
    options = size_options(entry, resolution)
    source = f"{constants.ENDPOINT}/{cfg.hf_hub_id}" if cfg.hf_hub_id else str(cfg.url)
    with _failing_fast(entry, source), _offline_where_unreachable():
        network = timm.create_model(entry.name, pretrained=True, num_classes=num_classes, **options)
    state: dict[str, Tensor] = network.state_dict()
    if cfg.num_classes != num_classes:
        # timm left its own random head in place, which must not replace the one that the caller seeded.
        head = head_tensors(network)
        state = {name: tensor for name, tensor in state.items() if name not in head}
    return state


@contextlib.contextmanager
def _failing_fast(entry: ModelEntry, source: str) -> Iterator[None]:
    """Turn whatever a download raises into one sentence, and a silent server into an error after seconds."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    except Exception as error:  # three HTTP clients, their errors, a wrong checksum, a full disk
        reason = " ".join((str(error).strip() or type(error).__name__).split())
        reason = reason if len(reason) <= 160 else f"{reason[:157]}..."
        raise ResomapError(
            f"the pretrained weights of {entry.name} ({source}) could not be loaded: {reason}; download them "
            "elsewhere and give the file's path as training.weights, or set it to null"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _offline_where_unreachable() -> Iterator[None]:
    """Put the hub's client into offline mode where its server does not answer: it would try for a minute."""
    before = constants.HF_HUB_OFFLINE
    try:
        constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(url: str) -> bool:
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


def _no_weights(entry: ModelEntry) -> ResomapError:
    tagged = timm.list_models(f"{entry.name.partition('.')[0]}.*", pretrained=True)
    instead = f", or train '{tagged[0]}'" if tagged else ""
    return ResomapError(
        f"{entry.library} has no pretrained weights for {entry.name}; set training.weights to null or to a "
        f"file{instead}"
    )
