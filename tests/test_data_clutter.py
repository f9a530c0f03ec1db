"""Clutter and texts among the images are left out and counted; one entry that cannot be read is one problem."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from test_data_manifest import made, picture, report_on, to_split

from resomap.core.errors import PermanentFailure
from resomap.data.clutter import kind_of_clutter


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir",
        "@EADIR",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "__MACOSX",
        "@Recycle",
        "FOUND.001",
    ],
)
def test_folders_of_drives_and_archives_are_no_classes_and_no_images(tmp_path: Path, name: str) -> None:
    root = to_split(tmp_path / "images", a=8, b=8)
    for path in sorted(root.glob("*/*.png")):
        thumbnail = path.parent / name / path.name / "SYNOPHOTO_THUMB_M.jpg"
        thumbnail.parent.mkdir(parents=True)
        Image.open(path).resize((6, 6)).save(thumbnail)
    picture(root / name / "deleted/old.png", seed=5)
    manifest = made(root)
    assert manifest.classes == ["a", "b"]
    assert len(manifest.entries) == 16
    text, kinds = report_on(root)
    assert kinds == {}
    assert "17 files in " in text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Thumbs.db",
            "thumbs.db",
            "THUMBS.DB",
            "ehthumbs.db",
            "Thumbs.db:encryptable",
            "Desktop.ini",
            "Icon\r",
            "Picasa.ini",
        ),
        *("1.png.part", "1.jpg.crdownload", "1.jpg:Zone.Identifier", "1.jpg\uf03aZone.Identifier", "1.png~"),
        *("1.png.tmp", "~$1.png", "._1.png", ".DS_Store"),
    ],
)
def test_files_of_file_managers_and_downloads_are_left_out(tmp_path: Path, name: str) -> None:
    root = to_split(tmp_path / "images", a=6, b=6)
    (root / "a" / name).write_bytes(b"\0\1\2")
    assert len(made(root).entries) == 12
    text, kinds = report_on(root)
    assert kinds == {}
    assert "Left out by name" in text
    assert kind_of_clutter(name, is_folder=False)


@pytest.mark.parametrize("name", ["part", "recycle", "1.png", "party.jpg", "thumbs.png", "download", "tmp", "@home"])
def test_names_that_only_resemble_clutter_are_none(name: str) -> None:
    assert kind_of_clutter(name, is_folder=True) is None
    assert kind_of_clutter(name, is_folder=False) is None


def test_texts_beside_images_are_a_note_and_never_a_stop(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=6, b=6)
    for number in range(6):
        (root / f"a/{number:03}.xml").write_text("<annotation/>")
    (root / "b/ATTRIBUTION").write_text("by their owners, née Müller")
    (root / "b/list.geojson").write_text('{"type": "FeatureCollection"}')
    (root / "b/utf16.dat").write_bytes("a list".encode("utf-16"))
    (root / "b/empty.txt").touch()
    assert len(made(root).entries) == 12
    text, kinds = report_on(root)
    assert kinds == {}
    assert "- Texts among the images, and not used: 6 .xml, 1 without a suffix, 1 .txt, 1 .geojson, 1 .dat." in text
    for content in (b"\0\0\0\x18ftypmp42", bytes(range(128, 256)), b"PK\3\4 archive"):
        (root / "b/clip.xyz").write_bytes(content)
        with pytest.raises(PermanentFailure, match="1 files of another type"):
            made(root)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, to whom no folder is closed."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that anybody may enter: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o777)
        yield place


@pytest.mark.parametrize("problems", ["error", "skip"])
@pytest.mark.parametrize("entry", ["link", "folder", "listed", "locked", "file", "odd link"])
def test_one_unreadable_entry_is_one_problem(open_place: Path, problems: str, entry: str) -> None:
    root = to_split(open_place / "images", a=8, b=8)
    bad = root / "a/self.png"
    if entry == "link":
        bad.symlink_to("self.png")
    elif entry == "odd link":
        bad = root / "a/self"
        bad.symlink_to("self")
    elif entry == "file":
        picture(bad, seed=99).chmod(0)
    else:
        bad = root / "a/more"
        picture(bad / "1.png", seed=99)
        bad.chmod({"folder": 0, "locked": 0o101, "listed": 0o404}[entry])
    name = f"a/{bad.name}" + ("/" if bad.is_dir() else "")
    try:
        with as_nobody():
            if problems == "skip":
                assert len(made(root, problems="skip").entries) == 16
            else:
                with pytest.raises(PermanentFailure, match="1 unreadable"):
                    made(root)
    finally:
        if bad.is_dir():
            bad.chmod(0o755)
    ((kind, (found,)),) = report_on(root)[1].items()
    # Where a folder may be listed and not entered, some systems let its names be seen.
    assert (kind, found) in {("unreadable", name), ("unreadable", f"{name}1.png" if entry == "listed" else name)}
