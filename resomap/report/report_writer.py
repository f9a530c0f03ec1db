"""Writer of the report: results/report.html, and its figures as SVG and PNG in results/figures/."""

from concurrent.futures import Future
from pathlib import Path

from resomap.cells.evaluation_record import predictions_path, record_path
from resomap.cells.leftovers import remove_leftovers
from resomap.cells.measurement import DIRECTORY as COSTS
from resomap.cells.study import Study
from resomap.core.errors import ResomapError, refusal
from resomap.core.files import read_json, write_text
from resomap.report.library import begin_bundle
from resomap.report.material import Material
from resomap.report.page import compose, draw
from resomap.summary.basis import SUMMARY, basis
from resomap.summary.document import Map
from resomap.summary.evidence import Evidence, gather
from resomap.summary.summary_writer import write_map

REPORT = Path("results") / "report.html"
FIGURES = Path("results") / "figures"


def make_report(study: Study, kind: str | None = None, library: "Future[str] | None" = None) -> Path:
    """Write the report of whatever is there; return its path.

    `kind` of device whose costs count, as for the map; `library`: the script of the page, where its bundling has begun
    already. Where results/summary.json is not of the trainings that are there now, or older than what it rests on, it
    is made anew. Raises ResomapError where nothing can be written.
    """
    remove_leftovers(REPORT.parent, FIGURES)
    library = library or begin_bundle()
    evidence = gather(study, kind)
    material = Material(_map(study, evidence), evidence)
    figures = draw(material)
    try:
        figures = {name: figure.saved(FIGURES) for name, figure in figures.items()}
        write_text(REPORT, compose(material, figures, library.result()))
    except OSError as error:
        if refusal(error) is not None:
            raise
        raise ResomapError(
            f"the report cannot be written: {error}; give {REPORT.parent.absolute()} space and leave to write"
        ) from None
    return REPORT


def _map(study: Study, evidence: Evidence) -> Map:
    try:
        found = Map.model_validate(read_json(SUMMARY))
    except ValueError:  # none there, damaged, or of another version
        return write_map(evidence)
    is_same = (
        found.basis == basis(study)
        and {one.uid for one in found.trainings} == {one.marker.uid for one in evidence.trained}
        and len(found.missing) == len(evidence.missing)
        and SUMMARY.stat().st_mtime_ns >= _newest(evidence)
    )
    return found if is_same else write_map(evidence)


def _newest(evidence: Evidence) -> int:
    """Return when the last of the files that a map rests on was written, in nanoseconds."""
    files = [*COSTS.glob("*/*/*.json"), *COSTS.glob("*/*.json")]
    for one in evidence.trained:
        files += [one.cell.marker, record_path(one.cell), predictions_path(one.cell)]
    return max((path.stat().st_mtime_ns for path in files if path.exists()), default=0)
