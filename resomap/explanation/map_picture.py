"""Picture of class-activation maps: a row an image, a column a resolution, the image itself first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resomap.data.bands import shown_channels

WIDEST = 1600  # pixels of the picture
_LARGEST_TILE, _SMALLEST_TILE, _GAP, _LINE, _MARGIN = 176, 64, 10, 17, 14
_INK, _FAINT, _RIGHT, _WRONG, _PAPER = "#1d1d1f", "#6e6e73", "#0b6e4f", "#b3261e", "#ffffff"
_VERDICTS = {True: ("✓", _RIGHT), False: ("✗", _WRONG), None: ("says", _INK)}
_STRONGEST = 0.6  # share of the colour where a map is highest


@dataclass(frozen=True)
class Tile:
    """Pixels uint8 [R, R, C] as a network saw them, its map [h, w], its answer, and whether it is right."""

    pixels: np.ndarray
    map: np.ndarray
    answer: str
    share: float  # probability of the explained class
    is_right: bool | None  # None: the truth is not known


@dataclass(frozen=True)
class Row:
    """One image: its name, the class that is explained, and a tile for each resolution."""

    name: str
    explained: str
    tiles: Sequence[Tile]


def draw_picture(title: str, headings: Sequence[str], rows: Sequence[Row]) -> Image.Image:
    """Return the picture, at most `WIDEST` pixels wide."""
    columns = len(headings) + 1
    tile = (WIDEST - 2 * _MARGIN - (columns - 1) * _GAP) // columns
    tile = max(_SMALLEST_TILE, min(_LARGEST_TILE, tile))
    height = tile + 2 * _LINE + _GAP
    head = 3 * _LINE + _MARGIN
    size = (2 * _MARGIN + columns * tile + (columns - 1) * _GAP, head + len(rows) * height + _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    draw = _Pen(ImageDraw.Draw(sheet), tile)
    draw.text(_MARGIN, _MARGIN, title, _INK, size[0] - 2 * _MARGIN, is_bold=True)
    lefts = [_MARGIN + place * (tile + _GAP) for place in range(columns)]
    for left, heading in zip(lefts, ["image", *headings], strict=True):
        draw.text(left, _MARGIN + round(1.6 * _LINE), heading, _FAINT, tile)
    for index, row in enumerate(rows):
        top = head + index * height
        sheet.paste(_scaled(row.tiles[-1].pixels, tile), (lefts[0], top))
        draw.text(lefts[0], top + tile + 2, row.explained, _INK, tile, is_bold=True)
        draw.text(lefts[0], top + tile + 2 + _LINE, Path(row.name).name, _FAINT, tile)
        for left, one in zip(lefts[1:], row.tiles, strict=True):
            sheet.paste(_overlaid(one, tile), (left, top))
            word, colour = _VERDICTS[one.is_right]
            draw.text(left, top + tile + 2, f"{word} {one.answer}", colour, tile)
            said = f"{one.share:.0%} {row.explained}" if _highest(one.map) > 0 else "no place spoke for it"
            draw.text(left, top + tile + 2 + _LINE, said, _FAINT, tile)
    return sheet


class _Pen:
    def __init__(self, draw: ImageDraw.ImageDraw, tile: int) -> None:
        self._draw = draw
        fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")  # DejaVu has the letters of most languages
        size = 12 if tile >= 100 else 10
        self._plain, self._bold = (ImageFont.truetype(fonts / f"DejaVuSans{kind}.ttf", size) for kind in ("", "-Bold"))

    def text(self, left: int, top: int, text: str, colour: str, width: int, is_bold: bool = False) -> None:
        """Write one line, shortened in its middle to fit the width."""
        font = self._bold if is_bold else self._plain
        shown, kept = text, len(text)
        while kept > 2 and self._draw.textlength(shown, font) > width:
            kept -= 1
            shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        self._draw.text((left, top), shown, colour, font)


def _scaled(pixels: np.ndarray, tile: int) -> Image.Image:
    pixels = shown_channels(pixels)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    how = Image.Resampling.NEAREST if tile >= 2 * image.width else Image.Resampling.BICUBIC
    return image.resize((tile, tile), how)


def _highest(places: np.ndarray) -> float:
    """Return the highest value of a map; 0 where nothing spoke for the class, and of values that are not finite."""
    return float(places.max()) if np.isfinite(places).all() else 0.0


def _overlaid(one: Tile, tile: int) -> Image.Image:
    """Return the image in grey with its map in colour: the stronger, the more it spoke for the class."""
    grey = np.asarray(_scaled(one.pixels, tile).convert("L").convert("RGB"), dtype=np.float32)
    if (highest := _highest(one.map)) <= 0:
        return Image.fromarray(grey.astype(np.uint8))
    smooth = Image.fromarray((one.map / highest).astype(np.float32)).resize((tile, tile), Image.Resampling.BICUBIC)
    strength = np.asarray(smooth).clip(0, 1)
    colour = matplotlib.colormaps["inferno"](strength)[:, :, :3].astype(np.float32) * 255
    share = _STRONGEST * strength[:, :, None]
    return Image.fromarray(((1 - share) * grey + share * colour).round().clip(0, 255).astype(np.uint8))
