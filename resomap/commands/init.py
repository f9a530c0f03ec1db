"""`resomap init`: begin a study in a folder of its own, for images of one's own; no clone of ResoMap is needed."""

import argparse
import shutil
import sys
from pathlib import Path

from resomap.cells.resume_command import run_command
from resomap.commands import Commands
from resomap.core.errors import ResomapError
from resomap.core.files import write_text
from resomap.core.workflow_files import FOLDER, OWN_CONFIGURATION

# `include:` would leave the study without the target that is made where none is named.
SNAKEFILE = """\
# ResoMap study: settings in resomap.yaml; `snakemake -n` shows what remains, `snakemake` trains it.
from resomap.core.workflow_files import SNAKEFILE
workflow.include(str(SNAKEFILE), overwrite_default_target=True)
"""
SLURM = Path("profiles", "slurm", "config.yaml")


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add("init", run, "begin a study: a folder with Snakefile, configuration and profiles")
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="the study's folder; it is made where it is missing"
    )
    parser.add_argument("--data", required=True, metavar="SOURCE", help="what data.source takes: a folder, or elpv")
    parser.add_argument("--no-plan", action="store_true", help="write the files, and do not plan the grid")


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    from resomap.commands import plan
    from resomap.commands.study_proposal import as_yaml, look_at, propose

    place = given.directory
    for name in ("Snakefile", str(OWN_CONFIGURATION)):
        if (place / name).exists():
            raise ResomapError(f"{place / name} is there already: edit it, or begin the study in another folder")
    if place.exists() and not place.is_dir():
        raise ResomapError(f"{place} is no folder; name another one for the study")
    source = given.data if given.data == "elpv" else str(Path(given.data).expanduser().absolute())
    look = look_at(source)
    config = propose(source, look)
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / OWN_CONFIGURATION, as_yaml(config, look))
    (place / SLURM).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(FOLDER / SLURM, place / SLURM)
    write_text(place / "Snakefile", SNAKEFILE)  # last: from here on the folder is a study
    print(f"{source}: {look}")
    print(f"wrote {place / OWN_CONFIGURATION}, {place / 'Snakefile'}, {place / SLURM}\n", flush=True)
    code = 0
    if not given.no_plan:
        code = plan.run(argparse.Namespace(directory=place, words=[]))
        print()
    if code == 0:
        print(f"edit {place / OWN_CONFIGURATION}, look again with `{run_command(place, subcommand='plan')}`, and")
        print(f"train, evaluate and map it with `{run_command(place)}` (it goes on after any interruption)")
    sys.stdout.flush()
    return code
