"""Figure of the report: its panels, legend and caption, on the page and as a file."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import altair as alt
import vl_convert

from resomap.core.files import replace_atomically, write_text
from resomap.core.text import all_encodable, encodable
from resomap.report.palette import ACCENT, ANSWER, CONFIG, FONT

Row: TypeAlias = Mapping[str, Any]
Chart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart
PNG_SCALE = 2.0  # pixels of the file per pixel of the drawing: sharp in print


@dataclass(frozen=True)
class Key:
    """One entry of a legend: a sign in a colour, and what it stands for."""

    sign: str  # a character such as ●, or `line` or `dash`
    colour: str
    label: str


def answer_label(chosen: tuple[str, int] | None, model: str) -> Any:
    """Return the expression of an axis of resolutions that marks the answer's, in the panel of its model."""
    if chosen is None or chosen[0] != model:
        return alt.Undefined
    return f"datum.value == {chosen[1]} ? '{ANSWER} ' + datum.label : datum.label"


def ring(base: alt.Chart, points: Sequence[Row], value: str = "value:Q", size: int = 260) -> list[alt.Chart]:
    """Return the layer of a ring around the points whose `is_answer` is true, at `value`; none without such a point.

    It belongs below the points: what is drawn later hides from the pointer what it covers, inside a ring too. A layer
    without points would have an axis of no extent, of which Vega complains.
    """
    if not any(row["is_answer"] for row in points):
        return []
    marked = base.transform_filter("datum.is_answer")
    circle = marked.mark_point(filled=False, size=size, strokeWidth=2.5, opacity=1)
    return [circle.encode(y=value, color=alt.value(ACCENT), shape=alt.value("circle"))]


RING = Key("◯", ACCENT, "the answer")


@dataclass(frozen=True)
class Panel:
    """One chart of a figure. It has a height of its own and takes the width it is given."""

    title: str
    chart: Chart


@dataclass(frozen=True)
class Figure:
    """A figure; `name` is the stem of its files. Without panels, `reason` says why there is nothing to draw."""

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    legend: Sequence[Key] = ()
    reason: str = ""
    least_width: int = 240  # pixels that a panel needs to be read
    columns: int | None = None  # of panels; None: as many as fill the rows
    width: int = 360  # pixels of a panel, in the file

    @property
    def side_by_side(self) -> int:
        """Panels in a row, where there is room for them."""
        count = len(self.panels)
        if self.columns is not None:
            return self.columns
        if count <= 3:
            return max(1, count)
        return 2 if count == 4 else 4 if count % 4 == 0 else 3

    def specifications(self) -> list[dict[str, Any]]:
        """Return the panels as Vega-Lite for the page: as wide as their place. Legends stand beside them, in HTML."""
        config = {**CONFIG, "legend": {"disable": True}} if self.legend else CONFIG
        found = []
        for panel in self.panels:
            chart = panel.chart.properties(width="container", description=f"{self.title}, {panel.title}")
            content = all_encodable(chart.to_dict(validate=False))  # by the schema: half of the time
            found.append({**content, "config": config, "background": None})
        return found

    def save(self, directory: Path) -> list[Path]:
        """Write `<name>.svg` and `<name>.png`; return their paths. Raises OSError."""
        if self.panels:
            svg = vl_convert.vegalite_to_svg(json.dumps(self._whole()))
        else:
            svg = encodable(_sentence(self.title, self.reason))
        png = vl_convert.svg_to_png(svg, scale=PNG_SCALE)
        paths = [directory / f"{self.name}.svg", directory / f"{self.name}.png"]
        write_text(paths[0], svg)
        replace_atomically(paths[1], lambda stream: stream.write(png))
        return paths

    def saved(self, directory: Path) -> "Figure":
        """Write the files, as `save`; return the figure, or one that says why it cannot be drawn. Raises OSError."""
        try:
            self.specifications()
            self.save(directory)
            return self
        except (OSError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the renderer is no Exception
            in_words = self.without_panels(error)
            in_words.save(directory)
            return in_words

    def without_panels(self, error: BaseException) -> "Figure":
        """Return the figure with the reason why it cannot be drawn in place of its panels, which stderr gets too."""
        reason = f"This figure cannot be drawn: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(f"report: figure {self.name}: {reason}", file=sys.stderr, flush=True)
        return replace(self, panels=(), legend=(), reason=reason)

    def _whole(self) -> dict[str, Any]:
        charts = [panel.chart.properties(title=panel.title, width=self.width) for panel in self.panels]
        whole = alt.concat(*charts, columns=self.side_by_side).properties(
            title=alt.TitleParams(self.title, fontSize=16, offset=14)
        )
        return {**all_encodable(whole.to_dict(validate=False)), "config": CONFIG, "background": "white", "padding": 12}


def rows(values: Sequence[Row]) -> alt.Data:
    """Return rows as the data of a chart, written into it."""
    return alt.Data(values=[dict(row) for row in values])


def _sentence(title: str, text: str) -> str:
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 72:
            lines.append("")
        lines[-1] += f"{word} "
    height = 60 + 20 * len(lines)
    body = "".join(
        f'<text x="16" y="{58 + 20 * index}" font-size="13" fill="#555">{_escaped(line.strip())}</text>'
        for index, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="560" height="{height}" font-family="{_escaped(FONT)}">'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="16" y="32" font-size="15" font-weight="600" fill="#222">{_escaped(title)}</text>{body}</svg>'
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
