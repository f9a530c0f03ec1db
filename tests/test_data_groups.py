"""Groups files that fit in part, or spell a group in two ways: one sentence, and never a patient on both sides."""

from pathlib import Path

import pytest
from test_data_manifest import made, report_on, splits_of, to_split

from resomap.core.errors import ResomapError
from resomap.data.manifest import Manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return to_split(tmp_path / "images", a=24, b=24)


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.glob("*/*.png"))


def patient(name: str) -> int:
    return int(name.rpartition("/")[2][:3]) // 4


def straddling(manifest: Manifest) -> int:
    """Number of patients on both sides of a split."""
    seen: dict[int, set[str]] = {}
    for name, split in splits_of(manifest).items():
        seen.setdefault(patient(name), set()).add(split)
    return sum(len(splits) > 1 for splits in seen.values())


def groups_file(root: Path, rows: list[tuple[str, str]]) -> str:
    path = root.parent / "groups.csv"
    path.write_text("path,group\n" + "".join(f"{name},{group}\n" for name, group in rows))
    return str(path)


@pytest.mark.parametrize(
    ("renamed", "hint"),
    [
        (lambda i, name: name.replace(".png", ".PNG") if i % 2 else name, "where the image is a/001.png"),
        (lambda i, name: name if i == 0 else f"img/{name}", "line 3: img/a/001.png, where the image is a/001.png"),
        (lambda i, name: name.removesuffix(".png") if i > 9 else name, "a/010, where the image is a/010.png"),
        (lambda i, name: name.replace(".png", ".jpg") if i > 9 else name, "a/010.jpg, where the image is a/010.png"),
        (lambda i, name: name.upper() if i > 9 else name, "A/010.PNG, where the image is a/010.png"),
    ],
)
def test_paths_that_fit_in_part_stop_with_what_they_may_mean(root: Path, renamed, hint: str) -> None:  # type: ignore[no-untyped-def]
    rows = [(renamed(i, name), f"p{patient(name)}") for i, name in enumerate(names(root))]
    path = groups_file(root, rows)
    with pytest.raises(ResomapError, match="fits only in part") as caught:
        made(root, groups=path)
    sentence = str(caught.value)
    assert hint in sentence
    assert "--config 'data={ungrouped: alone}'" in sentence
    assert "\n" not in sentence
    assert len(made(root, groups=path, ungrouped="alone").entries) == 48
    assert "images are not in the groups file; each counts as its own group" in report_on(root)[0]


def test_names_in_another_unicode_form_are_the_same_names(root: Path) -> None:
    """A Mac writes file names in one form (NFD), a spreadsheet in the other (NFC)."""
    rows = []
    for i, name in enumerate(names(root)):
        there, here = ("e\u0301", "\u00e9") if i % 2 else ("\u00e9", "e\u0301")
        (root / name).rename(root / name.replace(".png", f"{there}.png"))
        rows.append((name.replace(".png", f"{here}.png"), f"p{patient(name)}"))
    assert straddling(made(root, groups=groups_file(root, rows))) == 0
    assert "groups file" not in report_on(root)[0]


def test_one_group_under_two_names_of_one_image_is_said(root: Path) -> None:
    (root / "a/000.png").rename(root / "a/000e\u0301.png")
    rows = [("a/000\u00e9.png", "p1"), ("a/000e\u0301.png", "p2")]
    with pytest.raises(ResomapError, match="into two groups"):
        made(root, groups=groups_file(root, rows))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{}", "{}.0"),
        ("p{}", "P{}"),
        ("p{}", "p0{}"),
        ("caf\u00e9 {}", "cafe\u0301 {}"),
        ("p {}", "p  {}"),
        ("{}", "0{}.0"),
    ],
)
def test_a_group_spelled_in_two_ways_stops(root: Path, one: str, other: str) -> None:
    rows = [(name, (other if i % 2 else one).format(patient(name))) for i, name in enumerate(names(root))]
    with pytest.raises(ResomapError, match=r"spells one group in two ways, .* \(line 2\) and .* \(line 3\)"):
        made(root, groups=groups_file(root, rows))


def test_groups_that_only_look_alike_are_several(root: Path) -> None:
    labels = ["1.1", "1.10", "10", "1", "p1-2", "p12", "100"]
    rows = [(name, labels[patient(name)]) for name in names(root)]
    assert straddling(made(root, groups=groups_file(root, rows))) == 0


@pytest.mark.parametrize("missing", ["nan", "NaN", "None", "NULL", "#N/A", "<NA>", ""])
def test_a_group_that_means_none_stops_or_stands_alone(root: Path, missing: str) -> None:
    rows = [(name, missing if i % 3 == 0 else str(patient(name))) for i, name in enumerate(names(root))]
    path = groups_file(root, rows)
    with pytest.raises(ResomapError, match=r"line 2 (has the group|needs a path and a group)"):
        made(root, groups=path)
    manifest = made(root, groups=path, ungrouped="alone")
    assert len({split for name, split in splits_of(manifest).items() if dict(rows)[name] == missing}) == 3
    assert "16 images are not in the groups file" in report_on(root)[0]


def test_lines_too_many_or_images_too_many_alone_are_a_note(root: Path) -> None:
    every = [(name, f"p{patient(name)}") for name in names(root)]
    made(root, groups=groups_file(root, [*every, ("a/gone.png", "p99")]))
    assert "1 lines of the groups file name no image" in report_on(root)[0]
    made(root, groups=groups_file(root, every[:-1]))
    assert "1 images are not in the groups file" in report_on(root)[0]
