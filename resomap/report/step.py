"""The step `report`: results/report.html, and its figures as SVG and PNG in results/figures/."""

from pathlib import Path

from resomap.files import read_json, write_text
from resomap.map.basis import SUMMARY, basis
from resomap.map.document import Map
from resomap.map.evidence import Evidence, gather
from resomap.map.step import make_map
from resomap.report.material import Material
from resomap.report.page import compose, draw
from resomap.study import Study

REPORT = Path("results") / "report.html"
FIGURES = Path("results") / "figures"


def make_report(study: Study, kind: str | None = None) -> Path:
    """Write the report of whatever is there; its path.

    `kind` of device whose costs count, as for the map. Where results/summary.json is not of the trainings that are
    there now, it is made anew. Raises OSError.
    """
    evidence = gather(study, kind)
    material = Material(_map(study, evidence, kind), evidence)
    figures = draw(material)
    for figure in figures.values():
        figure.save(FIGURES)
    write_text(REPORT, compose(material, figures))
    return REPORT


def _map(study: Study, evidence: Evidence, kind: str | None) -> Map:
    try:
        found = Map.model_validate(read_json(SUMMARY))
    except ValueError:  # none there, damaged, or of another version
        return make_map(study, kind)
    is_same = (
        found.basis == basis(study)
        and {one.uid for one in found.trainings} == {str(one.marker["uid"]) for one in evidence.trained}
        and len(found.missing) == len(evidence.missing)
    )
    return found if is_same else make_map(study, kind)
