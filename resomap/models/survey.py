"""Survey of the classifiers of torchvision and timm; `python -m resomap.models.survey` prints them as JSON."""

import functools
import json

import timm
import torchvision
from timm.models import get_arch_name, get_pretrained_cfg, model_entrypoint

from resomap.models.index import ModelEntry, ModelIndex

FAMILIES = ("vgg", "resnet", "mobilenet", "efficientnet", "convnext")
# torchvision's networks with a table of positions or windows of one size.
FIXED_INPUT_MODULES = ("vision_transformer", "maxvit")


def family_of(name: str, module: str) -> str:
    """Return one of FAMILIES by the start of the model's name or of its module's, else the module's name.

    `tf_efficientnet_lite0` is an efficientnet; `wide_resnet50_2`, which lies in `resnet.py`, is a resnet.
    """
    for candidate in (name.removeprefix("tf_"), module):
        for family in FAMILIES:
            if candidate.startswith(family):
                return family
    return module


@functools.cache
def installed_models() -> ModelIndex:
    """Return the index, from the libraries themselves: for processes that have imported them anyway."""
    return ModelIndex(survey())


def survey() -> dict[str, tuple[str, str, bool]]:
    """Return name -> (library, family, fixed_input) of every classifier, torchvision's first."""
    rows: dict[str, tuple[str, str, bool]] = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        module = torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]
        rows[name] = ("torchvision", family_of(name, module), module in FIXED_INPUT_MODULES)
    for name in (*timm.list_models(), *timm.list_models(pretrained=True)):
        if name in rows:
            continue
        module = model_entrypoint(name).__module__.rpartition(".")[2]
        cfg = get_pretrained_cfg(name)
        rows[name] = ("timm", family_of(get_arch_name(name), module), bool(cfg and cfg.fixed_input_size))
    return rows


def entry_of(name: str) -> ModelEntry:
    """Return the entry of a name, from the libraries themselves. Raises ResomapError for an unknown one."""
    return installed_models().entry(name)


if __name__ == "__main__":
    print(json.dumps(survey()))
