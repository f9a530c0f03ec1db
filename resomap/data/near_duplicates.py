"""Search for near-duplicates: the same picture re-encoded, resized, mirrored or turned by quarters.

A perceptual hash finds candidates, the thumbnails confirm them: a 64-bit DCT hash alone takes hundreds of the bundled
solar cells for one picture. Groups are not chained: all images of a group are near-duplicates of its centre.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from resomap.data.sketch import COLOUR_SIDE, HASH_WORDS, MOST_HALVINGS, ORIENTATIONS, SIDE, Sketch, oriented

LARGEST_DISTANCE = 40  # of 256 bits, between a picture and what JPEG or another size makes of it
# Confirmed where two thumbnails differ (root mean square) by less than this share of their contrast. JPEG and another
# size make it 0.01 to 0.05 in photos, and up to 0.35 in tiny or noisy pictures; different pictures differ by more than
# 0.5. But where a set is of pictures that look alike (cells of one solar module: 0.07 and more), only the strict share
# tells them apart: where many that the hash takes for alike are different, or an image has many of them.
_STRICT, _LAX, _DIFFERENT = 0.05, 0.35, 0.5
_MANY_DIFFERENT, _MANY_ALIKE = 0.05, 4  # of the candidates; candidates an image
# A group of more than this, in images and as a share of them, is of a camera that stands still, not of copies.
LARGEST_GROUP, _LARGEST_SHARE = 20, 0.05
_LEAST_CONTRAST = 1.0  # of 255: flatter pictures have nothing to be told apart by
_LARGEST_COLOUR_DIFFERENCE = 12.0  # of 255, root mean square over the coarse colour channels
_AT_ONCE = 1 << 20  # pairs
_CROWD = 1024  # images with one band of a hash: beyond, their pairs are found by the other bands or not at all
_BANDS = HASH_WORDS * 4  # of 16 bits: two hashes that differ in fewer bits than that agree in one band at least
_WAYS = (0, 1, 2, 3, 4, 5, 7)  # 6 is 5 with the two images exchanged


@dataclass(frozen=True)
class NearDuplicates:
    """Result of a search. Names are those of the sketches."""

    candidates: int = 0  # pairs with similar hashes
    pairs: list[tuple[str, str]] = field(default_factory=list)  # confirmed, sorted
    centre_of: dict[str, str] = field(default_factory=dict)  # of each image in a group, the centre included
    lookalikes: int = 0  # images in groups that are too large to be of copies, and are none therefore


def find_near_duplicates(sketches: Mapping[str, Sketch]) -> NearDuplicates:
    """Compare all images with each other; the result does not depend on their order."""
    names = sorted(sketches)
    if len(names) < 2:
        return NearDuplicates()
    keys, difference = _Compared.of([sketches[name] for name in names]).all_candidates()
    is_of_lookalikes = (difference >= _DIFFERENT).sum() > _MANY_DIFFERENT * len(keys)
    is_of_lookalikes |= len(keys) > _MANY_ALIKE * len(names)
    near = keys[difference < (_STRICT if is_of_lookalikes else _LAX)].tolist()
    pairs = [(names[key // len(names)], names[key % len(names)]) for key in near]
    centre_of = _groups(pairs)
    sizes = Counter(centre_of.values())
    largest = max(LARGEST_GROUP, _LARGEST_SHARE * len(names))
    kept = {name: centre for name, centre in centre_of.items() if sizes[centre] <= largest}
    return NearDuplicates(len(keys), pairs, kept, len(centre_of) - len(kept))


def _groups(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return {name: centre}. The image with the most near-duplicates takes all that are still free, and so on."""
    near: dict[str, set[str]] = defaultdict(set)
    for one, other in pairs:
        near[one].add(other)
        near[other].add(one)
    centre_of: dict[str, str] = {}
    for centre in sorted(near, key=lambda name: (-len(near[name]), name)):
        free = [name for name in near[centre] if name not in centre_of]
        if centre not in centre_of and free:
            centre_of |= dict.fromkeys([centre, *free], centre)
    return centre_of


@dataclass(frozen=True)
class _Compared:
    """The sketches as arrays."""

    hashes: np.ndarray  # uint64 [N, ORIENTATIONS, HASH_WORDS]
    grey: np.ndarray  # float32 [N, SIDE, SIDE]
    contrast: np.ndarray  # float32 [N]: standard deviation of grey
    colour: np.ndarray  # float32 [N, 2, COLOUR_SIDE, COLOUR_SIDE]
    has_colour: np.ndarray  # bool [N]
    halvings: np.ndarray  # int64 [N]

    @classmethod
    def of(cls, sketches: Sequence[Sketch]) -> "_Compared":
        number = len(sketches)
        hashes = np.frombuffer(b"".join(one.hashes for one in sketches), dtype=np.uint64)
        grey = np.frombuffer(b"".join(one.grey for one in sketches), dtype=np.uint8).astype(np.float32)
        grey = grey.reshape(number, SIDE, SIDE)
        without = bytes(2 * COLOUR_SIDE**2)
        colour = np.frombuffer(b"".join(one.colour or without for one in sketches), dtype=np.uint8)
        return cls(
            hashes.reshape(number, ORIENTATIONS, HASH_WORDS),
            grey,
            np.array([_halved(one[None], sketch.halvings).std() for one, sketch in zip(grey, sketches, strict=True)]),
            colour.astype(np.float32).reshape(number, 2, COLOUR_SIDE, COLOUR_SIDE),
            np.array([bool(one.colour) for one in sketches]),
            np.array([one.halvings for one in sketches]),
        )

    def all_candidates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all pairs with similar hashes, sorted: their keys (lower x N + upper image), and how they differ.

        int64 [pairs], float [pairs]; of several ways to turn an image the one that fits best counts.
        """
        keys, difference = np.empty(0, dtype=np.int64), np.empty(0)
        for first, second, way in self._candidates():
            found = np.minimum(first, second) * len(self.grey) + np.maximum(first, second)
            keys = np.concatenate([keys, found])
            difference = np.concatenate([difference, self._difference(first, second, way)])
            keys, place = np.unique(keys, return_inverse=True)
            best = np.full(len(keys), np.inf)
            np.minimum.at(best, place, difference)
            difference = best
        return keys, difference

    def _candidates(self) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Yield (first, second, way): pairs of images of which the first, turned that way, has a hash like the second.

        Found by bands of 16 bits that are equal: all pairs with a distance below 16, and nearly all up to the largest.
        """
        upright = np.ascontiguousarray(self.hashes[:, 0]).view(np.uint16)
        for band in range(_BANDS):
            order = np.argsort(upright[:, band], kind="stable")
            keys = upright[order, band]
            for way in _WAYS:
                wanted = np.ascontiguousarray(self.hashes[:, way]).view(np.uint16)[:, band]
                start, end = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
                for first, place in _ranges(start, end):
                    second = order[place]
                    # Each pair once, but for the way that does not undo itself.
                    is_new = first != second if way == 5 else first < second
                    first, second = first[is_new], second[is_new]
                    is_alike = self._distance(first, second, way) <= LARGEST_DISTANCE
                    if is_alike.any():
                        yield first[is_alike], second[is_alike], way

    def _difference(self, first: np.ndarray, second: np.ndarray, way: int) -> np.ndarray:
        """Return how much the thumbnails differ, the first image of each pair turned that way: float [pairs].

        It is the root mean square difference over the contrast, at a size that neither image is smaller than; infinite
        where colours differ, or where there is nothing to compare.
        """
        apart = oriented(self.grey[first], way) - self.grey[second]
        halvings = np.maximum(self.halvings[first], self.halvings[second])
        squares = np.empty(len(first))
        for level in range(MOST_HALVINGS + 1):
            squares[halvings == level] = (_halved(apart[halvings == level], level) ** 2).mean(axis=(1, 2))
        contrast = np.minimum(self.contrast[first], self.contrast[second])
        is_comparable = (contrast >= _LEAST_CONTRAST) & self._has_same_colour(first, second, way)
        return np.where(is_comparable, np.sqrt(squares) / np.maximum(contrast, _LEAST_CONTRAST), np.inf)

    def _has_same_colour(self, first: np.ndarray, second: np.ndarray, way: int) -> np.ndarray:
        apart = oriented(self.colour[first], way) - self.colour[second]
        is_same = np.sqrt((apart**2).mean(axis=(1, 2, 3))) < _LARGEST_COLOUR_DIFFERENCE
        # A picture saved in grey is still the same picture.
        return np.asarray(is_same | ~(self.has_colour[first] & self.has_colour[second]))

    def _distance(self, first: np.ndarray, second: np.ndarray, way: int) -> np.ndarray:
        different = self.hashes[first, way] ^ self.hashes[second, 0]
        return np.asarray(np.bitwise_count(different).sum(axis=1, dtype=np.int64))


def _halved(pixels: np.ndarray, times: int) -> np.ndarray:
    """Return pixels [N, S, S] with means of 2 x 2 in their place, as many times."""
    side = pixels.shape[1] >> times
    return pixels.reshape(len(pixels), side, 1 << times, side, 1 << times).mean(axis=(2, 4))


def _ranges(start: np.ndarray, end: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (index, place) for each place from start[index] to end[index], at most about _AT_ONCE at a time."""
    sizes = np.where(end - start > _CROWD, 0, end - start)
    index = np.flatnonzero(sizes)
    while len(index):
        taken = index[: max(1, int(np.searchsorted(np.cumsum(sizes[index]), _AT_ONCE)))]
        index = index[len(taken) :]
        first = np.repeat(taken, sizes[taken])
        within = np.arange(len(first)) - np.repeat(np.cumsum(sizes[taken]) - sizes[taken], sizes[taken])
        yield first, np.repeat(start[taken], sizes[taken]) + within
