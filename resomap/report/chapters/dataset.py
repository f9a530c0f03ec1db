"""Images of the study: classes per split, sizes, findings of the check, examples."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from resomap.core.files import read_json
from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import Entry, Manifest
from resomap.report.figure import Figure, Key, Panel, rows
from resomap.report.material import Material
from resomap.report.palette import ACCENT, OKABE_ITO
from resomap.report.thumbnails import Thumbnails

_NONE = "The list of the images (results/data/manifest.json) is not here; the workflow's first step writes it."
BINS = 40
BARS = 60  # classes that are drawn at most: half the largest, half the smallest
EXAMPLES = 4  # of a class
CLASSES = 12  # of which examples are shown
LISTED = 20  # names in a list


def class_distribution(material: Material) -> Figure:
    """Draw the number of images of each class in each split."""
    manifest = material.evidence.manifest
    panels, left_out = [], ""
    if manifest is not None:
        classes = _largest_and_smallest(manifest)
        if len(classes) < len(manifest.classes):
            left_out = f" Of {len(manifest.classes)} classes these are the {BARS // 2} largest and smallest."
        found = [
            {
                "class": label,
                "split": split,
                "images": manifest.counts[split][label],
                "share": manifest.counts[split][label] / max(1, sum(manifest.counts[split].values())),
            }
            for split in manifest.splits
            for label in classes
        ]
        many = len(classes) > 25
        chart = (
            alt.Chart(rows(found))
            .mark_bar()
            .encode(
                y=alt.Y("class:N", title=None, sort=classes),
                yOffset=alt.YOffset("split:N", sort=list(manifest.splits)),
                x=alt.X("images:Q", title="images"),
                color=alt.Color(
                    "split:N", title=None, scale=alt.Scale(domain=list(manifest.splits), range=OKABE_ITO[:3])
                ),
                tooltip=[
                    alt.Tooltip("class:N"),
                    alt.Tooltip("split:N"),
                    alt.Tooltip("images:Q"),
                    alt.Tooltip("share:Q", title="of the split", format=".1%"),
                ],
            )
            .properties(height=len(found) * (5 if many else 14) + 12 * len(classes))
        )
        panels.append(Panel("", chart))
    return Figure(
        "class-distribution",
        "Classes in each split",
        f"How many images of each class train, choose (val) and report (test).{left_out}",
        panels,
        [Key("■", colour, split) for split, colour in zip(manifest.splits, OKABE_ITO, strict=False)]
        if manifest
        else (),
        _NONE,
        width=520,
        columns=1,
    )


def _largest_and_smallest(manifest: Manifest) -> list[str]:
    if len(manifest.classes) <= BARS:
        return manifest.classes
    images = {label: sum(manifest.counts[split][label] for split in manifest.splits) for label in manifest.classes}
    ordered = sorted(manifest.classes, key=lambda label: -images[label])
    return ordered[: BARS // 2] + ordered[-BARS // 2 :]


def sizes(material: Material) -> Figure:
    """Draw the short sides of the image files, with the grid's resolutions."""
    manifest = material.evidence.manifest
    panels = []
    if manifest is not None:
        sides = np.array([min(entry.width, entry.height) for entry in manifest.entries])
        highest = max(int(sides.max()), max(material.map.resolutions))
        counts, edges = np.histogram(sides, bins=BINS, range=(0, highest * 1.02))
        found = [
            {"from": float(left), "to": float(right), "images": int(count), "range": f"{left:.0f} to {right:.0f} px"}
            for count, left, right in zip(counts, edges, edges[1:], strict=False)
            if count
        ]
        bars = (
            alt.Chart(rows(found))
            .mark_rect(color=OKABE_ITO[0])
            .encode(
                x=alt.X("from:Q", title="short side (px)", scale=alt.Scale(domain=[0, highest * 1.02], nice=False)),
                x2="to:Q",
                y=alt.Y("images:Q", title="images", scale=alt.Scale(zero=True)),
                y2=alt.Y2Datum(0),
                tooltip=[alt.Tooltip("range:N", title="short side"), alt.Tooltip("images:Q")],
            )
        )
        marks = [{"at": one, "label": f"{one}", "what": "resolution of the grid"} for one in material.map.resolutions]
        lines = (
            alt.Chart(rows(marks))
            .mark_rule(color=ACCENT, strokeDash=[4, 3], strokeWidth=1.5)
            .encode(x="at:Q", tooltip=[alt.Tooltip("at:Q", title="resolution (px)")])
        )
        names = (
            alt.Chart(rows(marks))
            .mark_text(angle=270, align="right", dy=-6, dx=-3, fontSize=10, color=ACCENT)
            .encode(x="at:Q", y=alt.YValue(0), text="label:N")
        )
        panels.append(Panel("", alt.layer(bars, lines, names).properties(height=190)))
    return Figure(
        "image-sizes",
        "Sizes of the images",
        "Images left of a dashed line are enlarged to that resolution: there more pixels bring no more detail.",
        panels,
        [Key("■", OKABE_ITO[0], "image files"), Key("dash", ACCENT, "resolutions of the grid")] if panels else (),
        _NONE,
        width=520,
        columns=1,
    )


@dataclass(frozen=True)
class Finding:
    """A finding of the check of the images: a heading, how many, and the first of them."""

    kind: str
    count: int
    lines: list[str]


def findings() -> list[Finding] | None:
    """Return the problems and notes of results/data/check.json; None where the check has not run."""
    content: Any = read_json(DATA_DIRECTORY / "check.json")
    if not isinstance(content, dict):
        return None
    by_kind: dict[str, list[str]] = defaultdict(list)
    for problem in _objects(content.get("problems")):
        by_kind[str(problem.get("kind"))].append(f"{problem.get('name')}: {problem.get('detail')}")
    found = [Finding(kind, len(lines), lines[:LISTED]) for kind, lines in by_kind.items()]
    for note in _objects(content.get("notes")):
        listed = note.get("names")
        names = [str(one) for one in listed] if isinstance(listed, list) else []
        found.append(Finding(str(note.get("text")), len(names), names[:LISTED]))
    return found


def _objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list of decoded JSON; none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def duplicates(material: Material) -> list[list[Entry]]:
    """Return the groups of files with the same bytes."""
    by_digest: dict[str, list[Entry]] = defaultdict(list)
    for entry in material.evidence.manifest.entries if material.evidence.manifest else []:
        by_digest[entry.sha256].append(entry)
    return [group for group in by_digest.values() if len(group) > 1]


@dataclass(frozen=True)
class Examples:
    """Some images of one class, as data, with their names."""

    label: str
    images: list[tuple[str, str]]  # (name, data)


def examples(material: Material, thumbnails: Thumbnails) -> list[Examples]:
    """Return some images of the training split for each class, spread evenly over their names."""
    manifest = material.evidence.manifest
    if manifest is None:
        return []
    found = []
    for index, label in enumerate(manifest.classes[:CLASSES]):
        names = [entry.name for entry in manifest.entries if entry.label == index and entry.split == "train"]
        chosen = [names[len(names) * place // EXAMPLES] for place in range(min(EXAMPLES, len(names)))]
        images = [(name, data) for name in chosen if (data := thumbnails.of(name)) is not None]
        if images:
            found.append(Examples(label, images))
    return found
