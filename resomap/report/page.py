"""The HTML page: chapters in their order, set by the templates into one file that needs nothing else."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from resomap import __version__
from resomap.data.left_out import in_words, left_out
from resomap.report.blocks import Chapter, Part, Table, Words
from resomap.report.chapters import (
    calibration,
    choices,
    circumstances,
    classes,
    cost_tables,
    dataset,
    devices,
    learning,
    operating,
    pareto,
    quality,
    tables,
    transfer,
)
from resomap.report.chapters.class_table import class_table
from resomap.report.chapters.disagreements import disagreements
from resomap.report.chapters.explanations import explained
from resomap.report.chapters.label_errors import label_errors
from resomap.report.chapters.winner import winner
from resomap.report.figure import Figure
from resomap.report.material import Material, interval
from resomap.report.palette import ANSWER
from resomap.report.thumbnails import Thumbnails
from resomap.statistics.wording import percent, points

_FIGURES: dict[str, Callable[[Material], Figure]] = {
    "heatmap": quality.heatmap,
    "curves": quality.curves,
    "pareto": pareto.pareto,
    "transfer": transfer.transfer,
    "per-class": classes.per_class,
    "confusion": classes.confusion,
    "learning": learning.learning,
    "class-distribution": dataset.class_distribution,
    "image-sizes": dataset.sizes,
}


def draw(material: Material) -> dict[str, Figure]:
    """Draw all figures; return them by name. One that fails has the reason in its place: the others stand."""
    drawn = {}
    for name, draw_figure in _FIGURES.items():
        try:
            drawn[name] = _with_answer(draw_figure(material), material)
        except Exception as error:
            drawn[name] = Figure(name, name.replace("-", " ").capitalize(), "", ()).without_panels(error)
    return drawn


def _with_answer(block: Any, material: Material) -> Any:
    """Return a table or figure in which the rows and panels of the answer's cell stand out."""
    name = material.chosen_name
    if isinstance(block, Table) and name:
        rows = {index for index, row in enumerate(block.rows) if row[0] == name or row[0].startswith(f"{name},")}
        return replace(block, marked=block.marked | rows)
    if isinstance(block, Figure) and name:
        panels = [replace(one, title=f"{ANSWER} {name}") if one.title == name else one for one in block.panels]
        return replace(block, panels=panels)
    return block


def compose(material: Material, figures: dict[str, Figure], library: str) -> str:
    """Return the HTML of the whole report. `library`: the script that draws its figures (see library.py)."""
    chapters = _chapters(material, figures)
    specifications = [
        specification
        for chapter in chapters
        for block in chapter.blocks
        if isinstance(block, Figure)
        for specification in block.specifications()
    ]
    environment = Environment(  # autoescape: names of classes, files and models are anybody's
        loader=PackageLoader("resomap.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["words"] = _words
    files = resources.files("resomap.report") / "templates"
    headline, reasons = _first_sentence(_headline(material))
    return environment.get_template("report.html.j2").render(
        material=material,
        map=material.map,
        headline=headline,
        reasons=reasons,
        facts=_facts(material),
        chapters=chapters,
        style=Markup((files / "style.css").read_text()),
        # Both stand inside <script>, where only the end of the element has a meaning of its own.
        library=Markup(library.replace("</script", "<\\/script")),
        script=Markup((files / "draw.js").read_text()),
        specifications=Markup(json.dumps(specifications, allow_nan=False).replace("<", "\\u003c")),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )


def _first_sentence(text: str) -> tuple[str, str]:
    """Return the first sentence of a text, and what follows it."""
    first, dot, rest = text.partition(". ")
    return first + dot.rstrip(), rest


def _words(text: str) -> Markup:
    """Return text with `commands` in it set as code; all of it escaped."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _headline(material: Material) -> str:
    advice = material.map.recommendation
    if advice is not None:
        return advice.text
    if material.squares:
        return (
            "No recommendation yet: none of the finished trainings has its predictions here. "
            "What is missing, and why, stands below."
        )
    return (
        "No recommendation yet: no training of the grid is finished. "
        "Run the same snakemake command again; it goes on where the trainings stood."
    )


@dataclass(frozen=True)
class Fact:
    """A figure that stands out, and what it is."""

    value: str
    label: str


def _facts(material: Material) -> list[Fact]:
    found = []
    answer, margin = material.map.answer, points(material.map.margin)
    if answer and answer.rule != "only cell":
        found.append(Fact(percent(answer.probability_within_margin), f"likely within {margin} of the best"))
        found.append(Fact(points(answer.expected_deficit), "below the best are to be expected"))
        found.append(Fact(points(answer.proven_deficit), "below the best at most is proven (95 %)"))
    if material.chosen and (square := material.squares.get(material.chosen)):
        # What decided stands first; the test value beside it is for a report.
        found.append(Fact(interval(material.judged(square)), f"validation {material.metric} of this cell"))
        found.append(Fact(interval(material.judged(square, "test")), "the same on test images, which chose nothing"))
        if square.cost and square.cost.latency_ms_median is not None:
            found.append(Fact(f"{square.cost.latency_ms_median:.3g} ms", "its latency, one image"))
    grid = material.map
    wanted = len(grid.models) * len(grid.resolutions) * len(grid.seeds) * (grid.folds or 1)
    found.append(Fact(f"{len(material.map.trainings)} of {wanted}", "trainings are in this map"))
    counts = material.map.images.counts
    if counts:
        sums = " / ".join(f"{sum(counts[split].values()):,}" for split in counts)
        what = "to train and judge / report" if material.map.folds else "to train / choose / report"
        found.append(Fact(sums, f"images {what}"))
    return found


def _costs(material: Material) -> list[Any]:
    of_devices = (devices.answers(material), devices.orders(material))
    return [cost_tables.costs(material), cost_tables.runtimes(material), *of_devices]


def _choice(material: Material) -> list[Any]:
    return [choices.ladder(material), choices.candidates(material)]


def _chapters(material: Material, figures: dict[str, Figure]) -> Sequence[Chapter]:
    thumbnails = Thumbnails(material.evidence.manifest)
    pairs = disagreements(material, thumbnails)
    paragraphs = winner(material)
    complete = Words("Nothing is missing: every training, evaluation and cost of the grid is in this map.")
    exact = Words("Nothing was deviated from: every training is repeatable to the bit.")
    chapters: list[tuple[str, str, str, list[Any]]] = [
        ("map", figures["heatmap"].title, "Map", [figures["heatmap"]]),
        (
            "candidates",
            "What there was to choose from",
            "Choice",
            _choice(material),
        ),
        *_operating(material),
        *([("winner", "The winner, trained to be used", "Winner", paragraphs)] if paragraphs else []),
        ("resolution", figures["curves"].title, "Resolution", [figures["curves"], tables.resolutions(material)]),
        (
            "cost",
            figures["pareto"].title,
            "Cost",
            [figures["pareto"], *_costs(material)],
        ),
        ("transfer", figures["transfer"].title, "Train × test", [figures["transfer"]]),
        ("classes", figures["per-class"].title, "Classes", [figures["per-class"], _class_table(material)]),
        (
            "disagreements",
            "Images on which resolution decides",
            "Images",
            [_disagreements(material, pairs, thumbnails), _explained(material)],
        ),
        ("label-errors", "Labels that are probably wrong", "Labels", [_label_errors(material, thumbnails)]),
        ("confusion", figures["confusion"].title, "Confusion", [figures["confusion"]]),
        ("calibration", "Are confidences to be believed?", "Calibration", [_calibration(material)]),
        ("learning", figures["learning"].title, "Learning", [figures["learning"]]),
        ("data", "The data", "Data", _data(material, figures, thumbnails)),
        ("settings", "Settings and environment", "Settings", _circumstances(material)),
        (
            "missing",
            "Missing and deviating",
            "Missing",
            [
                tables.missing(material) or (complete if material.squares else None),
                tables.deviations(material) or (exact if material.squares else None),
            ],
        ),
        ("origin", "Every training, and where it comes from", "Origin", [tables.origins(material)]),
    ]
    nothing = Words("Nothing to show yet: no training of the grid is finished.")
    return [
        Chapter(
            mark, title, short, [_with_answer(block, material) for block in blocks if block is not None] or [nothing]
        )
        for mark, title, short, blocks in chapters
    ]


def _operating(material: Material) -> list[tuple[str, str, str, list[Any]]]:
    """Return the chapter of decisions for one class; none where it is not asked for."""
    blocks = [operating.operating_points(material), operating.at_prevalence(material)]
    return [("operating", "Decisions for one class", "Decisions", blocks)] if any(blocks) else []


def _disagreements(material: Material, pairs: list[Any], thumbnails: Thumbnails) -> Any:
    if not pairs:
        return Words("No model has predictions at two resolutions yet, so there is nothing to compare.")
    return Part(
        "disagreements",
        {
            "pairs": pairs,
            "images": material.shown_images,
            "caveat": material.one_seed_note,
            "reason": thumbnails.reason,
        },
    )


def _explained(material: Material) -> Part | None:
    found = explained(material.evidence)
    return Part("explanations", found) if found else None


def _class_table(material: Material) -> Part | None:
    found = class_table(material)
    return Part("class-table", found) if found else None


def _label_errors(material: Material, thumbnails: Thumbnails) -> Any:
    found = label_errors(material, thumbnails)
    return Words(found.reason) if found.reason else Part("label-errors", {"found": found, "reason": thumbnails.reason})


def _calibration(material: Material) -> Any:
    return calibration.calibration(material) or Words(
        "An earlier version of ResoMap evaluated these trainings. Where `results/<model>/<resolution>.evaluation.json` "
        "is deleted, `snakemake` makes it anew from the predictions that are kept."
        if material.squares
        else "Nothing to show yet: no training of the grid is finished."
    )


def _data(material: Material, figures: dict[str, Figure], thumbnails: Thumbnails) -> list[Any]:
    manifest = material.evidence.manifest
    content = {
        "manifest": manifest,
        "findings": dataset.findings(),
        "left_out": in_words(left_out()),
        "duplicates": dataset.duplicates(material)[: dataset.LISTED],
        "examples": dataset.examples(material, thumbnails),
        "reason": thumbnails.reason,
    }
    return [Part("images", content), figures["class-distribution"], figures["image-sizes"], Part("data", content)]


def _circumstances(material: Material) -> list[Any]:
    changed = circumstances.changed_settings(material) or Words("All settings are the defaults.")
    ran = circumstances.environments(material) or (
        Words("No record of a training's environment is here.") if material.squares else None
    )
    weights = circumstances.starting_weights(material)
    rates = circumstances.learning_rates(material)
    return [changed, circumstances.all_settings(material), *rates, weights, ran, circumstances.packages(material)]
