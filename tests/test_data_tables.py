"""Tables and shards are the same images as the folder they were made from, and whatever is wrong with them is named."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from conftest import draw_images
from shards import add, class_label, hugging_face, label_in, names_in, write_csv, write_parquet, write_tar

from resomap.config.schema import Columns, Data
from resomap.core.errors import PermanentFailure, ResomapError
from resomap.data.changes import CheckedFiles
from resomap.data.identity import data_identity, describe
from resomap.data.manifest import Manifest, make_manifest
from resomap.data.prepare import prepare_images
from resomap.data.source import read_source, root_of
from resomap.data.store import Store
from resomap.report.thumbnails import Thumbnails


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw_images(tmp_path / "images", 20, size=20)
    return tmp_path / "images"


def columns(**values: Any) -> dict[str, Any]:
    return {"columns": Columns(**values)}


def tsv(folder: Path) -> tuple[Path, dict[str, Any]]:
    return write_csv(folder, folder / "list.tsv", "\t"), {}


def above(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Kaggle's form: ids without a suffix, in a folder beside the table."""
    lines = [f"{name.removesuffix('.png')},{label_in(name)}" for name in names_in(folder)]
    table = folder.parent / "train.csv"
    table.write_text("\n".join(["id,breed", *lines]) + "\n")
    return table, columns(folder=folder.name, suffix=".png")


def metadata(folder: Path) -> tuple[Path, dict[str, Any]]:
    """An imagefolder of `datasets`: metadata.csv beside the images, which lie in one folder."""
    flat = folder.parent / "flat"
    for name in names_in(folder):
        (flat / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, flat / "images" / name)
    lines = [f"images/{name},{label_in(name)},x" for name in names_in(folder)]
    (flat / "metadata.csv").write_text("\n".join(["file_name,label,note", *lines]) + "\n")
    return flat, {}


def absolute(folder: Path) -> tuple[Path, dict[str, Any]]:
    table = folder / "all.csv"
    lines = [f'"{folder / name}";{label_in(name)}' for name in names_in(folder)]
    table.write_text("\ufeffImage Path;Class\r\n" + "\r\n".join(lines))
    return table, {}


def parquet_of_paths(folder: Path) -> tuple[Path, dict[str, Any]]:
    names = names_in(folder)
    table = hugging_face(
        {"label": class_label(["down", "across"])},
        {"path": names, "label": [int(label_in(name) == "across") for name in names]},
    )
    parquet.write_table(table, folder / "list.parquet")
    return folder / "list.parquet", {}


FORMS: dict[str, Callable[[Path], tuple[Path, dict[str, Any]]]] = {
    "csv": lambda folder: (write_csv(folder, folder / "labels.csv"), {}),
    "tsv": tsv,
    "kaggle": above,
    "absolute paths": absolute,
    "paths in parquet": parquet_of_paths,
    "parquet": lambda folder: (write_parquet(folder, folder.parent / "parquet"), {}),
    "one parquet": lambda folder: (
        write_parquet(folder, folder.parent / "one", 1) / "part-00000-of-00001.parquet",
        {},
    ),
    "tar": lambda folder: (write_tar(folder, folder.parent / "tar"), {}),
    "tar with json": lambda folder: (write_tar(folder, folder.parent / "json", as_json=True), {}),
}


def prepared(data: Data, directory: Path) -> tuple[Manifest, list[str], dict[str, Any]]:
    """The manifest of a source, the digests of its arrays, and what its store says."""
    manifest = make_manifest(data, directory, 1)
    prepare_images(directory, 16, 1, data.on_disk)
    arrays = [directory / "16" / f"{split}.npy" for split in ("train", "val", "test")]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in arrays if path.exists()]
    return manifest, digests, json.loads((directory / "16/store.json").read_text())


@pytest.mark.parametrize("form", FORMS)
def test_a_table_or_shards_are_the_images_of_the_folder_to_the_bit(form: str, folder: Path, tmp_path: Path) -> None:
    expected, arrays, store = prepared(Data(source=str(folder)), tmp_path / "from-folder")
    source, values = FORMS[form](folder)
    data = Data(source=str(source), **values)
    described = describe(data)
    assert (described.images, described.classes) == (40, ("across", "down"))
    found, same, own = prepared(data, tmp_path / "from-table")
    assert found.content_digest == expected.content_digest
    assert [(one.name, one.split, one.label) for one in found.entries] == [
        (one.name, one.split, one.label) for one in expected.entries
    ]
    assert same == arrays
    assert (own["mean"], own["splits"]) == (store["mean"], store["splits"])
    assert Manifest.load(tmp_path / "from-table") == found
    assert Thumbnails(found).of(found.entries[3].name) == Thumbnails(expected).of(expected.entries[3].name) is not None


def test_an_imagefolder_with_metadata_is_a_table(folder: Path, tmp_path: Path) -> None:
    source, _ = metadata(folder)
    found = make_manifest(Data(source=str(source)), tmp_path / "out", 1)
    assert found.counts["test"] == {"across": 3, "down": 3}
    assert found.entries[0].name == "images/across/000.png"
    splits = tmp_path / "splits"
    for number, name in enumerate(names_in(folder)):
        place = splits / ("train", "validation", "test")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, place / name.replace("/", "-"))
        with (place / "metadata.csv").open("a") as stream:
            stream.write("" if stream.tell() else "file_name,label\n")
            stream.write(f"{name.replace('/', '-')},{label_in(name)}\n")
    found = make_manifest(Data(source=str(splits)), tmp_path / "out", 1)
    assert {one.name.split("/")[0]: one.split for one in found.entries} == {
        "train": "train",
        "validation": "val",
        "test": "test",
    }


@pytest.mark.parametrize("form", ["csv", "paths in parquet", "tar"])
def test_images_that_can_be_read_one_by_one_need_no_disk(form: str, folder: Path, tmp_path: Path) -> None:
    source, values = FORMS[form](folder)
    _, arrays, store = prepared(Data(source=str(folder)), tmp_path / "stored")
    data = Data(source=str(source), on_disk="never", **values)
    _, none, own = prepared(data, tmp_path / "not")
    assert (len(arrays), none, own["is_stored"]) == (3, [], False)
    opened = Store.open(tmp_path / "not", 16)
    assert (opened.split("val").pixels[:] == Store.open(tmp_path / "stored", 16).split("val").pixels[:]).all()
    assert own["mean"] == store["mean"]


def test_parquet_with_images_is_refused_for_on_disk_never(folder: Path) -> None:
    source, _ = FORMS["parquet"](folder)
    with pytest.raises(ResomapError, match=r"on_disk: never.* Parquet is read by whole row groups; use `auto`"):
        data_identity(Data(source=str(source), on_disk="never"))


def identity(source: Path, **values: Any) -> str:
    return data_identity(Data(source=str(source), **values))


@pytest.mark.parametrize("form", ["csv", "parquet", "tar"])
def test_the_identity_follows_the_images_and_not_their_place(form: str, folder: Path, tmp_path: Path) -> None:
    source, values = FORMS[form](folder)
    first = identity(source, **values)
    place = source.parent if source.is_file() else source
    shutil.copytree(place, tmp_path / "else/where")
    moved = tmp_path / "else/where" / (source.name if source.is_file() else "")
    assert identity(moved, **values) == first
    seen = {first, identity(source, fit="squash"), identity(source, split_seed=1)}
    (folder / "across/000.png").write_bytes(b"another size")
    seen.add(identity(FORMS[form](folder)[0], **values))
    shutil.rmtree(folder / "down")
    draw_images(tmp_path / "images", 19, size=20)
    seen.add(identity(FORMS[form](folder)[0], **values))
    assert len(seen) == 5


def test_what_a_table_says_of_its_images_counts_and_the_rest_does_not(folder: Path) -> None:
    table = folder / "labels.csv"
    names = names_in(folder)

    def of(**values: Any) -> str:
        heads = ["path", "label", *values]
        rows = [
            [name, label_in(name), *(str(value(place)) for value in values.values())]
            for place, name in enumerate(names)
        ]
        table.write_text("\n".join(",".join(row) for row in [heads, *rows]))
        return identity(table)

    plain = of()
    assert of(camera=lambda place: place) == plain, "a column that is not used"
    assert of(weight=lambda place: 2) == plain, "weights are used where they are named"
    assert len({plain, of(patient=lambda place: f"p{place // 2}"), of(patient=lambda place: f"p{place // 4}")}) == 3
    of(price=lambda place: 1 + place)
    assert identity(table, **columns(weight="price")) != identity(table)


def test_given_splits_groups_and_weights_are_followed(folder: Path, tmp_path: Path) -> None:
    names = names_in(folder)
    lines = ["file_name,class,split,patient_id,w"]
    for place, name in enumerate(names):
        split = ("train", "Validation", "test")[place // 2 % 3]
        lines.append(f"{name},{label_in(name)},{split},p{place // 2},{1 + place % 2}")
    (folder / "t.csv").write_text("\n".join(lines))
    data = Data(source=str(folder / "t.csv"), **columns(weight="w"))
    assert data_identity(data) == data_identity(data.model_copy(update={"split_seed": 9})), "the table splits"
    manifest, _, store = prepared(data, tmp_path / "out")
    assert [one.split for one in manifest.entries[:6]] == ["train", "train", "val", "val", "test", "test"]
    assert manifest.entries[2].group == "p1"
    weights = Store.open(tmp_path / "out", 16).split("train").weights
    assert weights is not None
    assert weights.tolist() == [1, 2] * 7
    here = make_manifest(data.model_copy(update=columns(split=None)), tmp_path / "here", 1)
    of_group: dict[str | None, set[str]] = {}
    for one in here.entries:
        of_group.setdefault(one.group, set()).add(one.split)
    assert {len(splits) for splits in of_group.values()} == {1}
    assert store["splits"]["train"]["weights"][:2] == [1.0, 2.0]


def test_splits_in_the_names_of_shards_are_given_splits(folder: Path, tmp_path: Path) -> None:
    for write in (write_parquet, write_tar):
        place = tmp_path / write.__name__ / "data"
        write(folder, place, 3)
        for shard, split in zip(sorted(place.iterdir()), ("train", "validation", "test"), strict=True):
            shard.rename(place / f"{split}-00000-of-00001{shard.suffix}")
        source = read_source(Data(source=str(place.parent)))
        assert source.split_here == ()
        assert [item.split for item in source.items[:4]] == ["train", "val", "test", "train"]
        assert read_source(Data(source=str(place.parent), **columns(split=None))).split_here == ("train", "val", "test")
        next(place.glob("val*")).unlink()
        assert read_source(Data(source=str(place))).split_here == ("train", "val")
        next(place.glob("test*")).unlink()
        assert len(read_source(Data(source=str(place))).split_here) == 3, "one shard is no split"


def test_images_of_one_name_are_told_apart_by_their_shards(folder: Path, tmp_path: Path) -> None:
    rows = [{"bytes": (folder / name).read_bytes(), "path": name.split("/")[1]} for name in names_in(folder)]
    labels = [label_in(name) for name in names_in(folder)]
    for shard in range(2):
        table = pa.table({"img": rows[shard * 20 :][:20], "label": labels[shard * 20 :][:20]})
        parquet.write_table(table, tmp_path / f"{shard}.parquet")
    names = [item.name for item in read_source(Data(source=str(tmp_path / "0.parquet"))).items]
    assert names[0] == "000.png"
    (tmp_path / "both").mkdir()
    for shard in range(2):
        (tmp_path / f"{shard}.parquet").rename(tmp_path / f"both/{shard}.parquet")
    source = read_source(Data(source=str(tmp_path / "both")))
    assert [source.items[0].name, source.items[-1].name] == ["0.parquet/000.png", "1.parquet/019.png"]
    without = pa.table({"image": [row["bytes"] for row in rows], "label": labels})
    parquet.write_table(without, tmp_path / "bytes.parquet")
    assert read_source(Data(source=str(tmp_path / "bytes.parquet"))).items[1].name == "bytes.parquet/00000001"


def test_every_damage_is_named_and_left_out_by_policy(folder: Path, tmp_path: Path) -> None:
    """An empty image, one that is none, one that is missing, a copy in another split and one of two classes."""
    images = names_in(folder)
    (folder / images[0]).write_bytes(b"")
    (folder / images[1]).write_bytes(b"<html>")
    shutil.copy(folder / "across/005.png", folder / "down/005.png")
    given = {name: ("train", "val", "test")[place % 3] for place, name in enumerate(images)}
    shutil.copy(folder / "across/006.png", folder / "across/007.png")
    wanted = {
        "zero bytes": {images[0]},
        "not an image": {images[1]},
        "images whose content is of another class too": {"across/005.png", "down/005.png"},
        "images whose content is in another split too": {
            min(["across/006.png", "across/007.png"], key=lambda name: ["train", "val", "test"].index(given[name]))
        },
    }
    table = folder / "labels.csv"
    table.write_text("\n".join(["path,label,split", *(f"{name},{label_in(name)},{given[name]}" for name in images)]))
    write_parquet(folder, tmp_path / "parquet", split=lambda name: given[name])
    splits = tmp_path / "tar"
    splits.mkdir()
    for split in ("train", "val", "test"):
        with tarfile.open(splits / f"{split}.tar", "w") as archive:
            for name in (name for name in images if given[name] == split):
                add(archive, name, (folder / name).read_bytes())
                add(archive, name.replace(".png", ".cls"), label_in(name).encode())
    for source in (table, tmp_path / "parquet", splits):
        with pytest.raises(PermanentFailure, match="the images have problems"):
            make_manifest(Data(source=str(source)), tmp_path / "out", 1)
        found: dict[str, set[str]] = {}
        for problem in json.loads((tmp_path / "out/check.json").read_text())["problems"]:
            found.setdefault(problem["kind"], set()).add(problem["name"])
        assert found == wanted, source
        used = make_manifest(Data(source=str(source), problems="skip"), tmp_path / "out", 1)
        assert {one.name for one in used.entries} == set(images) - set().union(*wanted.values())


def test_lines_that_contradict_repeat_or_lack_a_label_are_problems(folder: Path, tmp_path: Path) -> None:
    table = write_csv(folder, folder / "labels.csv")
    with table.open("a") as stream:
        stream.write("across/000.png,down\ndown/000.png,down\nacross/gone.png,across\n")
    text = table.read_text().replace("across/001.png,across", "across/001.png,")
    table.write_text(text)
    with pytest.raises(PermanentFailure):
        make_manifest(Data(source=str(table)), tmp_path / "out", 1)
    report = (tmp_path / "out/check.md").read_text()
    assert f"`across/000.png`: line 2 of {table} and line 42 of {table}" in report
    assert "`across/gone.png`: No such file or directory" in report
    assert f"`across/001.png`: line 3 of {table}" in report
    assert "1 lines repeat another line" in report
    assert "Columns: path from `path`, label from `label`." in report


SENTENCES: dict[str, tuple[str, dict[str, Any], str]] = {
    "no known label": ("path,a,b\nx.png,1,2\n", {}, r"hold its classes; it has path, a, b; name it"),
    "no known path": ("a,b\nx.png,1\n", {}, r"hold its images; it has a, b; name it"),
    "a misspelt column": ("path,label\nx.png,1\n", columns(label="lable"), r"no column 'lable'.*did you mean 'label'"),
    "no such folder": ("id,label\nx,1\n", columns(folder="no"), r"there is no folder .*/no, which"),
    "a line too long": ("path,label\nx,y.png,1\n", {}, r"line 2 of .* has 3 values"),
    "another word for a split": (
        "path,label,split\nx.png,a,fold1\n",
        {},
        r"has 'fold1' in the column.*split: null",
    ),
    "no test": ("path,label,split\nx.png,a,train\ny.png,a,val\n", {}, r"of train and val and none of test; add them"),
    "half a split": (
        "path,label,split\nx.png,a,train\ny.png,a,\n",
        {},
        r"line 3 of .* has nothing in the",
    ),
    "no group": (
        "path,label,patient\nx.png,a,p\ny.png,a,nan\n",
        {},
        r"line 3 of .* has no group in the col",
    ),
    "a group in two spellings": ("path,label,group\nx.png,a,1\ny.png,a,1.0\n", {}, r"spells one group in two ways"),
    "a weight below 0": ("path,label,w\nx.png,a,-1\n", columns(weight="w"), r"'-1' in the column 'w', and a weight is"),
    "no image": ("path,label\n", {}, r"lists no image"),
    "an empty path": ("path,label\n,a\n", {}, r"line 2 of .* names no image"),
    "two columns of one name": ("path,label,label\nx,a,b\n", {}, r"two columns 'label'"),
    "no text": ("path,label\n\udcff,a\n", {}, r"not CSV text in UTF-8"),
    "layout": ("path,label\nx,a\n", {"layout": "classes"}, r"`data.layout` is of folders"),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_what_makes_a_table_unusable_is_one_sentence(case: str, tmp_path: Path) -> None:
    text, values, sentence = SENTENCES[case]
    (tmp_path / "table.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ResomapError, match=sentence) as caught:
        data_identity(Data(source=str(tmp_path / "table.csv"), **values))
    assert "\n" not in str(caught.value)
    with pytest.raises(ResomapError, match=sentence):
        read_source(Data(source=str(tmp_path / "table.csv"), **values))


def test_files_that_are_no_shards_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ResomapError, match=r"there is no file .*labels\.csv"):
        identity(tmp_path / "labels.csv")
    for name, sentence in {"a.parquet": "no whole Parquet file", "a.tar": "no uncompressed tar"}.items():
        (tmp_path / name).write_bytes(b"x" * 5000)
        with pytest.raises(ResomapError, match=sentence):
            identity(tmp_path / name)
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(ResomapError, match=r"a compressed tar.*`gunzip`"):
        identity(tmp_path / "a.tar.gz")
    mixed = write_tar(folder, tmp_path / "mixed")
    write_parquet(folder, mixed)
    with pytest.raises(ResomapError, match="Parquet and tar shards"):
        identity(mixed)
    with pytest.raises(ResomapError, match=r"no table and no shards; leave it out"):
        identity(folder, **columns(label="x"))
    with pytest.raises(ResomapError, match=r"are of paths, and the shards of .* hold the images"):
        identity(write_tar(folder, tmp_path / "tar"), **columns(suffix=".png"))
    with tarfile.open(tmp_path / "none.tar", "w") as archive:
        add(archive, "0.png", b"x")
    with pytest.raises(ResomapError, match=r"no sample of .* has its class in '.cls'"):
        identity(tmp_path / "none.tar")
    parquet.write_table(pa.table({"image": [1, 2], "label": [0, 1]}), tmp_path / "numbers.parquet")
    with pytest.raises(ResomapError, match=r"holds int64, and must hold paths or the bytes"):
        identity(tmp_path / "numbers.parquet")


def test_class_folders_stay_a_folder_whatever_lies_beside_them(folder: Path) -> None:
    before = identity(folder)
    write_csv(folder, folder / "metadata.csv")
    (folder / "images.tar").write_bytes(b"")
    parquet.write_table(pa.table({"a": [1]}), folder / "x.parquet")
    assert identity(folder) == before


def test_a_damaged_stretch_of_a_shard_is_damage_of_its_images(folder: Path, tmp_path: Path) -> None:
    tar = write_tar(folder, tmp_path / "tar", 1) / "000000.tar"
    content = tar.read_bytes()
    tar.write_bytes(content[: len(content) * 2 // 3])
    shards = write_parquet(folder, tmp_path / "parquet", 1)
    path = next(shards.iterdir())
    group = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    start = group.data_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[start : start + 400] = bytes(400)
    path.write_bytes(damaged)
    for source, least in ((tar, 20), (shards, 30)):
        with pytest.raises(PermanentFailure):
            make_manifest(Data(source=str(source)), tmp_path / "out", 1)
        problems = json.loads((tmp_path / "out/check.json").read_text())["problems"]
        assert problems, source
        manifest = make_manifest(Data(source=str(source), problems="skip"), tmp_path / "out", 1)
        assert least <= len(manifest.entries) < 40


def test_a_shard_that_is_edited_in_place_is_noticed(folder: Path, tmp_path: Path) -> None:
    for write in (write_parquet, write_tar):
        source = write(folder, tmp_path / write.__name__)
        data = Data(source=str(source))
        manifest = make_manifest(data, tmp_path / "out", 1)
        files = CheckedFiles(root_of(data.source), manifest.identity, manifest.content_digest, tmp_path / "out")
        assert [one.name for one in files.all()] == sorted(path.name for path in source.iterdir())
        assert files.to_read_again() == []
        shard = sorted(source.iterdir())[1]
        content = bytearray(shard.read_bytes())
        content[600] ^= 1
        shard.write_bytes(content)
        again = files.to_read_again()
        assert files.changed(again) == [shard.name]


def test_what_lies_in_a_tar_beside_the_samples_is_no_sample(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in names_in(folder):
            add(archive, f"./{name}", (folder / name).read_bytes())
            add(archive, f"./{name}".replace(".png", ".cls"), label_in(name).encode() + b"\n")
            add(archive, name.replace(".png", ".mask.png"), b"a mask")
        add(archive, "across/._000.png", b"macOS")
        add(archive, "README", b"text")
    source = read_source(Data(source=str(tmp_path / "a.tar")))
    assert [item.name for item in source.items] == names_in(folder)
    assert source.clutter == {"hidden files and folders": 1}
    assert [name for _, name, _ in source.problems] == ["a.tar/README"]


def test_unlabelled_rows_of_a_class_label_are_problems(folder: Path, tmp_path: Path) -> None:
    rows = [{"bytes": (folder / name).read_bytes(), "path": name} for name in names_in(folder)]
    labels = [-1 if place == 3 else place % 2 for place in range(len(rows))]
    features = {"image": {"_type": "Image"}, "y": class_label(["b", "a"])}
    parquet.write_table(hugging_face(features, {"image": rows, "y": labels}), tmp_path / "x.parquet")
    source = read_source(Data(source=str(tmp_path / "x.parquet")))
    assert source.classes == ["a", "b"]
    assert [name for _, name, _ in source.problems] == ["across/003.png"]
    assert [item.label for item in source.items[:3]] == ["b", "a", "b"]


def test_a_plan_without_parquet_does_not_import_pyarrow(folder: Path, tmp_path: Path) -> None:
    write_csv(folder, folder / "labels.csv")
    for source in (folder, folder / "labels.csv", write_tar(folder, tmp_path / "tar")):
        code = (
            "import sys; from resomap.config.schema import Data; from resomap.data.identity import data_identity; "
            f"data_identity(Data(source={str(source)!r})); "
            "print(sorted({'pyarrow', 'numpy', 'PIL', 'torch'} & sys.modules.keys()))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


def test_a_second_archive_behind_the_end_is_named(folder: Path, tmp_path: Path) -> None:
    shards = sorted(write_tar(folder, tmp_path / "tar").iterdir())
    (tmp_path / "both.tar").write_bytes(b"".join(shard.read_bytes() for shard in shards))
    source = read_source(Data(source=str(tmp_path / "both.tar")))
    assert len(source.items) == 20
    assert source.problems[0][2].startswith("another archive follows")


def test_a_million_rows_in_a_hundred_shards_are_planned_in_seconds(tmp_path: Path) -> None:
    count = 10_000
    rows = pa.array([{"bytes": b"\x89PNG" + bytes(40), "path": f"{row:06d}.png"} for row in range(count)])
    features = {"image": {"_type": "Image"}, "label": class_label([f"class {number}" for number in range(1000)])}
    table = hugging_face(features, {"image": rows, "label": [row % 1000 for row in range(count)]})
    (tmp_path / "hub").mkdir()
    parquet.write_table(table, tmp_path / "hub/0.parquet", row_group_size=100)
    for shard in range(1, 100):
        shutil.copy(tmp_path / "hub/0.parquet", tmp_path / f"hub/{shard}.parquet")
    code = (
        "import re, time; from pathlib import Path; from resomap.config.schema import Data; "
        "from resomap.data.identity import describe; "
        f"start = time.process_time(); found = describe(Data(source={str(tmp_path / 'hub')!r})); "
        # Its own: the largest resident size of `getrusage` begins with that of the process that started this one.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]; "
        "print(found.images, len(found.classes), time.process_time() - start, int(peak) * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    images, classes, seconds, memory = map(float, done.stdout.split())
    assert (images, classes) == (1_000_000, 1000)
    assert seconds < 10  # 2.1 s on an idle machine
    assert memory < 2e9  # 0.11 GB
