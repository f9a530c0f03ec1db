"""`resomap plan`: the map of a study's grid, done and to go, without Snakemake's own lines; nothing is trained."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from resomap.commands import Commands, add_directory
from resomap.commands.snakemake_line import snakemake_line
from resomap.core.workflow_files import PLAN_FILE

# Snakemake's own words on standard error that say nothing about the study.
WITHOUT = ("Using profile",)


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add("plan", run, "the map of what is done and what remains, with hours and disk; trains nothing")
    parser.epilog = "All other words are Snakemake's: targets, --configfile, --config ..."
    add_directory(parser)
    parser.set_defaults(takes_snakemakes_words=True)


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    words, environment = snakemake_line(given.directory, given.words)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "plan")
        environment = {**os.environ, **environment, PLAN_FILE: str(place)}
        done = subprocess.run([*words, "--dry-run"], env=environment, capture_output=True, text=True, check=False)
        said = [line for line in done.stderr.splitlines() if not line.startswith(WITHOUT)]
        if place.exists():
            print(place.read_text(), end="")
        elif done.returncode:
            said = [*done.stdout.splitlines(), *said]
        for line in said:
            print(line, file=sys.stderr)
    return done.returncode
