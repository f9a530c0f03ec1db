"""Places of the libraries' pretrained weights.

`python -m resomap.models.weights_places` reads ["model", ...] as JSON from its standard input and prints
{"model": {"url": ...} or {"hub": repository, "file": name or null}, or the sentence on why there are none}.
"""

import json
import sys
from typing import Any

import timm
import torchvision

from resomap.core.errors import ResomapError
from resomap.models.index import ModelEntry
from resomap.models.survey import entry_of


def place_of(entry: ModelEntry) -> dict[str, Any]:
    """Return the address of a model's pretrained weights. Raises ResomapError where its library has none."""
    if entry.library == "torchvision":
        weights = torchvision.models.get_model_weights(entry.name).__members__.get("DEFAULT")
        if weights is None:
            raise no_weights(entry)
        return {"url": weights.url}
    cfg = timm_cfg(entry)
    return {"hub": cfg.hf_hub_id, "file": cfg.hf_hub_filename} if cfg.hf_hub_id else {"url": str(cfg.url)}


def timm_cfg(entry: ModelEntry) -> Any:
    """Return timm's record of a model's pretrained weights. Raises ResomapError where it has none."""
    cfg = timm.models.get_pretrained_cfg(entry.name)
    if cfg is None or not cfg.has_weights:
        raise no_weights(entry)
    return cfg


def no_weights(entry: ModelEntry) -> ResomapError:
    """Return the error for a model without pretrained weights, which names one with them."""
    tagged = timm.list_models(f"{entry.name.partition('.')[0]}.*", pretrained=True)
    instead = f", or train '{tagged[0]}'" if tagged else ""
    return ResomapError(
        f"{entry.library} has no pretrained weights for {entry.name}; set training.weights to null or to a "
        f"file{instead}"
    )


def _answers(names: list[str]) -> dict[str, dict[str, Any] | str]:
    found: dict[str, dict[str, Any] | str] = {}
    for name in names:
        try:
            found[name] = place_of(entry_of(name))
        except ResomapError as error:
            found[name] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(_answers(json.load(sys.stdin))))
