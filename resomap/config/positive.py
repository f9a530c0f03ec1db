"""The class that operating points speak of: which settings need it, and its place among the classes."""

from collections.abc import Sequence

from resomap.config.schema import Config, Report
from resomap.core.errors import ResomapError
from resomap.core.text import nearest

HOLDING = ("sensitivity_at_specificity", "specificity_at_sensitivity", "precision_at_recall")
ONE_VS_REST = ("average_precision", *HOLDING)


def positive_index(report: Report, classes: Sequence[str]) -> int:
    """Return the index of the positive class: `report.positive`, else the second of two classes.

    Raises ResomapError where there is no class of that name, or none is named and there are not two.
    """
    listed = ", ".join(classes[:8]) + (" ..." if len(classes) > 8 else "")
    if report.positive in classes:
        return list(classes).index(str(report.positive))
    if report.positive is not None:
        match = nearest(report.positive, classes)
        hint = f"; did you mean '{match}'?" if match else f"; the classes are {listed}"
        raise ResomapError(f"report.positive is '{report.positive}', and there is no such class{hint}")
    if len(classes) != 2:
        raise ResomapError(
            f"report.positive names no class, and with {len(classes)} classes an operating point needs one; "
            f"name one of {listed}"
        )
    return 1


def needs_positive(config: Config, monitors: Sequence[str] = ()) -> bool:
    """Return True if a setting speaks of the positive class; `monitors` are those of the cells' recipes."""
    report = config.report
    named = report.positive is not None or report.prevalence is not None
    return named or any(metric in ONE_VS_REST for metric in (report.metric, *monitors))
