"""Colours that colour-blind readers can tell apart, and the looks that all charts share."""

from collections.abc import Sequence
from typing import Any, Final

from matplotlib import colormaps
from matplotlib.colors import to_hex

# Okabe & Ito 2008 (jfly.uni-koeln.de/color), without the yellow that white paper swallows.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
VALIDATION, TEST = OKABE_ITO[0], OKABE_ITO[1]
ACCENT = "#D55E00"
GREY = "#6b6b6b"
ANSWER = "▸"  # before what stands for the cell that the map recommends
GLYPHS = {"circle": "●", "square": "■", "triangle-up": "▲", "diamond": "◆", "cross": "✚"}
FONT = "system-ui, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
SCHEME: Final = "viridis"
_BRIGHTEST = 0.88  # of viridis on white: beyond it lines are hardly seen

CONFIG: dict[str, Any] = {
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "titleColor": "#555",
        "labelColor": "#333",
        "labelLimit": 190,
        "gridColor": "#e8e8e8",
        "domainColor": "#bbb",
        "tickColor": "#bbb",
    },
    "legend": {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "orient": "bottom"},
    "title": {"fontSize": 13, "fontWeight": 600, "anchor": "start", "color": "#222"},
}


def in_order(values: Sequence[Any]) -> dict[Any, str]:
    """Return a colour for each of some values that have an order, such as resolutions: from dark to bright."""
    last = max(1, len(values) - 1)
    return {value: to_hex(colormaps[SCHEME](_BRIGHTEST * index / last)) for index, value in enumerate(values)}


def apart(values: Sequence[Any]) -> dict[Any, tuple[str, str]]:
    """Return a (colour, shape) for each of some values without an order; the shape changes when colours are used up."""
    shapes = list(GLYPHS)
    return {
        value: (OKABE_ITO[index % len(OKABE_ITO)], shapes[index // len(OKABE_ITO) % len(shapes)])
        for index, value in enumerate(values)
    }


def ink_on(share: float) -> str:
    """Return the colour of text on viridis at a share (0..1) of its range."""
    return "#111" if share > 0.55 else "#fff"
