"""The report of grids that are whole, incomplete and odd: always a page, which names what it lacks."""

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest
from browser import look_at
from conftest import MODEL, command, small_config
from PIL import Image
from test_map import finish, measured

from resomap.cells import evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.predictions import EVALUATED
from resomap.cells.study import CURRENT, Study
from resomap.cli import main
from resomap.commands.weights_reader import one_training
from resomap.core.files import read_json, write_json
from resomap.core.sealed_json import sealed
from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import Manifest, make_manifest
from resomap.report.figure import Figure, Panel, rows
from resomap.report.library import begin_bundle
from resomap.report.material import Material
from resomap.report.page import compose, draw
from resomap.report.report_writer import FIGURES, REPORT, make_report
from resomap.statistics import Sample
from resomap.summary.basis import SUMMARY
from resomap.summary.document import Map
from resomap.summary.evidence import gather
from resomap.summary.summary_writer import make_map, summary_text

NAMES = {
    *("heatmap", "curves", "pareto", "transfer", "per-class", "confusion", "learning"),
    *("class-distribution", "image-sizes"),
}
MANY_MODELS = [
    *("vgg11", "vgg16", "resnet18", "resnet50"),
    *("mobilenet_v2", "mobilenetv4_conv_small", "efficientnet_b0", "convnext_tiny"),
]


@pytest.fixture
def written(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """A grid in a fresh directory, its trainings written as files: better from resolution to resolution."""

    def make(source: Path = images, epochs: int = 3, checked: bool = True, **changes: Any) -> Study:
        monkeypatch.chdir(tmp_path)
        study = Study.open(small_config(source, **{"resolutions": [32, 48], "seeds": [0, 1], **changes}))
        study.save(CURRENT)
        if checked:
            make_manifest(study.config.data, DATA_DIRECTORY, 1)
        random = np.random.default_rng(0)
        for cell in study.cells():
            right = 0.6 + 0.3 * study.config.resolutions.index(cell.resolution) / len(study.config.resolutions)
            finish(study, cell, {split: _sample(random, right) for split in EVALUATED})
            _history(cell, epochs, random)
        for model in study.config.models:
            for size in study.config.resolutions:
                measured(study, size, model=model)
        return study

    return make


def _sample(random: np.random.Generator, right: float, images: int = 80) -> Sample:
    labels = np.arange(images) % 2
    said = np.where(random.random(images) < right, labels, 1 - labels)
    sure = random.uniform(0.55, 0.99, images)
    return Sample.of_probabilities(
        labels, np.where(np.arange(2) == said[:, None], sure[:, None], 1 - sure[:, None]).astype(np.float32)
    )


def _history(cell: Cell, epochs: int, random: np.random.Generator) -> None:
    with cell.beside_marker("history.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", "train/loss", "val/loss", "val/balanced_accuracy"])
        for epoch in range(1, epochs + 1):
            writer.writerow([epoch, *(random.random(2) + 0.1), random.uniform(0.5, 1)])


def page() -> str:
    return REPORT.read_text()


def chapter(mark: str) -> str:
    found = re.search(rf'<section id="{mark}" data-chapter>(.*?)</section>', page(), re.DOTALL)
    assert found, mark
    return found[1]


def test_the_page_begins_with_the_recommendation_and_holds_all_of_the_grid(written: Callable[..., Study]) -> None:
    make_report(written())
    found = Map.model_validate(read_json(SUMMARY))
    assert found.recommendation
    beginning = re.sub(r"<[^>]+>", " ", page().replace("&#39;", "'").split('class="facts"')[0])
    assert found.recommendation.text in " ".join(beginning.split())
    assert page().count("data-chart=") == 2 + 1 + 4 + 1 + 1 + 2 + 2 + 1 + 1
    assert "Nothing is missing" not in page()  # the pretended marker has no such thing, but evaluations do
    for figure in NAMES:
        assert (FIGURES / f"{figure}.svg").read_text().startswith("<svg")
        with Image.open(FIGURES / f"{figure}.png") as picture:
            assert picture.width > 400
    assert f"{MODEL} @ 48 px" in chapter("origin")
    assert "toaster" in chapter("cost")


def test_the_answers_cell_is_marked_wherever_cells_stand(
    written: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    study = written()
    found = make_map(study)
    assert found.answer is not None
    answer = found.answer
    name, place = f"{answer.model} @ {answer.resolution} px", f"{answer.model}@{answer.resolution}"
    make_report(study)
    marked = re.findall(r'<tr class="marked" title="the answer">\s*<td[^>]*>(.*?)</td>', page())
    assert {row.split(",")[0] for row in marked} == {name}
    for mark, rows_of_it in (("candidates", 2), ("cost", 1), ("calibration", 2), ("origin", 2)):
        assert chapter(mark).count('class="marked"') >= rows_of_it, mark
    other = 32 + 48 - answer.resolution
    for mark in ("candidates", "cost", "calibration", "origin"):
        of_other = re.search(rf"<tr>\s*<td[^>]*>{MODEL} @ {other} px", chapter(mark))
        assert of_other, "and no other is"
    figures = draw(Material(found, gather(study)))
    for chart in ("pareto", "curves", "learning"):
        for panel in figures[chart].panels:
            drawn = str(panel.chart.to_dict())
            ringed = re.findall(r"{[^{}]*'is_answer': True[^{}]*}", drawn)
            assert ringed, (chart, panel.title)
            assert "datum.is_answer" in drawn
            assert all(f"'resolution': {answer.resolution}," in row for row in ringed), chart
        assert "the answer" in [key.label for key in figures[chart].legend]
    for chart in ("transfer", "per-class"):
        drawn = str([panel.chart.to_dict() for panel in figures[chart].panels])
        assert f"datum.value == {answer.resolution} ?" in drawn, chart
    assert f"▸ {name}" in [panel.title for panel in figures["confusion"].panels]
    for table, key in (("cells", "resolution"), ("summary", "resolution"), ("matrix", "trained_at")):
        with Path("results", f"{table}.csv").open(newline="") as stream:
            lines = list(csv.DictReader(stream))
        assert {line[key] for line in lines if line["is_recommended"] == "True"} <= {f"{answer.resolution}"}, table
        assert any(line["is_recommended"] == "True" for line in lines) or table == "matrix"
    if len(found.ladder) > 1:
        assert f"  > {place}" in summary_text(found)
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert f"> the answer of the map: {place}" in shown
    assert len(re.findall(r">0\.\d{3}", shown)) == 1


def test_a_cells_name_stands_for_all_its_trainings_and_each_has_a_title(
    written: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    study = written()
    first, second = f"{MODEL}@32.seed0", f"{MODEL}@32.seed1"
    assert [study.title(cell) for cell in study.named(f"{MODEL}@32")] == [first, second]
    assert [study.title(cell) for cell in study.named(first)] == [first]
    taken = one_training(study, f"{MODEL}@32")
    assert taken == study.cells()[0]
    assert f"of the 2 trainings of {MODEL}@32 the first is taken, {first}; {second} names another" in (
        capsys.readouterr().err
    )
    assert one_training(study, second).seed == 1
    assert capsys.readouterr().err == ""
    assert main(["forget", first]) == 0
    assert "files of results are now in " in capsys.readouterr().out
    here = Path("results", MODEL)
    assert not (here / "32.done").exists()
    assert (here / "32.seed1.done").exists()
    assert main(["forget", f"{MODEL}@48"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == [f"{MODEL}@48.seed0", f"{MODEL}@48.seed1"]
    assert sorted(path.name for path in here.glob("*.done")) == ["32.seed1.done"]


def test_charts_are_drawn_on_a_wide_and_a_narrow_screen_without_a_word_or_a_request(
    written: Callable[..., Study],
) -> None:
    make_report(written())
    for width in (1400, 390):
        with look_at(REPORT, width) as look:
            charts = look.charts()
            assert {chart["name"] for chart in charts} == {f"figure-{name}" for name in NAMES}
            assert all(chart["drawn"] for chart in charts)
            assert min(chart["marks"] for chart in charts) > 0, charts
            assert look.width() <= width
            for figure, word in (("pareto", "cost"), ("heatmap", "interval"), ("curves", "interval")):
                mark = ".mark-rect path" if figure == "heatmap" else ".mark-symbol path"
                assert MODEL in look.tooltip_at(f"#figure-{figure} {mark}"), word
            assert look.page.locator(".mark-symbol path").count() > 10
            assert look.silent_points() == []
            assert look.complaints == []
            assert look.requests == []


def test_an_empty_grid_has_a_report(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Study.open(small_config(images)).save(CURRENT)
    done = command("resomap", "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "report: results/report.html\n"
    assert "no training of the grid is finished" in page()
    assert "manifest.json) is not here" in chapter("data")
    assert f"{MODEL} @ 32 px, seed 0" in chapter("missing")
    assert "No training of the grid is finished yet" in (FIGURES / "heatmap.svg").read_text()
    with look_at(REPORT) as look:
        assert look.complaints == []


def test_what_is_missing_is_named_and_the_rest_is_drawn(written: Callable[..., Study]) -> None:
    study = written(resolutions=[32, 48, 64])
    cells = {(cell.resolution, cell.seed): cell for cell in study.cells()}
    cells[32, 0].marker.unlink()
    cells[32, 1].marker.unlink()
    for seed in (0, 1):
        evaluation_record.predictions_path(cells[48, seed], 48).unlink()
        evaluation_record.record_path(cells[48, seed]).unlink()
        cells[48, seed].beside_marker("history.csv").write_text("epoch,val/loss\nx,\n")
    for path in Path("results/cost").rglob("64.json"):
        path.unlink()
    content = read_json(cells[64, 1].marker)
    write_json(cells[64, 1].marker, {**content, "exact": False, "exact_reasons": ["microbatch halved"]})
    write_json(cells[64, 0].marker, {**read_json(cells[64, 0].marker), "origin": "tracker"})
    make_report(study)
    missing = chapter("missing")
    for what in ("training", "predictions", "evaluation", "cost"):
        assert f'<td class="text">{what}</td>' in missing
    assert "microbatch halved" in missing
    assert re.search(r"64 px</td><td class=\"number\">0</td><td class=\"text\">tracker<", chapter("origin"))
    assert "no model has predictions at two resolutions" in chapter("disagreements").lower()
    assert "64 px against" not in page()
    with look_at(REPORT) as look:
        assert look.complaints == []
        assert all(chart["marks"] for chart in look.charts())


@pytest.mark.slow
def test_a_map_of_other_trainings_is_made_anew(written: Callable[..., Study]) -> None:
    study = written()
    make_map(study)
    before = SUMMARY.stat().st_mtime_ns
    make_report(study)
    assert SUMMARY.stat().st_mtime_ns == before
    measured(study, 48, "kettle")
    make_report(study)
    assert "measured on kettle" in page()
    assert '"kettle"' in SUMMARY.read_text()
    study.cells()[0].marker.unlink()
    make_report(study)
    assert len(Map.model_validate(read_json(SUMMARY)).trainings) == 3
    SUMMARY.write_text("{")
    make_report(study)
    assert Map.model_validate(read_json(SUMMARY)).missing


def test_a_place_that_cannot_be_written_is_one_sentence(written: Callable[..., Study]) -> None:
    written()
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text("no folder")
    done = command("resomap", "report", cwd=Path.cwd())
    assert done.returncode == 2
    assert done.stderr.startswith("resomap: the report cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def test_names_are_text_and_never_markup(images: Path, written: Callable[..., Study], tmp_path: Path) -> None:
    evil = "</script><script>console.log('out')</script><img src=x onerror=console.log('out')>"
    source = tmp_path / "named"
    for label, folder in (("across", "<b>bold & co"), ("down", "down")):
        (source / folder).mkdir(parents=True)
        for path in sorted((images / label).iterdir())[:12]:
            (source / folder / path.name).write_bytes(path.read_bytes())
    make_report(written(source, experiment=evil))
    assert "<b>bold" not in page()
    assert "&lt;b&gt;bold &amp; co" in page()
    with look_at(REPORT) as look:
        assert look.complaints == []
        assert evil in look.page.title()


ODD_NAMES = [
    *("$5^$", "Ba$$in", "a_b^{", "$10-$20", "new\nline", "\u6f22\u5b57", "q\"uo'te\\"),
    os.fsdecode(b"caf\xe9"),
]


def test_odd_names_of_classes_and_files_cost_no_figure(
    images: Path, written: Callable[..., Study], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, pictures = tmp_path / "odd", sorted((images / "across").iterdir())
    for index, label in enumerate(ODD_NAMES):
        (source / label).mkdir(parents=True)
        for number in range(4):
            name = os.fsdecode(b"%d \xe9.png" % number)
            (source / label / name).write_bytes(pictures[4 * index + number].read_bytes())
    study = written(source)
    classes = tuple(sorted(ODD_NAMES))
    labels = np.arange(40) % len(classes)
    sample = Sample(labels, np.eye(len(classes), dtype=np.float32)[labels[::-1]] * 0.6 + 0.05)
    names = [os.fsdecode(b"%d \xe9.png" % number) for number in range(40)]
    for cell in study.cells():
        finish(study, cell, {"val": sample, "test": sample}, names, classes)
    make_report(study)
    assert "cannot be drawn" not in page()
    assert "cannot be drawn" not in capfd.readouterr().err
    assert page().count("caf\\xe9") > 1
    assert r"0 \xe9.png" in page()
    assert set(Map.model_validate(read_json(SUMMARY)).images.classes or []) > {"$5^$", r"caf\xe9"}
    for name in ("confusion", "per-class", "class-distribution"):
        assert "<path" in (FIGURES / f"{name}.svg").read_text(), name


def test_a_figure_that_fails_costs_itself_alone(
    written: Callable[..., Study], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A manifest that lacks the counts of a class, and a chart that the renderer does not take."""
    study = written()
    manifest = read_json(DATA_DIRECTORY / "manifest.json")
    del manifest["counts"]["train"]["down"]
    write_json(DATA_DIRECTORY / "manifest.json", sealed(manifest))
    make_report(study)
    assert "This figure cannot be drawn: KeyError" in chapter("data")
    assert "figure class-distribution: This figure cannot be drawn" in capfd.readouterr().err
    assert page().count("This figure cannot be drawn") == 1
    assert {path.stem for path in FIGURES.glob("*.svg")} == NAMES
    chart = alt.Chart(rows([{"a": 1}])).mark_bar().encode(x="a:Q").transform_filter("datum.a > ) (")
    figure = Figure("odd", "An odd one", "", [Panel("", chart)]).saved(tmp_path)
    assert not figure.panels
    assert "cannot be drawn" in figure.reason
    assert "cannot be drawn" in (tmp_path / "odd.svg").read_text()
    assert (tmp_path / "odd.png").stat().st_size > 1000


def test_images_on_which_resolution_decides_are_shown_as_each_network_sees_them(written: Callable[..., Study]) -> None:
    study = written(seeds=[0])
    manifest = Manifest.load(DATA_DIRECTORY)
    names = [entry.name for entry in manifest.entries if entry.split == "test"]
    labels = np.array([entry.label for entry in manifest.entries if entry.split == "test"])
    wrong = {32: [0, 1, 2], 48: [2, 3]}
    for cell in study.cells():
        said = labels.copy()
        said[wrong[cell.resolution]] ^= 1
        sample = Sample.of_probabilities(labels, np.eye(2, dtype=np.float32)[said] * 0.8 + 0.1)
        finish(study, cell, {"val": sample, "test": sample}, names)
    make_report(study)
    text = chapter("disagreements")
    assert "Only 48 px is right: 2 images" in text
    assert "Only 32 px is right: 1 images" in text
    shown = re.findall(r'<span class="file">(.*?)</span>', text)
    assert sorted(shown) == sorted(names[index] for index in (0, 1, 3))
    assert text.count('<img src="data:image/png;base64,') == 6
    assert f"32 px: {manifest.classes[1 - labels[0]]} 90% ✗" in re.sub(r"\s+", " ", text)
    assert "each would judge some images otherwise" in text
    assert f"disagree on 3.0 images ({3 / len(labels):.1%}). That is no effect of resolution yet" in text
    assert f"about one image in ten, here {len(labels) / 10:.0f};" in text


def test_images_on_which_resolution_decides_stand_beside_those_on_which_seeds_disagree(
    written: Callable[..., Study],
) -> None:
    """The seeds at 32 px miss, of ten images, 0, 1 | 0, 2 | 0, and those at 48 px none | 3 | 3."""
    study = written(seeds=[0, 1, 2])
    labels = np.arange(10) % 2
    wrong = {32: ([0, 1], [0, 2], [0]), 48: ([], [3], [3])}
    for cell in study.cells():
        said = labels.copy()
        said[wrong[cell.resolution][cell.seed]] ^= 1
        sample = Sample.of_probabilities(labels, np.eye(2, dtype=np.float32)[said] * 0.8 + 0.1)
        finish(study, cell, {"val": sample, "test": sample})
    make_report(study)
    text = chapter("disagreements")
    pairs = {
        "resolutions": [set(a) ^ set(b) for a in wrong[32] for b in wrong[48]],
        "seeds": [set(of[i]) ^ set(of[j]) for of in wrong.values() for i, j in ((0, 1), (0, 2), (1, 2))],
    }
    counts = {name: np.mean([len(one) for one in found]) for name, found in pairs.items()}
    for count in (*counts.values(), counts["resolutions"] - counts["seeds"]):
        assert f"{count:.1f} images ({count / 10:.1%})" in text
    assert "each would judge some images otherwise" not in text


def test_the_first_figures_are_of_validation_with_test_beside_them(written: Callable[..., Study]) -> None:
    study = written(seeds=[0, 1], report={"metric": "accuracy", "margin": 0.9})
    make_report(study)
    found = Map.model_validate(read_json(SUMMARY))
    assert found.answer
    square = found.square(found.answer)
    shown = re.findall(r"<dd>(.*?)</dd><dt>(.*?)</dt>", page())
    assert shown[0] == ("over 99 %", "likely within 90 points of the best")
    assert [label for _, label in shown[1:3]] == [
        "below the best are to be expected",
        "below the best at most is proven (95 %)",
    ]
    shown = shown[3:]
    for (value, label), estimate in zip(shown, (square.validation["accuracy"], square.test["accuracy"]), strict=False):
        assert estimate
        assert value.startswith(f"{estimate.value:.3f} ["), label
    assert [label for _, label in shown[:2]] == [
        "validation accuracy of this cell",
        "the same on test images, which chose nothing",
    ]


def test_several_seeds_speak_by_the_mean_of_their_probabilities(written: Callable[..., Study]) -> None:
    """Two of three seeds are a little wrong about the first image, and one is surely right."""
    study = written(seeds=[0, 1, 2])
    labels = np.arange(10) % 2
    for cell in study.cells():
        shares = np.eye(2, dtype=np.float32)[labels] * 0.8 + 0.1
        if cell.resolution == 32:
            shares[0] = [0.9, 0.1] if cell.seed == 0 else [0.45, 0.55]
            shares[1] = [0.9, 0.1]
        sample = Sample.of_probabilities(labels, shares)
        finish(study, cell, {"val": sample, "test": sample})
    make_report(study)
    assert "Only 48 px is right: 1 images" in chapter("disagreements")


def test_images_that_are_gone_leave_their_names(written: Callable[..., Study], images: Path, tmp_path: Path) -> None:
    source = tmp_path / "moved"
    for label in ("across", "down"):
        (source / label).mkdir(parents=True)
        for path in sorted((images / label).iterdir())[:12]:
            (source / label / path.name).write_bytes(path.read_bytes())
    study = written(source)
    source.rename(tmp_path / "elsewhere")
    make_report(study)
    assert "The images cannot be shown" in chapter("data")
    assert "data:image" not in chapter("data")


@pytest.mark.slow
def test_default_grid_is_below_8_mb_and_all_of_it_is_drawn(written: Callable[..., Study]) -> None:
    sizes = [224, 256, 320, 384, 512]
    study = written(models=MANY_MODELS, resolutions=sizes, seeds=[0], epochs=25)
    evidence = gather(study)
    material = Material(make_map(study), evidence)
    text = compose(material, draw(material), begin_bundle().result())
    REPORT.write_text(text)
    assert len(text.encode()) < 8e6
    with look_at(REPORT, 390) as look:
        charts = look.charts()
        assert sum(chart["name"] == "figure-confusion" for chart in charts) == 40
        assert all(chart["marks"] for chart in charts)
        assert look.width() <= 390
        assert look.complaints == []


@pytest.mark.slow
def test_of_many_classes_those_are_shown_that_matter(written: Callable[..., Study]) -> None:
    study = written(seeds=[0], epochs=400)
    random = np.random.default_rng(1)
    labels = np.arange(3_000) % 1000
    names = tuple(f"class {index}" for index in range(1000))
    for cell in study.cells():
        said = labels.copy()
        said[labels == 7] = 999  # everything else is right at the higher resolution
        if cell.resolution == 32:
            said[::2] = random.integers(0, 1000, 1_500)
        sample = Sample.of_probabilities(labels, np.eye(1000, dtype=np.float32)[said] * 0.6 + 0.0004)
        finish(study, cell, {"val": sample, "test": sample}, classes=names)
    make_report(study)
    assert len(page()) < 3.5e6
    rows = re.findall(r"<tr.*?</tr>", chapter("classes").split('id="class-rows"')[1], re.DOTALL)
    assert len(rows) == 1001
    assert '<td class="text">class 7</td>' in "".join(rows[:22]), "the worst stand first"
    assert "Of 1000 classes these are the 24 with most errors" in chapter("confusion")
    assert "Shown are the 30 classes that change most" in chapter("classes")
    with look_at(REPORT) as look:
        assert all(chart["marks"] for chart in look.charts())
        assert look.complaints == []
        squares = look.page.locator("#figure-confusion .mark-rect path").all()
        told = [square.get_attribute("aria-label") or "" for square in squares]
        assert any("class 7" in one and "class 999" in one and "images: 3" in one for one in told), told[:3]
        rows = look.page.locator("#class-rows tbody tr:visible")
        assert rows.count() == 20
        look.page.fill("[data-search]", "Class 74")
        assert rows.count() == 11  # class 74 and 740 to 749
        assert "11 found" in look.page.inner_text("#class-rows-count")
        look.page.fill("[data-search]", "")
        assert rows.count() == 20
    for cell in study.cells():
        size = evaluation_record.record_path(cell).stat().st_size
        assert size < 1.5e6, "one figure of each class, and the entries of the matrix that are not 0"


def test_searched_learning_rates_are_shown_and_unlike_ones_of_a_model_are_named(written: Callable[..., Study]) -> None:
    alike, other = MODEL, "test_efficientnet"
    study = written(models=[alike, other], seeds=[0])
    for cell in study.cells():
        rate = 0.01 if (cell.model, cell.resolution) == (other, 48) else 0.001
        tried = {"0.001": {"value": 0.25}, "0.01": {"value": 0.5}, "0.1": {"value": None}}
        found = {"schema": 1, "model": cell.model, "rate": rate, "search": "0" * 12, "monitor": "loss"}
        found |= {"resolution": 32, "epochs": 5, "images": {}, "tried": tried}
        write_json(cell.marker, {**read_json(cell.marker), "learning_rate": rate, "learning_rate_search": found})
    graphs = study.cells()[0].marker
    write_json(graphs, {**read_json(graphs), "graphs": True, "environment": {"device": "a GPU"}})
    make_report(study)
    settings = chapter("settings")
    assert settings.count("steps by CUDA graphs") == 1
    assert "Learning rates that were found" in settings
    assert "loss at 32 px, 5 epochs: 0.001: 0.2500; 0.01: 0.5000; 0.1: diverged" in settings
    assert f"The trainings of {other} have different learning rates (0.001, 0.01)" in settings
    assert f"The trainings of {alike} have different" not in settings
