"""`resomap doctor`: check device, data, disk, tracker, credentials and Slurm."""

import argparse
from pathlib import Path

from resomap.cells.study import Study
from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("doctor", run, "check data, disk, tracker, credentials, Slurm and device")
    parser.add_argument("--configfile", type=Path, nargs="+", help="in place of the study of this directory")


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    from resomap.config import Config
    from resomap.config.load import load_config
    from resomap.doctor.examine import examine

    if given.configfile:
        config = load_config(*given.configfile)
    elif given.study.exists():
        config = Study.load(given.study).config
    else:
        print("no snakemake has run here yet: this is about the default configuration (--configfile names another)")
        config = Config()
    findings = []
    for finding in examine(config):
        findings.append(finding)
        print(finding.lines(), flush=True)
    bad = sum(finding.level == "bad" for finding in findings)
    print(f"{bad} to mend" if bad else "nothing stands in the way")
    return 1 if bad else 0
