"""Exports: the file answers as the training did, tells how to read images, and is refused where it does not."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import MODEL, ROOT, draw_images, make_study, small_config, snakemake
from PIL import Image, ImageOps

from resomap.cells.decision import Decision, OperatingPoint
from resomap.cells.predictions import Predictions
from resomap.cli import main
from resomap.compute.normalisation import Normalisation, on_device, to_unit_range
from resomap.compute.thresholds import OneVsRest
from resomap.core.files import file_digest, read_json
from resomap.data.decode import decode, resize
from resomap.export.export_files import FP16, FP32, INT8
from resomap.export.facts import of_each_channel
from resomap.export.parity import TOLERANCE, Answers, log_softmax, parity
from resomap.train.attempt import train_cell
from resomap.train.request import Request

pytestmark = pytest.mark.xdist_group("export")  # what its fixture trains is trained once

CELL = f"{MODEL}@32"
POINT = OperatingPoint("sensitivity_at_specificity", 0.9, "down", 0.25)
PAGE = ROOT / "docs" / "deploy.md"


@dataclass(frozen=True)
class Exported:
    """A study with one trained cell that the rule has exported; `photos` are images that it never saw."""

    directory: Path
    photos: Path
    config: dict[str, Any]

    @property
    def results(self) -> Path:
        return self.directory / "results" / MODEL

    def files(self) -> set[str]:
        """Files of exports that are there, and what is unfinished of them; the training's journal may be being sent."""
        names = {path.name for path in self.results.iterdir() if ".journal." not in path.name}
        return {name for name in names if re.search(r"onnx|openvino|export|tmp", name)}


def photos_in(folder: Path) -> Path:
    """Pictures of many kinds: sizes, coloured, turned by EXIF, grey, of 16 bits, palette, transparent."""
    random = np.random.default_rng(3)
    folder.mkdir()

    def noise(*shape: int) -> np.ndarray:
        return random.normal(130, 60, shape).clip(0, 255).astype(np.uint8)

    for name, shape in (("wide", (31, 90, 3)), ("tall", (77, 20, 3)), ("tiny", (5, 4, 3)), ("grey", (64, 47))):
        Image.fromarray(noise(*shape)).save(folder / f"{name}.png")
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(noise(40, 60, 3)).save(folder / "turned.jpg", exif=turned, quality=95)
    Image.fromarray(random.integers(0, 65536, (45, 33)).astype(np.uint16)).save(folder / "deep.png")
    Image.fromarray(noise(50, 41, 4)).save(folder / "transparent.png")
    Image.fromarray(noise(50, 41, 3)).quantize(16).save(folder / "palette.gif")
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Trained in this process, exported by Snakemake."""
    directory = tmp_path_factory.mktemp("study")
    images = tmp_path_factory.mktemp("images")
    draw_images(images, 40)
    for path in sorted(images.rglob("*.png"))[::3]:  # coloured ones too
        Image.merge("RGB", [ImageOps.invert(Image.open(path))] * 2 + [Image.open(path)]).save(path)
    config = small_config(images, training={"epochs": 2}, data={"fit": "border"}, report={"margin": 0.4})
    study = make_study(directory, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        train_cell(Request(study, study.cell(MODEL, 32), 1, 1, lambda _sentence: None))
        best = study.cell(MODEL, 32).checkpoints / "best.pt"
        held = read_json(best.with_name("decision.json"))
        kept = Decision.beside(best, held["fingerprint"], held["uid"])
        assert kept is not None
        replace(kept, temperature=1.7, **asdict(POINT)).write(best)  # that of these few images is 1
    done = snakemake("--cores", "2", f"results/{MODEL}/32.onnx", directory=directory, config=config)
    assert done.returncode == 0, done.stderr
    assert f"export {MODEL} 32 done" in done.stderr
    assert "1 completed, 0 failed, 0 remaining" in done.stderr  # what is trained stays
    return Exported(directory, photos_in(tmp_path_factory.mktemp("of") / "photos"), config)


@pytest.fixture
def here(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Exported:
    monkeypatch.chdir(exported.directory)
    return exported


def validation(exported: Exported) -> tuple[np.ndarray, np.ndarray]:
    """Prepared validation images uint8 [N, H, W, C], and the log-probabilities that the training kept of them."""
    kept = Predictions.load(exported.results / "32.predictions.npz")
    assert kept is not None
    return np.load(exported.directory / "results" / "data" / "32" / "val.npy"), kept.splits["val"].log_probabilities


def session(path: Path) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    found = onnxruntime.InferenceSession(str(path))
    return found, {name: json.loads(text) for name, text in found.get_modelmeta().custom_metadata_map.items()}


def test_the_file_answers_as_the_training_did_at_any_batch_size(exported: Exported) -> None:
    runtime, told = session(exported.results / "32.onnx")
    pixels, kept = validation(exported)
    images = ((pixels / 255 - told["mean"]) / told["std"]).astype(np.float32).transpose(0, 3, 1, 2)
    whole = log_softmax(runtime.run(["logits"], {"images": images})[0])
    assert np.abs(whole - kept).max() < 1e-4
    for size in (1, 3):
        part = log_softmax(runtime.run(["logits"], {"images": images[:size]})[0])
        assert np.abs(part - kept[:size]).max() < 1e-4


def test_the_file_and_its_parity_say_what_they_are(exported: Exported) -> None:
    path = exported.results / "32.onnx"
    _, told = session(path)
    marker = read_json(exported.results / "32.done")
    assert told["temperature"] == 1.7
    assert told["operating_point"] == asdict(POINT)
    assert told["classes"] == ["across", "down"]
    assert (told["resolution"], told["fit"], told["channels"]) == (32, "border", 3)
    assert (told["fingerprint"], told["uid"]) == (marker["fingerprint"], marker["uid"])
    assert len(told["mean"]) == len(told["std"]) == 3
    assert {"torch", "timm", "onnxruntime"} <= told["versions"].keys()
    content = read_json(exported.results / "32.export.json")
    assert content["sha256"] == file_digest(path)
    found = content["parity"]
    pixels, _ = validation(exported)
    assert found["images"] == len(pixels)
    assert 0 < found["largest_difference"] <= found["tolerance"] == TOLERANCE * found["largest_logit"]
    assert found["changed_decisions"] == 0
    assert found["loss"]["exported"] == pytest.approx(marker["metrics"]["val/balanced_accuracy"])
    assert found["loss"]["exported_interval"][0] < found["loss"]["exported"] <= found["loss"]["exported_interval"][1]


def snippet() -> str:
    between = r"<!-- without-resomap: a test.*?```python\n(.*?)```\n<!-- without-resomap: end"
    block = re.search(between, PAGE.read_text(), re.DOTALL)
    assert block is not None
    return block[1]


def test_the_pages_lines_are_few_and_need_no_resomap() -> None:
    lines = [line for line in snippet().splitlines() if line.strip()]
    assert len(lines) <= 15
    named = {word for line in lines if "import" in line for word in re.findall(r"\w+", line)}
    assert named == {"import", "from", "as", "json", "sys", "numpy", "np", "onnxruntime", "PIL", "Image", "ImageOps"}


def test_the_pages_lines_say_what_predict_says(
    here: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "use.py").write_text(snippet())
    paths = sorted(here.photos.iterdir())
    answered = subprocess.run(
        [sys.executable, "-I", *isolated(tmp_path / "use.py"), here.results / "32.onnx", *paths],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert answered.returncode == 0, answered.stderr
    assert main(["predict", "--cell", CELL, "--json", *map(str, paths)]) == 0
    said = capsys.readouterr().out
    lines = answered.stdout.splitlines()
    for line, image in zip(lines, json.loads(said)["images"], strict=True):
        path, _, shares = line.partition(" ")
        assert path == image["image"]
        expected = {one["class"]: one["probability"] for one in image["predictions"]}
        assert eval(shares) == pytest.approx(expected, abs=2e-3), path


def isolated(script: Path) -> list[str]:
    """Words of a Python that runs a script with the path of this one, and without ResoMap."""
    places = [place for place in sys.path if place and Path(place) != ROOT and not (Path(place) / "resomap").exists()]
    code = (
        f"import sys, runpy; sys.path[:0] = {places!r}; sys.modules['resomap'] = None; sys.modules['torch'] = None; "
        f"sys.argv[:1] = []; runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    return ["-c", code, str(script)]


@pytest.mark.parametrize("fit", ["center", "squash", "border"])
def test_the_pages_lines_scale_as_the_training_did(fit: str, tmp_path: Path) -> None:
    """Every pixel, at sizes whose borders and crops are odd."""
    found = re.search(r"^border = .*\nfit = .*$", snippet(), re.M)
    assert found is not None
    names: dict[str, Any] = {"Image": Image, "ImageOps": ImageOps, "told": {"fit": fit}}
    exec(found[0], names)
    random = np.random.default_rng(0)
    for width, height in ((31, 90), (90, 31), (64, 63), (33, 33), (7, 50), (101, 99)):
        path = tmp_path / "one.png"
        Image.fromarray(random.integers(0, 256, (height, width, 3)).astype(np.uint8)).save(path)
        for size in (32, 33):
            ours = resize(decode(path), size, fit)
            theirs = np.asarray(names["fit"](Image.open(path), [size] * 2, Image.BICUBIC))
            assert np.array_equal(ours, theirs), (width, height, size)


def test_lower_precisions_and_openvino_are_verified_and_written(here: Exported) -> None:
    for words in (("--precision", FP16), ("--precision", INT8), ("--format", "openvino", "--precision", INT8)):
        assert main(["export", "--cell", CELL, "--threads", "2", *words]) == 0, words
    size = {name: (here.results / f"32.{name}onnx").stat().st_size for name in ("", "fp16.", "int8.")}
    assert size["fp16."] < 0.7 * size[""]
    assert size["int8."] < 0.5 * size[""]
    pixels, kept = validation(here)
    for precision in (FP16, INT8):
        runtime, told = session(here.results / f"32.{precision}.onnx")
        assert told["precision"] == precision
        images = ((pixels / 255 - told["mean"]) / told["std"]).astype(np.float32).transpose(0, 3, 1, 2)
        logs = log_softmax(runtime.run(None, {"images": images})[0])
        found = read_json(here.results / f"32.{precision}.export.json")["parity"]
        assert found["changed_from_evaluation"] == (logs.argmax(1) != kept.argmax(1)).mean()
        assert found["loss"]["lost"] <= found["loss"]["upper"] <= 0.4
    content = read_json(here.results / "32.int8.openvino.export.json")
    for name, digest in (("xml", "sha256"), ("bin", "weights_sha256")):
        assert file_digest(here.results / f"32.int8.openvino.{name}") == content[digest]
    import openvino

    model = openvino.Core().read_model(here.results / "32.int8.openvino.xml")
    assert json.loads(model.get_rt_info(["resomap", "classes"]).astype(str)) == ["across", "down"]
    assert not [name for name in here.files() if name.endswith("tmp")]


def test_what_may_lose_more_than_the_margin_is_refused_with_the_number(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(exported.directory)
    strict = study_with_margin(exported, tmp_path, 0.01)
    for path in exported.results.glob("32.fp16.*"):
        path.unlink()
    before = exported.files()
    assert main(["export", "--study", str(strict), "--cell", CELL, "--precision", FP16]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    found = re.search(r"may lose up to (0\.\d+) balanced_accuracy .* report\.margin is 0\.01", said)
    assert found is not None, said
    assert float(found[1]) > 0.01
    assert exported.files() == before


def study_with_margin(exported: Exported, place: Path, margin: float) -> Path:
    from resomap.cells.study import Study

    study = Study.open({**exported.config, "report": {"margin": margin}})
    study.save(place / "strict.json")
    return place / "strict.json"


def test_predict_computes_the_file_as_it_computes_the_weights(
    here: Exported, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    exported_file = here.results / "32.onnx"
    said = []
    for which in (["--cell", CELL], ["--onnx", str(exported_file)]):
        assert main(["predict", *which, "--json", "--device", "cpu", str(here.photos)]) == 0
        said.append(json.loads(capsys.readouterr().out))
    ours, theirs = said
    assert theirs["weights"] == str(exported_file)
    for name in ("model", "fingerprint", "temperature", "operating_point", "resolution", "trained_resolution"):
        assert ours[name] == theirs[name]
    for one, other in zip(ours["images"], theirs["images"], strict=True):
        assert one["image"] == other["image"]
        assert one["positive"] == other["positive"]
        shares = [{each["class"]: each["probability"] for each in image["predictions"]} for image in (one, other)]
        assert shares[0] == pytest.approx(shares[1], abs=1e-4)
    (tmp_path / "no.onnx").write_bytes(b"no network")
    for words, sentence in (
        (["--onnx", str(tmp_path / "no.onnx")], "ONNX Runtime does not take"),
        (["--onnx", str(tmp_path / "none.onnx")], "there is no file"),
        (["--onnx", str(exported_file), "--resolution", "64"], "takes 32 px alone"),
        (["--onnx", str(exported_file), "--device", "cuda"], "leave out --device"),
    ):
        assert main(["predict", *words, str(here.photos)]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [
        (1, (0.4,), (0.2,)),
        (1, (0.4,), (0.0,)),
        (1, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)),
        (3, (0.4, 0.5, 0.6), (0.1, 0, 0.3)),
    ],
)
def test_three_channels_are_told_of_grey_networks_too(channels: int, mean: Any, std: Any) -> None:
    """Normalisation as in the training: grey statistics, a constant channel, pretrained weights on grey images."""
    normalisation = Normalisation(mean, std)
    told_mean, told_std = of_each_channel(normalisation)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, channels)).astype(np.uint8)
    ours = ((pixels / 255 - told_mean) / told_std).astype(np.float32).transpose(0, 3, 1, 2)
    trained = normalisation(to_unit_range(on_device(torch.from_numpy(pixels), torch.device("cpu"))))
    assert ours.shape == trained.shape == (2, 3, 5, 5)
    assert np.allclose(ours, trained.numpy(), rtol=1e-5, atol=1e-5)


@pytest.fixture
def answers() -> Answers:
    """400 images, two of which stand near a tie."""
    random = np.random.default_rng(0)
    labels = np.arange(400) % 2
    logits = random.normal(0, 3, (400, 2)).astype(np.float32)
    logits[:2] = [[1.0, 1.0001], [1.0, 1.5]]
    return Answers(labels, None, logits, logits.copy(), log_softmax(logits), logits[0].copy())


def changed(answers: Answers, **rows: Any) -> Answers:
    exported = answers.exported.copy()
    for row, values in rows.items():
        exported[int(row.removeprefix("row"))] = values
    return replace(answers, exported=exported, alone=exported[0].copy())


def test_float32_may_differ_by_a_thousandth_of_the_largest_logit(answers: Answers) -> None:
    largest = np.abs(answers.reference).max()
    for share, is_refused in ((0.9e-3, False), (1.1e-3, True)):
        shifted = replace(answers, exported=answers.exported + np.float32(share * largest), alone=answers.alone)
        found = parity(shifted, "accuracy", 0.01, None)
        assert (found.refusal(FP32) is not None) == is_refused
        assert found.largest_difference == pytest.approx(share * largest, rel=1e-3)
    assert "differ by up to" in str(found.refusal(FP32))


def test_float32_may_decide_otherwise_in_ties_alone(answers: Answers) -> None:
    tie = parity(changed(answers, row0=[1.0001, 1.0]), "accuracy", 0.01, None)
    assert (tie.changed_decisions, tie.changed_beyond_ties, tie.refusal(FP32)) == (1 / 400, 0, None)
    beyond = parity(changed(answers, row1=[1.5, 1.0]), "accuracy", 0.01, None)
    assert beyond.changed_beyond_ties == 1
    assert beyond.refusal(FP32) is not None
    one_alone = parity(replace(answers, alone=answers.alone + 1), "accuracy", 0.01, None)
    assert one_alone.largest_difference == pytest.approx(1)


def test_a_threshold_decides_too(answers: Answers) -> None:
    odds = float(answers.reference[5, 1] - answers.reference[5, 0])
    moved = answers.reference[5] + np.array([0, 0.01], dtype=np.float32)
    found = parity(changed(answers, row5=moved), "accuracy", 0.01, (1, odds + 0.005))
    assert found.changed_decisions == 1 / 400
    assert parity(changed(answers, row5=moved), "accuracy", 0.01, (1, odds + 1)).changed_decisions == 0


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("precision", [FP32, FP16, INT8])
def test_logits_that_are_not_finite_are_refused(answers: Answers, broken: float, precision: str) -> None:
    found = parity(changed(answers, row7=[broken, 0]), "accuracy", 0.5, None)
    assert "not all finite" in str(found.refusal(precision))


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", OneVsRest("average_precision", 1)])
def test_lower_precision_is_refused_by_the_bound_of_the_loss(answers: Answers, metric: Any) -> None:
    sure = np.where(np.arange(2) == answers.labels[:, None], 4.0, -4.0).astype(np.float32)
    good = replace(answers, reference=sure, exported=sure, original=log_softmax(sure), alone=sure[0])
    same = parity(good, metric, 0.02, None)
    assert same.loss is not None
    assert same.loss.lost == 0
    assert 0 < same.loss.upper < 0.02
    assert same.refusal(INT8) is None
    worse = parity(changed(good, **{f"row{row}": -sure[row] for row in range(12)}), metric, 0.02, None)
    assert worse.loss is not None
    assert worse.loss.lost > 0.01
    assert worse.loss.upper > worse.loss.lost
    assert f"{worse.loss.upper:.4f}" in str(worse.refusal(INT8))


def test_what_is_not_installed_is_named_with_the_command(
    here: Exported, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = here.files()
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as where it is not there: find_spec says so
    assert main(["export", "--cell", CELL, "--precision", INT8]) == 2
    said = capsys.readouterr().err
    assert "onnxscript" in said
    assert " -m pip install " in said
    assert here.files() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--cell", f"{MODEL}@48"), "is not done"),
        (("--cell", "vgg11"), "names no cell"),
        (("--winner",), "there is no winner"),
        (("--cell", CELL, "--threads", "0"), "--threads 0"),
    ],
)
def test_mistakes_are_one_sentence(
    here: Exported, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    before = here.files()
    assert main(["export", *words]) == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert here.files() == before


def test_the_rule_makes_nothing_twice_and_knows_precisions(exported: Exported) -> None:
    targets = [f"results/{MODEL}/32.onnx", f"results/{MODEL}/32.fp16.onnx"]
    (exported.results / "32.fp16.onnx").unlink(missing_ok=True)
    planned = snakemake("-n", "-p", *targets, directory=exported.directory, config=exported.config)
    output = planned.stdout + planned.stderr
    assert planned.returncode == 0, output
    assert "--precision fp16" in output
    assert "--precision fp32" not in output
    assert "rule train" not in output
