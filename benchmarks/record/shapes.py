"""Generated shapes of known truth, drawn in noise: corners to be told, wrong labels, rare scratches."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.record.image_sets import ImageSet, Pictures, drawn

SIDE = 64  # pixels
WRONG = 0.12  # share of the blots that carry the other label: no network is better than 1 - WRONG
SCRATCHED = 0.08


def polygons() -> ImageSet:
    """Triangles, squares and discs, small and large: the small ones need resolution."""
    return drawn(("triangle", "square", "disc"), _polygons, seed=21, train=400, val=400, pool=10_000)


def blots() -> ImageSet:
    """Large triangles and discs with wrong labels: an easy task, with a ceiling that every resolution reaches."""
    return drawn(("triangle", "disc"), _blots, seed=22, train=400, val=400, pool=10_000)


def scratches() -> ImageSet:
    """Plates, of which few have a fine scratch: a rare class."""
    return drawn(("sound", "scratched"), _scratches, seed=23, train=600, val=400, pool=10_000)


def _polygons(random: np.random.Generator, count: int) -> Pictures:
    labels = random.integers(0, 3, count)

    def draw(brush: ImageDraw.ImageDraw, number: int) -> None:
        _draw_polygon(brush, random, (3, 4, 0)[labels[number]], random.uniform(7, 20))

    return _pictures(random, labels, draw, noise=16)


def _blots(random: np.random.Generator, count: int) -> Pictures:
    truth = random.integers(0, 2, count)

    def draw(brush: ImageDraw.ImageDraw, number: int) -> None:
        _draw_polygon(brush, random, (3, 0)[truth[number]], random.uniform(14, 24))

    labels = np.where(random.random(count) < WRONG, 1 - truth, truth)
    return _pictures(random, labels, draw, noise=20)


def _scratches(random: np.random.Generator, count: int) -> Pictures:
    labels = (random.random(count) < SCRATCHED).astype(np.int64)

    def draw(brush: ImageDraw.ImageDraw, number: int) -> None:
        for _ in range(3):  # stains, which a scratch is to be told from
            x, y, radius = *random.uniform(8, SIDE - 8, 2), random.uniform(3, 9)
            brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(random.uniform(90, 170)))
        if labels[number]:
            x, y, angle, half = *random.uniform(18, SIDE - 18, 2), random.uniform(0, np.pi), random.uniform(12, 24)
            step = half * np.array([np.cos(angle), np.sin(angle)])
            ends = [(x - step[0], y - step[1]), (x + step[0], y + step[1])]
            brush.line(ends, fill=int(random.uniform(185, 240)), width=2)

    return _pictures(random, labels, draw, noise=18)


def _draw_polygon(brush: ImageDraw.ImageDraw, random: np.random.Generator, corners: int, radius: float) -> None:
    """Draw a regular polygon of one brightness, or a disc (no corners) of the same area, near the middle."""
    x, y = random.normal(SIDE / 2, 3, 2)
    turn, grey = random.uniform(-15, 15), int(random.uniform(165, 230))
    if corners:
        brush.regular_polygon((x, y, radius), corners, rotation=turn, fill=grey)
    else:
        radius *= 0.8
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=grey)


def _pictures(
    random: np.random.Generator,
    labels: np.ndarray,
    draw: Callable[[ImageDraw.ImageDraw, int], None],
    *,
    noise: float,
) -> Pictures:
    pixels = np.empty((len(labels), SIDE, SIDE, 1), dtype=np.uint8)
    for number in range(len(labels)):
        image = Image.new("L", (SIDE, SIDE), color=110)
        draw(ImageDraw.Draw(image), number)
        grey = np.asarray(image) + noise * random.standard_normal((SIDE, SIDE), dtype=np.float32)
        pixels[number, ..., 0] = grey.clip(0, 255)
    return Pictures(pixels, labels.astype(np.int64))
