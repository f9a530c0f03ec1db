"""Look at a page in the system's Chromium, as a person would: what it asks for, what it draws, whether it fits."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

INSTALL = "apt-get install -y chromium && pip install playwright"

# Marks that have an extent, of each chart: an empty chart has axes at most, which are not among them.
MARKS = """() => [...document.querySelectorAll('[data-chart]')].map((place) => ({
    drawn: place.dataset.drawn === 'yes',
    name: place.closest('figure').id,
    marks: [...place.querySelectorAll('.mark-rect path, .mark-symbol path, .mark-line path, .mark-rule line')]
        .filter((mark) => !mark.closest('.role-axis, .role-legend'))
        .filter((mark) => { const box = mark.getBBox(); return box.width + box.height > 1; }).length,
}))"""

# The item that Vega draws as an element is its __data__.
SILENT = """() => [...document.querySelectorAll('[data-chart] .mark-symbol path')].flatMap((point) => {
    if (!point.__data__ || !point.__data__.tooltip) return [];
    point.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
    const box = point.getBoundingClientRect();
    const met = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    if (met && met.__data__ && met.__data__.tooltip) return [];
    const kind = met ? met.closest('[class]').getAttribute('class') : 'nothing';
    return [`${point.closest('figure').id}: ${point.getAttribute('aria-label')}: ${kind}`];
})"""


@dataclass
class Look:
    """An open page, and what it has said and asked for so far."""

    page: Any
    complaints: list[str] = field(default_factory=list)  # of the console, and uncaught errors
    requests: list[str] = field(default_factory=list)  # of anything outside the file

    def charts(self) -> list[dict[str, Any]]:
        """Each chart's figure, whether it was drawn, and how many marks it has."""
        found: list[dict[str, Any]] = self.page.evaluate(MARKS)
        return found

    def width(self) -> int:
        """Pixels that the page takes; more than the window's where it overflows."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))

    def silent_points(self) -> list[str]:
        """Each point that has a tooltip, but shows none to a pointer at its middle: what silent mark covers it."""
        found: list[str] = self.page.evaluate(SILENT)
        return found

    def tooltip_at(self, selector: str) -> str:
        """Return the text that shows when the pointer rests on the first such element."""
        self.page.locator(selector).first.scroll_into_view_if_needed()
        self.page.locator(selector).first.hover(force=True)
        self.page.wait_for_selector("#vg-tooltip-element.visible", timeout=5_000)
        return str(self.page.inner_text("#vg-tooltip-element"))


def chromium() -> str:
    """The browser's path; the test is skipped where there is none."""
    pytest.importorskip("playwright", reason=INSTALL)
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip(f"no Chromium here: {INSTALL}")
    return found


@contextmanager
def look_at(path: Path, width: int = 1400) -> Iterator[Look]:
    """Open a file in a window of that width and wait until its charts are drawn."""
    executable = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # --no-sandbox: containers run as root, where Chromium starts in no other way.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            look = Look(browser.new_page(viewport={"width": width, "height": 900}))
            look.page.on("console", lambda message: look.complaints.append(f"{message.type}: {message.text}"))
            look.page.on("pageerror", lambda error: look.complaints.append(str(error)))
            look.page.on("request", lambda request: _note(look, request.url))
            look.page.goto(path.absolute().as_uri())
            look.page.wait_for_selector("html[data-drawn]", state="attached", timeout=120_000)
            yield look
        finally:
            browser.close()


def _note(look: Look, address: str) -> None:
    if not address.startswith(("file:", "data:", "blob:")):
        look.requests.append(address)
