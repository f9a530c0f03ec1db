"""Pretrained weights of the libraries (`weights: default`): fetched before, from their cache, else downloaded."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import safetensors.torch
import timm
import torch
import torchvision
from huggingface_hub import constants
from torch import Tensor, nn

from resomap.core.errors import ResomapError
from resomap.core.files import file_digest
from resomap.models.index import ModelEntry
from resomap.models.size_options import size_options
from resomap.models.weights import NamedState, read_weights
from resomap.models.weights_fit import fit_weights, head_tensors
from resomap.models.weights_places import no_weights, timm_cfg
from resomap.models.weights_reach import does_answer
from resomap.models.weights_store import Origin, origin_of, store, stored_file

STALL_SECONDS = 15.0  # without a single byte, after which a download counts as failed


def load_default(
    entry: ModelEntry, model: nn.Module, resolution: int, num_classes: int, directory: Path | None = None
) -> tuple[list[str], Origin]:
    """Load the library's pretrained weights into a network of `construct`; return notes as `fit_weights` does, and
    where they come from.

    They are looked for in the directory of fetched weights, in installed packages, in the library's cache and at the
    hub. Leaves torch's global generator as it was. Raises ResomapError: the library has no weights for the name,
    or they are nowhere and out of reach.
    """
    if (path := stored_file(directory, entry.name)) is not None:
        return fit_weights(entry, model, read_weights(str(path)).states, f"{path.name}"), origin_of(path)
    # The libraries fill a network of their own making, with all they know about it, whose tensors are taken.
    with torch.random.fork_rng(devices=[]):
        of_timm = entry.library == "timm"
        state = _timm_state(entry, resolution, num_classes) if of_timm else _torchvision_state(entry)
    notes = fit_weights(entry, model, [NamedState("", state)], f"{entry.library}'s weights of {entry.name}")
    return notes, _cached_origin(entry)


def fetch_default(entry: ModelEntry, directory: Path) -> tuple[Path, Origin]:
    """Keep the library's pretrained weights in the directory, with their origin; return the file and its origin.

    Raises ResomapError as `load_default` does, and OSError.
    """
    if entry.library == "timm":
        cfg = timm_cfg(entry)
        state = _timm_state(entry, cfg.input_size[-1], cfg.num_classes)
    else:
        state = _torchvision_state(entry)
    origin = _cached_origin(entry)
    own = {name: tensor.contiguous() for name, tensor in state.items()}
    metadata = {"origin": origin.place, "origin_digest": origin.digest or "", "model": entry.name}
    path = store(directory, entry.name, safetensors.torch.save(own, metadata))
    return path, origin_of(path)


def _cached_origin(entry: ModelEntry) -> Origin:
    """Return the address of weights that the library has just loaded, and the digest of the file in its cache."""
    cached: str | Path | None = None
    if entry.library == "torchvision":
        place = torchvision.models.get_model_weights(entry.name).__members__["DEFAULT"].url
        cached = Path(torch.hub.get_dir(), "checkpoints", place.rpartition("/")[2])
    else:
        cfg = timm_cfg(entry)
        place = f"{constants.ENDPOINT}/{cfg.hf_hub_id}" if cfg.hf_hub_id else str(cfg.url)
        if cfg.hf_hub_id:
            found = huggingface_hub.try_to_load_from_cache(cfg.hf_hub_id, cfg.hf_hub_filename or "model.safetensors")
            cached = found if isinstance(found, str) else None
    is_there = cached is not None and Path(cached).is_file()
    return Origin(place, f"sha256:{file_digest(Path(cached))}" if cached and is_there else None)


def _torchvision_state(entry: ModelEntry) -> dict[str, Tensor]:
    weights = torchvision.models.get_model_weights(entry.name).__members__.get("DEFAULT")
    if weights is None:
        raise no_weights(entry)
    without_auxiliary = {"aux_logits": False} if entry.name in ("googlenet", "inception_v3") else {}
    with _failing_fast(entry, weights.url):
        return torchvision.models.get_model(entry.name, weights=weights, **without_auxiliary).state_dict()


def _timm_state(entry: ModelEntry, resolution: int, num_classes: int) -> dict[str, Tensor]:
    cfg = timm_cfg(entry)
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
            f"the pretrained weights of {entry.name} ({source}) could not be loaded: {reason}; fetch them where "
            f"there is a network (`resomap weights fetch {entry.name} --directory DIR`), or download them elsewhere "
            "and give the file's path as training.weights, or set it to null"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _offline_where_unreachable() -> Iterator[None]:
    """Put the hub's client into offline mode where its server does not answer: it would try for a minute."""
    before = constants.HF_HUB_OFFLINE
    try:
        constants.HF_HUB_OFFLINE = before or not does_answer(constants.ENDPOINT)
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
