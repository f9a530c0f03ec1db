"""Selection of the images that are used, the split of each, and every reason why another is not used."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from resomap.config.schema import Data
from resomap.data import SPLITS
from resomap.data.folder import is_text_name
from resomap.data.folds import FEWEST, deal, impossible, pooled, scarce_classes, splits_of
from resomap.data.image_formats import is_image
from resomap.data.inspection import UNREADABLE, Seen, is_text
from resomap.data.left_out import EMPTY_CLASS, NOT_EVERYWHERE, NOT_IN_EACH_FOLD
from resomap.data.near_duplicates import NearDuplicates, find_near_duplicates
from resomap.data.source import Item, Source
from resomap.data.split import Member, assign, blocks

WRONG_TYPE = "files of another type"
OF_TWO_CLASSES = "images whose content is of another class too"
ACROSS_SPLITS = "images whose content is in another split too"
GROUP_ACROSS_SPLITS = "images whose group is in another split too"
NOT_IN_TRAIN = "classes that the training split lacks"
SCALED_LIKE_OTHERS = (
    "Values up to 255 in files that do not tell 8 from 16 bits: taken as 16 bits, as the other images of that kind"
)


@dataclass(frozen=True)
class Problem:
    """A problem of the data, at which `data.problems: error` stops. `name` is a file's, or a class's."""

    kind: str
    name: str
    detail: str


@dataclass(frozen=True)
class Note:
    """A remark on the data that stops nothing."""

    text: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """An image that is used, with its split."""

    item: Item
    seen: Seen
    split: str
    block: str  # images that belong together share one: a name of one of them
    fold: int | None = None  # that it judges, counted from 1; None in the test split and without folds


@dataclass
class Selection:
    """The images that are used, sorted by name, and the problems and remarks found on the way."""

    classes: list[str] = field(default_factory=list)
    splits: tuple[str, ...] = SPLITS  # that there are: with folds val is none of its own
    chosen: list[Chosen] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    near_duplicates: NearDuplicates = field(default_factory=NearDuplicates)

    def straddling(self) -> list[tuple[Chosen, Chosen]]:
        """Return the pairs of near-duplicates that are in two splits."""
        used = {image.item.name: image for image in self.chosen}
        pairs = [(used.get(one), used.get(other)) for one, other in self.near_duplicates.pairs]
        return [(one, other) for one, other in pairs if one and other and one.split != other.split]


def select(source: Source, seen: Mapping[str, Seen], data: Data) -> Selection:
    """Select the images that `data.problems: skip` uses, and list all problems.

    With `error` the selection is the same, for the report, and the problems stop it. Left out are: damaged files and
    files of another type; all images of a content that has two classes, since none tells which is right; of content or
    groups that straddle given splits, the images in train, then in val; classes that train lacks.
    """
    selection = Selection(splits=splits_of(data.folds), notes=_notes_on_source(source, data.folds))
    problems = selection.problems
    problems += [Problem(UNREADABLE, folder, reason) for folder, reason in source.unreadable]
    problems += [Problem(*problem) for problem in source.problems]
    problems += _of_another_type(source, selection.notes)
    problems += [Problem(s.damage, s.name, s.detail) for s in seen.values() if s.damage]
    given = source.items if data.folds is None else pooled(source.items)
    items = [item for item in given if not seen[item.name].damage]
    items = _without_two_classes(items, seen, problems)
    items = _without_straddling(items, lambda item: seen[item.name].content, ACROSS_SPLITS, problems)
    items = _without_straddling(items, lambda item: item.group, GROUP_ACROSS_SPLITS, problems)
    near = selection.near_duplicates = _near_duplicates(items, seen)
    are_together = data.near_duplicates == "together" or data.folds is not None
    block_of = _blocks(source, items, seen, near if are_together else NearDuplicates())
    split_of = _splits(source, items, block_of, data)
    selection.classes = _classes_in_train(source, items, split_of, problems, selection.splits)
    fold_of = _folds(items, split_of, block_of, data, selection)
    selection.chosen = [
        Chosen(item, seen[item.name], split_of[item.name], block_of[item.name], fold_of.get(item.name))
        for item in items
        if item.label in selection.classes
    ]
    if alike := _alike(selection.classes):
        selection.notes.append(Note("Classes whose names are nearly the same", alike))
    selection.notes += _notes_on_images(selection.chosen) + _notes_on_reading(selection.chosen)
    return selection


def _of_another_type(source: Source, notes: list[Note]) -> Iterable[Problem]:
    """Yield a problem for each file that is no image by suffix and content; texts, no images by intent, are a note.

    A picture under the suffix of a text was meant as an image most likely, and is not read as one: a problem too.
    """
    texts: Counter[str] = Counter()
    for name in source.wrong_type:
        path = source.root / name
        try:
            if is_text_name(name) and is_image(path) and not is_text(path):
                yield Problem(WRONG_TYPE, name, "an image by its content, with the suffix of a text; rename it")
            elif is_text_name(name) or is_text(path):
                texts[PurePosixPath(name).suffix.lower() or "without a suffix"] += 1
            else:
                yield Problem(WRONG_TYPE, name, "not an image by its suffix and content")
        except OSError as error:
            yield Problem(UNREADABLE, name, error.strerror or str(error))
    if texts:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in texts.most_common())
        notes.append(Note(f"Texts among the images, and not used: {kinds}."))


def _without_two_classes(items: list[Item], seen: Mapping[str, Seen], problems: list[Problem]) -> list[Item]:
    """Return the items without those whose content has another class elsewhere; they become problems."""
    of_content: dict[str, dict[str, Item]] = defaultdict(dict)  # {content: {label: first item}}
    for item in items:
        of_content[seen[item.name].content].setdefault(item.label, item)
    kept = []
    for item in items:
        others = [other for label, other in of_content[seen[item.name].content].items() if label != item.label]
        if others:
            detail = f"as {others[0].name}, of the class {others[0].label}"
            problems.append(Problem(OF_TWO_CLASSES, item.name, detail))
        else:
            kept.append(item)
    return kept


def _without_straddling(
    items: list[Item], key_of: Callable[[Item], str | None], kind: str, problems: list[Problem]
) -> list[Item]:
    """Return the items without leakage between given splits: those with one key stay in one split only.

    The test split counts most, then val, then train; the items left out become problems of this kind.
    """
    keeper: dict[str, Item] = {}
    for item in items:
        key = key_of(item)
        if item.split and key is not None:
            held = keeper.setdefault(key, item)
            if SPLITS.index(item.split) > SPLITS.index(held.split or "train"):
                keeper[key] = item
    kept = []
    for item in items:
        key = key_of(item)
        other = keeper.get(key, item) if key is not None else item
        if item.split == other.split:
            kept.append(item)
        else:
            problems.append(Problem(kind, item.name, f"as {other.name}"))
    return kept


def _near_duplicates(items: list[Item], seen: Mapping[str, Seen]) -> NearDuplicates:
    """Search the contents, each of which goes by the name of its first image."""
    first: dict[str, str] = {}
    for item in items:
        first.setdefault(seen[item.name].content, item.name)
    return find_near_duplicates({name: sketch for name in first.values() if (sketch := seen[name].sketch)})


def _blocks(source: Source, items: list[Item], seen: Mapping[str, Seen], near: NearDuplicates) -> dict[str, str]:
    """Return {name: block}. No block straddles given splits: their leakage is left out, or can only be reported."""
    centre_of = {seen[name].content: centre for name, centre in near.centre_of.items()}
    keys_of = {}
    for item in items:
        content = seen[item.name].content
        keys = [f"content {content}", *([f"group {item.group}"] if item.group else [])]
        if content in centre_of:
            keys.append(f"near {'' if _is_movable(source, item) else item.split} {centre_of[content]}")
        keys_of[item.name] = keys
    return blocks(keys_of)


def _is_movable(source: Source, item: Item) -> bool:
    """Return True if the split of the image is made here."""
    return bool(source.split_here) and item.split in (None, "train")


def _splits(source: Source, items: list[Item], block_of: Mapping[str, str], data: Data) -> dict[str, str]:
    fixed = {item.name: item.split for item in items if item.split}
    if not source.split_here:
        return fixed
    movable = [item for item in items if _is_movable(source, item)]
    members = [Member(item.name, item.label, item.stratum, block_of[item.name]) for item in movable]
    shares = {split: getattr(data.split, split) for split in source.split_here}
    made = assign(members, shares, data.split_seed)
    if data.folds is not None:
        made = {name: "train" if split == "val" else split for name, split in made.items()}
    return fixed | made


def _folds(
    items: list[Item], split_of: Mapping[str, str], block_of: Mapping[str, str], data: Data, selection: Selection
) -> dict[str, int]:
    """Return the fold of each image outside the test split; classes that cannot be dealt become problems."""
    if data.folds is None:
        return {}
    dealt = [item for item in items if split_of[item.name] == "train" and item.label in selection.classes]
    members = [Member(item.name, item.label, item.stratum, block_of[item.name]) for item in dealt]
    for label, count in scarce_classes(members).items():
        if count < FEWEST:
            selection.problems.append(Problem(NOT_IN_TRAIN, label, impossible(data.folds, label, count)))
            selection.classes.remove(label)
        elif count < data.folds:
            selection.problems.append(Problem(NOT_IN_EACH_FOLD, label, impossible(data.folds, label, count)))
    found = deal([member for member in members if member.label in selection.classes], data.folds, data.split_seed)
    sizes = Counter(found.values()).values()
    if sizes:
        many = f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
        selection.notes.append(Note(f"The images outside the test split are dealt into {data.folds} folds of {many}."))
    return found


def _classes_in_train(
    source: Source, items: list[Item], split_of: Mapping[str, str], problems: list[Problem], places: Sequence[str]
) -> list[str]:
    found: dict[str, set[str]] = {label: set() for label in source.classes}
    count: dict[str, int] = defaultdict(int)
    for item in items:
        found[item.label].add(split_of[item.name])
        count[item.label] += 1
    for label, splits in found.items():
        few = f"; it has {count[label]} usable images" if source.split_here else ""
        few += "".join(f"; {likeness}" for other in found if (likeness := _likeness(label, other)))
        absent = [split for split in places if split not in splits]
        if not splits:
            problems.append(Problem(EMPTY_CLASS, label, "no usable image in any split"))
        elif "train" in absent:
            problems.append(Problem(NOT_IN_TRAIN, label, f"only in {' and '.join(sorted(splits))}{few}"))
        elif absent:
            problems.append(Problem(NOT_EVERYWHERE, label, f"missing in {' and '.join(absent)}{few}"))
    return [label for label in source.classes if "train" in found[label]]


def _likeness(label: str, other: str) -> str:
    """Return how another class is nearly of this name, in words; empty where it is not."""
    if label == other:
        return ""
    if unicodedata.normalize("NFC", label) == unicodedata.normalize("NFC", other):
        return f"{label!a} and {other!a} are the same characters in two Unicode forms (NFC, NFD): rename one"
    if _folded(label) == _folded(other):
        return f"it differs from `{other}` only in case or in spaces: rename one where they are the same class"
    return ""


def _folded(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def _alike(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the pairs of classes whose names are nearly the same, with what tells them apart."""
    first: dict[str, str] = {}
    pairs = [(first.setdefault(_folded(label), label), label) for label in classes]
    return tuple(f"{label}: {likeness}" for one, label in pairs if (likeness := _likeness(label, one)))


def _notes_on_source(source: Source, folds: int | None) -> list[Note]:
    notes = [Note(remark) for remark in source.remarks]
    if folds is not None and any(item.split == "val" for item in source.items):
        notes.append(Note("The images of the val/ folder are dealt into the folds with those of train/."))
    if folds is None and source.split_here == ("train", "val"):
        notes.append(Note("There is no val/ folder: the validation split is taken from train/."))
    for folder, split in source.taken_as.items():
        notes.append(Note(f"`{folder}/` is taken as the {split} split by its name."))
    if source.clutter:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in source.clutter.items())
        notes.append(
            Note(f"Left out by name, as file managers, network drives and downloads leave them among images: {kinds}.")
        )
    if source.ignored:
        notes.append(Note("Beside the class folders, and not used", tuple(source.ignored)))
    if source.ungrouped:
        notes.append(Note(f"{source.ungrouped:,} images are not in the groups file; each counts as its own group."))
    if source.unused_groups:
        notes.append(Note(f"{source.unused_groups:,} lines of the groups file name no image."))
    return notes


def _notes_on_images(chosen: Iterable[Chosen]) -> list[Note]:
    same: dict[str, list[Chosen]] = defaultdict(list)
    for image in chosen:
        same[image.seen.content].append(image)
    repeated = [images for images in same.values() if len(images) > 1]
    deep = [image.seen for images in same.values() for image in images if image.seen.deep]
    notes = []
    if repeated:
        notes.append(Note("Same content more than once within a split", _name_pairs(repeated)))
    if deep and max(seen.brightest for seen in deep) < 32:
        notes.append(
            Note(
                f"The {len(deep):,} images of 16 bits use less than an eighth of their range, so little of "
                "it is left in 8 bits; scale them up to 65535 first, or name their data.value_range with data.channels."
            )
        )
    return notes


def _notes_on_reading(chosen: Iterable[Chosen]) -> list[Note]:
    """List what the files hold and the pixels do not, and images whose scale goes by the other images."""
    lost: dict[str, list[str]] = defaultdict(list)
    for image in chosen:
        for loss in image.seen.losses:
            lost[loss].append(image.item.name)
        if "white level" in image.seen.correction and image.seen.peak is not None:
            lost[SCALED_LIKE_OTHERS].append(image.item.name)
    return [Note(loss, tuple(names)) for loss, names in sorted(lost.items())]


def _name_pairs(groups: list[list[Chosen]]) -> tuple[str, ...]:
    return tuple(" = ".join(image.item.name for image in images) for images in groups)
