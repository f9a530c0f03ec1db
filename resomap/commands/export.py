"""`resomap export`: a trained cell, or the winner, as a file for another runtime; called by the rule `export`."""

import argparse
import os
from typing import TYPE_CHECKING

from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.errors import ResomapError
from resomap.core.gc_control import paused_collection
from resomap.export.export_files import FORMATS, FP32, ONNX, PRECISIONS
from resomap.export.requirements import require_packages

if TYPE_CHECKING:
    from resomap.export.exporter import Export
    from resomap.export.parity import Parity


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("export", run, "a trained cell for ONNX Runtime or OpenVINO (a step)")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--cell", help="MODEL@RESOLUTION, for example vgg11@320")
    which.add_argument("--winner", action="store_true", help="the winner of `snakemake winner`")
    parser.add_argument("--format", choices=FORMATS, default=ONNX, dest="file_format")
    parser.add_argument("--precision", choices=PRECISIONS, default=FP32, help="of weights and operations")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.cells.leftovers import remove_cell_leftovers
    from resomap.cells.lock import cell_lock
    from resomap.core.logging import say

    if given.threads < 1:
        raise ResomapError(f"--threads {given.threads} computes nothing; give 1 or more")
    study = Study.load(given.study)
    require_packages(given.file_format)
    with paused_collection():
        from resomap.commands.export_source import source_of

        export = source_of(given, study)
    with cell_lock(export.cell, say):
        remove_cell_leftovers(export.cell)
        found = export.run()
    print(_said(export, found), flush=True)


def _said(export: "Export", found: "Parity") -> str:
    """Return a sentence on what was written and how near it is."""
    files = export.files
    size = sum(path.stat().st_size for path in (files.network, files.weights) if path)
    words = [
        f"{files.network}: {size / 1e6:.1f} MB",
        f"on {found.images} validation images logits differ by at most {found.largest_difference:.2g} of "
        f"{found.largest_logit:.3g}, and {found.changed_decisions:.2%} of the decisions",
    ]
    if (loss := found.loss) is not None:
        low, high = loss.exported_interval
        words.append(
            f"{loss.metric} {loss.exported:.4f} ({low:.4f} to {high:.4f}) beside {loss.original:.4f}, at most "
            f"{loss.upper:.4f} lost"
        )
    return "; ".join(words)
