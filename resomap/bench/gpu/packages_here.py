"""Packages that ResoMap uses: their versions here, and what `bench --gpu` does without each that is missing."""

import importlib.util
from importlib.metadata import PackageNotFoundError, version

NEEDED = ("torch", "torchvision", "timm", "numpy", "pillow", "scipy", "scikit-learn", "pydantic", "pyyaml", "psutil")
# Import name, distribution, and what is done without it.
OPTIONAL = (
    ("snakemake", "snakemake", "the workflow is not needed here"),
    ("mlflow", "mlflow", "trainings keep their journals, which nobody sends to a tracker"),
    ("altair", "altair", "the report, and its charts, are not needed here"),
    ("rich", "rich", "the table is plain Markdown anyway"),
    ("elpv_dataset", "elpv-dataset", "images are drawn, as always here"),
    ("pynvml", "nvidia-ml-py", "the driver is asked through its own library"),
)


def versions_here() -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found = {}
    for name in (*NEEDED, *(distribution for _, distribution, _ in OPTIONAL)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def missing_here() -> dict[str, str]:
    """Return what is done without it, by the name of each package that is missing."""
    return {name: without for module, name, without in OPTIONAL if importlib.util.find_spec(module) is None}
