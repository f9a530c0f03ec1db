"""Columns of a table by their names: as configured, or the usual ones."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resomap.config.schema import Columns
from resomap.core.errors import ResomapError
from resomap.core.text import did_you_mean

AUTO = "auto"
# In the order in which they are taken.
_PATHS = (
    *("path", "file_name", "filename", "filepath", "file_path", "file", "image_path", "img_path", "image_file"),
    *("image_name", "img_name", "image", "img", "image_id", "id_code", "id"),
)
LABELS = (
    *("label", "labels", "class", "class_name", "classname", "class_label", "target", "category", "label_name", "cls"),
    "diagnosis",
)
SPLITS = ("split", "subset", "partition", "set", "data_set", "dataset")
GROUPS = ("group", "group_id", "groups", "patient", "patient_id", "patientid", "subject", "subject_id", "case_id")
_SHOWN = 12  # columns in a sentence


@dataclass(frozen=True)
class Chosen:
    """The columns of a table that are used; None: it has none such."""

    path: str
    label: str | None  # None: labels were not asked for
    split: str | None
    group: str | None
    weight: str | None

    def facts(self) -> dict[str, str]:
        """Return the columns by what they are for, without those that are not there."""
        return {name: column for name, column in vars(self).items() if column is not None}


def choose(
    columns: Columns,
    names: Sequence[str],
    table: str,
    known: Mapping[str, str] | None = None,
    is_labelled: bool = True,
) -> Chosen:
    """Return the columns to use among `names`; `known` are those of which the table itself says what they are.

    Without `is_labelled` the images alone are asked for. Raises ResomapError where one that is named is not there, or
    none for the paths or the labels is recognised.
    """
    known = known or {}
    path = _named(columns.path, "path", names, table) or known.get("path") or usual(_PATHS, names)
    if path is None:
        raise _unknown("images", "path", names, table)
    if not is_labelled:
        return Chosen(path, None, None, None, None)
    others = [name for name in names if name != path]
    label = _named(columns.label, "label", names, table) or known.get("label") or usual(LABELS, others)
    if label is None and len(others) == 1:
        label = others[0]
    if label is None:
        raise _unknown("classes", "label", names, table)
    others = [name for name in others if name != label]
    return Chosen(
        path,
        label,
        _optional(columns.split, "split", SPLITS, others, table),
        _optional(columns.group, "group", GROUPS, others, table),
        _optional(columns.weight, "weight", (), others, table),
    )


def usual(of: Sequence[str], names: Iterable[str]) -> str | None:
    """Return the first of the usual names that is among `names`, whatever its case and separators."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(re.sub(r"[\s-]+", "_", name.strip().casefold()), name)
    return next((plain[one] for one in of if one in plain), None)


def _named(wanted: str, key: str, names: Sequence[str], table: str) -> str | None:
    if wanted == AUTO:
        return None
    if wanted not in names:
        raise ResomapError(
            f"{table} has no column {wanted!r}, which `data.columns.{key}` names; it has {_listed(names)}"
            f"{did_you_mean(wanted, names)}"
        )
    return wanted


def _optional(wanted: str | None, key: str, of: Sequence[str], names: Sequence[str], table: str) -> str | None:
    if wanted is None:
        return None
    return _named(wanted, key, names, table) if wanted != AUTO else usual(of, names)


def _unknown(what: str, key: str, names: Sequence[str], table: str) -> ResomapError:
    return ResomapError(
        f"no column of {table} is known to hold its {what}; it has {_listed(names)}; name it: --config "
        f"'data={{columns: {{{key}: NAME}}}}'"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "") if names else "none"
