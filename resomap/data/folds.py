"""Folds: the images outside the test split, dealt so that each of them judges once, by one deal for all cells.

Whatever the source gives as train and val is one pool: every image outside the test split is to judge. Classes and
strata are spread evenly; images of one group, of one content, and near-duplicates stay in one fold.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from resomap.core.errors import ResomapError
from resomap.data import SPLITS
from resomap.data.source import Item
from resomap.data.split import Member, assign

FEWEST = 2  # blocks of a class: with one, a fold's training would never see the class


def splits_of(folds: int | None) -> tuple[str, ...]:
    """Return the splits that the list of images has: with folds val is none of its own."""
    return SPLITS if folds is None else ("train", "test")


def pooled(items: Iterable[Item]) -> list[Item]:
    """Return the items with those of a given validation split in the pool that is dealt, with train."""
    return [replace(item, split="train") if item.split == "val" else item for item in items]


def deal(members: Sequence[Member], folds: int, seed: int) -> dict[str, int]:
    """Return {name: fold}, counted from 1: equal shares, met in every stratum as `assign` does."""
    names = [str(fold) for fold in range(1, folds + 1)]
    return {name: int(fold) for name, fold in assign(members, dict.fromkeys(names, 1.0), seed).items()}


def scarce_classes(members: Iterable[Member]) -> Mapping[str, int]:
    """Return {class: blocks}: how many folds each class can be in."""
    found: dict[str, set[str]] = defaultdict(set)
    for member in members:
        found[member.label].add(member.block)
    return {label: len(blocks) for label, blocks in found.items()}


def require_possible(folds: int, labels: Iterable[str], problems: str) -> None:
    """Raise ResomapError where the files of a class, by their labels, are too few for so many folds.

    Light: planning asks, before an image is opened. Some files may turn out to be in the test split or to be left out,
    which the check of the images finds.
    """
    counts = Counter(labels)
    if not counts:
        return
    label, fewest = min(counts.items(), key=lambda one: (one[1], one[0]))
    if fewest < (folds if problems == "error" else FEWEST):
        raise ResomapError(impossible(folds, label, fewest))


def impossible(folds: int, label: str, images: int) -> str:
    """Return the sentence on a class that has too few images (or groups of them) for the folds."""
    way_out = (
        f"use at most {images} folds (`data: {{folds: {images}}}`), or give the class more images"
        if images >= FEWEST
        else "give the class more images, or leave its folder out"
    )
    return (
        f"data.folds is {folds}, and the class {label} has only {images} images (or groups of them) to deal, where "
        f"each fold needs one; {way_out}"
    )
