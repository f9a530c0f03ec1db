"""Report on the check of the images: check.md to read, check.json to compute with."""

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from resomap.config.schema import Data
from resomap.core.errors import PermanentFailure
from resomap.core.files import write_json, write_text
from resomap.data.bands import OTHER_CHANNELS
from resomap.data.inspection import Seen
from resomap.data.left_out import CHECK, NOT_IN_EACH_FOLD, by_kind, count_left_out, in_words
from resomap.data.selection import Chosen, Problem, Selection

_NAMED_IN_SENTENCE = 3
_LISTED = 1000  # pairs


def short_sides(chosen: list[Chosen]) -> dict[str, int]:
    """Return the median, smallest and largest short side, in pixels, as the files hold them; zeros without an image."""
    sides = [min(image.seen.width, image.seen.height) for image in chosen] or [0]
    return {"median": round(median(sides)), "min": min(sides), "max": max(sides)}


def counts(selection: Selection) -> dict[str, dict[str, int]]:
    """Return the number of images by split and class: {split: {class: images}}."""
    found = Counter((image.split, image.item.label) for image in selection.chosen)
    return {split: {label: found[split, label] for label in selection.classes} for split in selection.splits}


def write_report(directory: Path, source: str, policy: str, selection: Selection) -> Path:
    """Write check.md and check.json into the directory and say what is left out; return the path of check.md."""
    report = directory / "check.md"
    write_json(directory / CHECK, _as_json(source, policy, selection))
    write_text(report, "\n".join(_lines(source, policy, selection)) + "\n")
    if words := in_words(count_left_out(policy, (problem.kind for problem in selection.problems))):
        print(f"{words}, as `data.problems: skip` says; {report} names them", flush=True)
    return report


def stop_on_problems(policy: str, selection: Selection, report: Path) -> None:
    """Raise PermanentFailure for problems under `error`, too few classes or an empty split under any policy."""
    too_few = next((problem for problem in selection.problems if problem.kind == NOT_IN_EACH_FOLD), None)
    if policy == "error" and too_few is not None:
        raise PermanentFailure(f"{too_few.detail}; see {report}")
    if policy == "error" and selection.problems:
        kinds = by_kind(Counter(problem.kind for problem in selection.problems))
        names = ", ".join(problem.name for problem in selection.problems[:_NAMED_IN_SENTENCE])
        more = ", ..." if len(selection.problems) > _NAMED_IN_SENTENCE else ""
        raise PermanentFailure(
            f"the images have problems ({kinds}): {names}{more}; {report} names all; mend them, or leave "
            "them out with --config 'data={problems: skip}'"
        )
    if len(selection.classes) < 2:
        found = f"only {selection.classes[0]!r}" if selection.classes else "none"
        raise PermanentFailure(
            f"a classifier needs two classes, and the training split has {found}; see {report} and give "
            "`data.source` a folder for each class"
        )
    filled = {image.split for image in selection.chosen}
    for split in selection.splits:
        if split not in filled:
            raise PermanentFailure(
                f"the {split} split has no usable image; see {report}, and add images or change `data.split`"
            )


def stop_on_other_channels(data: Data, seen: Iterable[Seen]) -> None:
    """Raise PermanentFailure, under `data.problems: error`, for images of another number of channels than the study's.

    One sentence names an image of each number.
    """
    other: Seen | None = None
    fitting: Seen | None = None
    for one in seen:
        if one.damage == OTHER_CHANNELS:
            other = other or one
        elif one.damage is None:
            fitting = fitting or one
    if other is None or data.problems != "error":
        return
    number = other.detail.partition(",")[0]
    if fitting is None:
        raise PermanentFailure(
            f"no image has the {data.channels} channels that data.channels says: {other.name} has {number}; set "
            "data.channels to that"
        )
    raise PermanentFailure(
        f"the images have different numbers of channels: {fitting.name} has {data.channels} and {other.name} has "
        f"{number}; give them one number, or leave those out that differ from data.channels with --config "
        "'data={problems: skip}'"
    )


def straddling_sentence(together: bool, split_here: Collection[str], selection: Selection, report: Path) -> str | None:
    """Return the sentence for the terminal on near-duplicates in two splits; None where there are none."""
    pairs = selection.straddling()
    if not pairs:
        return None
    one, other = pairs[0]
    could_move = not together and any({one.split, other.split} <= set(split_here) for one, other in pairs)
    advice = (
        "`data: {near_duplicates: together}` keeps them on one side: another split, for which all cells train anew"
        if could_move
        else "remove one of each, or name groups in `data.groups`"
    )
    return (
        f"{len(pairs):,} pairs of near-duplicates straddle the splits, such as {one.item.name} ({one.split}) and "
        f"{other.item.name} ({other.split}), which makes results look better than they are; {report} names them; "
        f"{advice}"
    )


def _as_json(source: str, policy: str, selection: Selection) -> dict[str, Any]:
    return {
        "source": source,
        "policy": policy,
        "images": len(selection.chosen),
        "classes": selection.classes,
        "counts": counts(selection),
        "short_side": short_sides(selection.chosen),
        "modes": Counter(image.seen.mode for image in selection.chosen),
        "problems": [vars(problem) for problem in selection.problems],
        "notes": [vars(note) for note in selection.notes],
        "near_duplicates": _near_as_json(selection),
    }


def _lines(source: str, policy: str, selection: Selection) -> list[str]:
    sides = short_sides(selection.chosen)
    modes = Counter(image.seen.mode for image in selection.chosen)
    return [
        f"# Images of `{source}`",
        "",
        f"{len(selection.chosen):,} usable images in {len(selection.classes)} classes. "
        f"Short side {sides['median']} pixels (median), from {sides['min']} to {sides['max']}. "
        f"Modes: {', '.join(f'{mode} {count:,}' for mode, count in modes.most_common())}.",
        "",
        *_table(selection),
        "",
        *_problem_lines(policy, selection.problems),
        *_near_lines(selection),
        *_note_lines(selection),
    ]


def _table(selection: Selection) -> list[str]:
    number = counts(selection)
    rows = [(label, [number[split][label] for split in selection.splits]) for label in selection.classes]
    rows.append(("**all**", [sum(number[split].values()) for split in selection.splits]))
    total = max(1, sum(rows[-1][1]))
    lines = [
        f"| class | {' | '.join(selection.splits)} | all | share |",
        "|---|" + "---:|" * (len(selection.splits) + 2),
    ]
    for label, row in rows:
        cells = " | ".join(f"{value:,}" for value in (*row, sum(row)))
        lines.append(f"| {label} | {cells} | {sum(row) / total:.1%} |")
    return lines


def _problem_lines(policy: str, problems: list[Problem]) -> list[str]:
    if not problems:
        return ["## Problems", "", "None.", ""]
    done = "left out" if policy == "skip" else "`data.problems: error` stops here"
    lines = [f"## Problems: {len(problems):,} ({done})", ""]
    for kind, count in Counter(problem.kind for problem in problems).items():
        lines += [f"### {kind[0].upper()}{kind[1:]}: {count:,}", ""]
        lines += [f"- `{problem.name}`: {problem.detail}" for problem in problems if problem.kind == kind]
        lines.append("")
    return lines


def _near_as_json(selection: Selection) -> dict[str, Any]:
    near = selection.near_duplicates
    return {
        "candidates": near.candidates,
        "confirmed": len(near.pairs),
        "lookalikes": near.lookalikes,
        "straddling": [[one.item.name, other.item.name] for one, other in selection.straddling()[:_LISTED]],
    }


def _near_lines(selection: Selection) -> list[str]:
    near, straddling = selection.near_duplicates, selection.straddling()
    lines = ["## Near-duplicates", ""]
    if not near.candidates:
        return [*lines, "None: no two images have similar hashes.", ""]
    lines += [
        f"{near.candidates:,} pairs of images have similar hashes. Their pixels confirm {len(near.pairs):,} as one "
        "picture that was re-encoded, resized, mirrored or turned; the other "
        f"{near.candidates - len(near.pairs):,} only look alike. {len(straddling):,} pairs are in two splits.",
        "",
    ]
    if near.lookalikes:
        lines += [
            f"{near.lookalikes:,} images are in groups too large to be copies of one picture (a camera that stands "
            "still?); they are not kept together: name what belongs together in `data.groups`.",
            "",
        ]
    for one, other in straddling[:_LISTED]:
        other_class = "" if one.item.label == other.item.label else ", of different classes"
        lines.append(f"- `{one.item.name}` ({one.split}) and `{other.item.name}` ({other.split}){other_class}")
    if len(straddling) > _LISTED:
        lines.append(f"- and {len(straddling) - _LISTED:,} more")
    return [*lines, ""] if straddling else lines


def _note_lines(selection: Selection) -> list[str]:
    lines = ["## Notes", ""] if selection.notes else []
    for note in selection.notes:
        lines.append(f"- {note.text}" + (f": {len(note.names):,}" if note.names else ""))
        lines += [f"    - `{name}`" for name in note.names]
    return lines
