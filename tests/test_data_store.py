"""The prepared arrays hold exactly what decoding and resizing gives, and a store that is not whole says so."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resomap.config.schema import Data
from resomap.core.errors import PermanentFailure, ResomapError
from resomap.data.decode import decode, resize
from resomap.data.manifest import make_manifest
from resomap.data.prepare import prepare_images
from resomap.data.store import Store


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes of 20, of several shapes; class b is grey."""
    random = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(20):
            shape = (10 + i, 30 - i, 3) if label == "a" else (25, 12 + i)
            Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(
                tmp_path / "images" / label / f"{i:02d}.png"
            )
    return tmp_path / "images"


def prepared(images: Path, resolution: int = 16, workers: int = 1, fit: str = "center") -> Path:
    directory = images.parent / f"data-{fit}-{workers}"
    make_manifest(Data(source=str(images), fit=fit), directory, workers)  # type: ignore[arg-type]
    prepare_images(directory, resolution, workers)
    return directory


@pytest.mark.parametrize("fit", ["center", "squash", "border"])
def test_arrays_are_decode_and_resize(images: Path, fit: str) -> None:
    store = Store.open(prepared(images, fit=fit), 16)
    seen = 0
    for split in ("train", "val", "test"):
        part = store.split(split)
        assert part.pixels.dtype == np.uint8
        assert part.labels.dtype == np.int64
        assert part.pixels.shape == (len(part.names), 16, 16, 3) == (len(part.labels), 16, 16, store.channels)
        for pixels, label, name in zip(part.pixels, part.labels, part.names, strict=True):
            assert (pixels == resize(decode(images / name), 16, fit)).all()
            assert store.classes[label] == name.split("/")[0]
            seen += 1
    assert seen == 40
    assert store.fit == fit


def test_fit_changes_the_pixels(images: Path) -> None:
    first, *others = (
        Store.open(prepared(images, fit=fit), 16).split("train").pixels for fit in ("center", "squash", "border")
    )
    assert all((first != other).any() for other in others)


def test_workers_do_not_change_a_byte(images: Path) -> None:
    one, two = prepared(images, workers=1), prepared(images, workers=2)
    for name in ("train.npy", "val.npy", "test.npy", "store.json"):
        assert (one / "16" / name).read_bytes() == (two / "16" / name).read_bytes()


def test_mean_and_std_are_those_of_train(images: Path) -> None:
    store = Store.open(prepared(images), 16)
    train = store.split("train").pixels.astype(np.float64) / 255
    assert np.allclose(store.mean, train.mean(axis=(0, 1, 2)), atol=1e-12)
    assert np.allclose(store.std, train.std(axis=(0, 1, 2)), atol=1e-9)
    assert (
        store.native_size
        == json.loads((images.parent / "data-center-1/check.json").read_text())["short_side"]["median"]
    )


def test_resolutions_lie_side_by_side(images: Path) -> None:
    directory = prepared(images, 16)
    prepare_images(directory, 24, 1)
    small, large = Store.open(directory, 16), Store.open(directory, 24)
    assert large.split("val").pixels.shape[1:] == (24, 24, 3)
    assert small.split("val").names == large.split("val").names
    assert small.content_digest == large.content_digest
    assert not list(directory.rglob("*.tmp"))


def test_grey_images_are_stored_with_one_channel(images: Path) -> None:
    (images / "a").rename(images.parent / "colour")
    (images / "a").mkdir()
    for i in range(20):
        Image.open(images.parent / f"colour/{i:02d}.png").convert("L").save(images / f"a/{i:02d}.png")
    store = Store.open(prepared(images), 16)
    assert store.channels == 1 == len(store.mean)
    assert store.split("train").pixels.shape[1:] == (16, 16, 1)


def test_a_store_that_is_not_whole_says_so_and_how_to_mend_it(images: Path) -> None:
    directory = prepared(images)
    place, whole = directory / "16", (directory / "16/train.npy").read_bytes()

    def expect(sentence: str) -> None:
        with pytest.raises(ResomapError, match=sentence) as caught:
            Store.open(directory, 16)
        assert "run the same snakemake command again" in str(caught.value)

    (place / "train.npy").write_bytes(whole[: len(whole) // 2])
    expect(r"damaged train\.npy")
    (place / "train.npy").write_bytes((place / "val.npy").read_bytes())
    expect("another shape")
    (place / "train.npy").write_bytes(b"")
    expect(r"damaged train\.npy")
    (place / "train.npy").unlink()
    expect(r"lacks train\.npy")
    assert Store.open(directory, 16, splits=("test",)).split("test").names
    text = (place / "store.json").read_text()
    (place / "store.json").write_text(text.replace('"content_digest"', '"other"'))
    expect(r"damaged store\.json")
    (place / "store.json").unlink()
    expect("is unfinished")
    with pytest.raises(ResomapError, match="holds no prepared images"):
        Store.open(directory, 32)


def test_verify_reads_every_byte(images: Path) -> None:
    directory = prepared(images)
    Store.open(directory, 16).verify()
    path = directory / "16/val.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ResomapError, match=r"damaged val\.npy"):
        Store.open(directory, 16).verify()


def test_a_file_that_changed_since_the_check_stops(images: Path) -> None:
    directory = prepared(images)
    Image.new("RGB", (9, 9), "red").save(images / "a/03.png")
    with pytest.raises(PermanentFailure, match=r"a/03\.png was fine .* now is changed"):
        prepare_images(directory, 16, 2)
    with pytest.raises(ResomapError, match="is unfinished"):
        Store.open(directory, 16)
    assert not list(directory.rglob("*.tmp"))


def test_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(ResomapError, match=r"manifest\.json is missing or damaged"):
        prepare_images(tmp_path, 16, 1)


def test_a_disk_without_the_space_is_said_before_anything_is_written(images: Path) -> None:
    directory = prepared(images)
    with pytest.raises(ResomapError, match="too full for the prepared images"):
        prepare_images(directory, 4_000_000, 1)
    assert not list((directory / "4000000").iterdir())


@pytest.mark.parametrize("fit", ["center", "border"])
def test_images_that_are_not_stored_are_decoded_to_the_same_bytes(images: Path, fit: str) -> None:
    directory = prepared(images, fit=fit)
    arrays = {split: np.array(Store.open(directory, 16).split(split).pixels) for split in ("train", "val", "test")}
    names = {split: Store.open(directory, 16).split(split).names for split in arrays}
    description = json.loads((directory / "16/store.json").read_text())
    prepare_images(directory, 16, 2, "never")
    assert [path.name for path in (directory / "16").iterdir()] == ["store.json"]
    others = json.loads((directory / "16/store.json").read_text())
    assert {name for name in others if others[name] != description[name]} == {"is_stored", "splits", "seal"}
    assert [part["digest"] for part in others["splits"].values()] == [
        part["digest"] for part in description["splits"].values()
    ]
    decoded = Store.open(directory, 16)
    for split, array in arrays.items():
        part = decoded.split(split)
        assert part.pixels.shape == array.shape
        assert (part.pixels[np.arange(len(array))[::-1]] == array[::-1]).all()
        assert (part.pixels[2:5] == array[2:5]).all()
        assert (part.pixels[3] == array[3]).all()
        assert part.pixels[len(array) :].shape == (0, 16, 16, 3)
        assert part.names == names[split]
    decoded.verify()
    Image.new("RGB", (9, 9), "red").save(images / decoded.split("train").names[0])
    with pytest.raises(PermanentFailure, match=r"was fine .* now is changed"):
        decoded.split("train").pixels[np.array([1, 0])]


def test_a_short_disk_stores_nothing_and_says_so(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, need = prepared(images), 40 * 24 * 24 * 3
    usage = shutil.disk_usage(images)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage._replace(free=int(1.2 * need)))
    prepare_images(directory, 24, 1, "auto")
    assert not Store.open(directory, 24).is_stored
    assert "images of 24 pixels are decoded anew for each batch" in capsys.readouterr().out
    prepare_images(directory, 24, 1, "always")  # it would just fit
    assert Store.open(directory, 24).is_stored
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage._replace(free=int(1.3 * need)))
    prepare_images(directory, 24, 1, "auto")
    assert Store.open(directory, 24).is_stored


def test_a_disk_that_fills_up_is_one_sentence(images: Path) -> None:
    """A real full disk: a small tmpfs of its own, with room for the pixels and none for the files' ends."""
    directory, mounted = prepared(images), images.parent / "disk"
    mounted.mkdir()
    code = (
        "import os, shutil, sys\nfrom pathlib import Path\nfrom resomap.data.prepare import prepare_images\n"
        "from resomap.core.errors import ResomapError\n"
        "disk = Path(sys.argv[2]); shutil.copy(Path(sys.argv[1], 'manifest.json'), disk)\n"
        "(disk / '50').mkdir()\n"
        "spare = shutil.disk_usage(disk).free - 40 * 50 * 50 * 3\n"
        "(disk / 'filler').write_bytes(b'x' * (spare // 4096 * 4096))\n"
        "try:\n    prepare_images(disk, 50, 1)\nexcept ResomapError as error:\n    print(error)\n"
        "print(sorted(os.listdir(disk / '50')))"
    )
    own_mounts = ["unshare", "--map-root-user", "--mount"]
    line = 'mount -t tmpfs -o size=1m tmpfs "$2" || exit 77; exec "$0" -c "$3" "$1" "$2"'
    try:
        done = subprocess.run(
            [*own_mounts, "sh", "-c", line, sys.executable, str(directory), str(mounted), code],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("no unshare on this system")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this system lets nobody mount a disk of its own")
    assert "too full for the prepared images: it filled up" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
