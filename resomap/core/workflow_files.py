"""The workflow's own files: Snakefile, rules, default configuration and profiles, of a clone or an installed package.

A clone has them at its top; the build of a wheel copies them into the package. A Snakefile of ResoMap is told from
other people's by one of its first lines. Only the standard library is imported: every Snakemake of the environment
loads this.
"""

from pathlib import Path

import resomap

# One of the first lines of the Snakefile starts with this; other people's workflows are left alone.
MARKER = "# ResoMap"
MARKER_LINES = 5
# Below the Snakefile's folder: Snakemake's options that a ResoMap run has where nobody says otherwise.
PROFILE = Path("profiles", "resomap")
# Of a study: its configuration, which is read without being named.
OWN_CONFIGURATION = Path("resomap.yaml")
# Environment variables by which `resomap run` and `resomap plan` tell the Snakemake that they start: what was typed, in
# Snakemake's words, and the file that takes the map of the plan.
TYPED_AS = "RESOMAP_TYPED_AS"
PLAN_FILE = "RESOMAP_PLAN_FILE"

_PACKAGE = Path(resomap.__file__).resolve().parent
_INSTALLED = _PACKAGE / "_workflow"  # where setup.py puts them
FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent
SNAKEFILE = FOLDER / "Snakefile"


def is_ours(snakefile: Path) -> bool:
    """Return True if one of the Snakefile's first lines says that it is ResoMap's."""
    if not snakefile.is_file():
        return False
    with snakefile.open(errors="replace") as stream:
        return any(line.startswith(MARKER) for _, line in zip(range(MARKER_LINES), stream, strict=False))


def profile_of(snakefile: Path) -> Path | None:
    """Return the folder of ResoMap's profile: beside the Snakefile, else that of the workflow; None without any."""
    places = (snakefile.resolve().parent / PROFILE, FOLDER / PROFILE)
    return next((place for place in places if place.is_dir()), None)
