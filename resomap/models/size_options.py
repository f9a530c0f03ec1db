"""Builder options for the input size of a network that is built for one, in each library's own keyword."""

from typing import Any

import timm
import torchvision

from resomap.models.index import ModelEntry

# timm's networks that scale images of any size to their own: built for another one, their parts do not fit together.
RESCALING_FAMILIES = ("crossvit",)


def size_options(entry: ModelEntry, resolution: int) -> dict[str, Any]:
    """Return the builder's keyword for a fixed input size in pixels; empty where the network takes any."""
    if not entry.fixed_input:
        return {}
    if entry.library == "timm":
        if entry.family in RESCALING_FAMILIES:
            return {}
        cfg = timm.models.get_pretrained_cfg(entry.name)
        # Some of the fixed ones take no other size at all: they are left alone where theirs is wanted.
        same = cfg is not None and tuple(cfg.input_size[-2:]) == (resolution, resolution)
        return {} if same else {"img_size": resolution}
    module = torchvision.models.get_model_builder(entry.name).__module__
    return {"input_size": (resolution, resolution)} if module.endswith("maxvit") else {"image_size": resolution}
