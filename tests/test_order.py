"""The order of trainings: predicted durations, what the configuration names, and that Snakemake follows it."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, done_marker, small_config, snakemake, tool

from resomap.cells import learning_rate_choice
from resomap.cells.cell import Cell
from resomap.cells.marker import TrainingCost
from resomap.cells.measurement import Measurement
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.estimates import duration
from resomap.estimates.duration import Durations
from resomap.estimates.memory_request import memory_mb
from resomap.estimates.order import Order
from resomap.models import cache
from resomap.models.fits import Size, size_of

OTHER = "test_efficientnet"


@pytest.fixture
def study(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two models, two resolutions, two seeds, nothing done."""
    monkeypatch.chdir(tmp_path)
    return Study.open(small_config(images, models=[MODEL, OTHER], resolutions=[32, 64], seeds=[0, 1]))


def finish(study: Study, cell: Cell, seconds: float, device: str = "a GPU", epochs: int = 3) -> None:
    """Leave a cell's marker, as if its training had taken so long."""
    cost = TrainingCost(train_seconds=seconds, device=device)
    done_marker(cell, study.fingerprint(cell), epochs=epochs, cost=cost).write(cell.marker)


def seconds(study: Study) -> Callable[[str], float]:
    """Predictions by the cell's name, on a GPU."""
    durations = Durations(study, "cuda")
    return lambda name: durations.seconds(study.find(name))


class TestPrediction:
    def test_unmeasured_cells_go_by_their_operations(self, study: Study) -> None:
        predicted = seconds(study)
        assert predicted(f"{MODEL}@64") / predicted(f"{MODEL}@32") == pytest.approx(4, rel=0.1)
        assert predicted(f"{MODEL}@64.seed1") == predicted(f"{MODEL}@64")
        assert predicted("vgg16@224") > predicted("vgg11@224") > predicted("resnet18@224")

    def test_a_gpu_is_taken_to_be_faster_and_a_training_on_more_cores_too(self, study: Study) -> None:
        cell = study.cells()[0]
        on_cpu = Durations(study, "cpu", 1).seconds(cell)
        assert on_cpu == pytest.approx(4 * Durations(study, "cpu", 4).seconds(cell))
        assert on_cpu > 10 * Durations(study, "cuda").seconds(cell)

    def test_finished_cells_correct_their_model_and_then_the_others(self, study: Study) -> None:
        before = seconds(study)
        finish(study, study.find(f"{MODEL}@32"), 900.0)
        predicted = seconds(study)
        assert predicted(f"{MODEL}@32") == predicted(f"{MODEL}@32.seed1") == pytest.approx(900)
        larger = 900 * before(f"{MODEL}@64") / before(f"{MODEL}@32")
        assert predicted(f"{MODEL}@64") == pytest.approx(larger)
        # Of another model nothing is known but how fast this machine is.
        assert predicted(f"{OTHER}@64") / before(f"{OTHER}@64") == pytest.approx(900 / before(f"{MODEL}@32"))
        finish(study, study.find(f"{OTHER}@64"), 7.0)
        assert seconds(study)(f"{OTHER}@64") == pytest.approx(7)
        assert seconds(study)(f"{MODEL}@64") == pytest.approx(larger)

    def test_a_training_that_stopped_early_counts_by_its_epochs(self, study: Study) -> None:
        finish(study, study.find(f"{MODEL}@32"), 300.0, epochs=1)
        assert seconds(study)(f"{MODEL}@32.seed1") == pytest.approx(900)

    def test_only_the_usual_device_counts(self, study: Study) -> None:
        finish(study, study.find(f"{MODEL}@32"), 900.0)
        finish(study, study.find(f"{MODEL}@64"), 3600.0)
        finish(study, study.find(f"{OTHER}@32"), 9e9, device="something slow")
        assert seconds(study)(f"{OTHER}@32") < 1e5

    def test_measured_costs_count_where_nothing_is_finished(self, study: Study) -> None:
        before = seconds(study)
        path = Measurement(MODEL, 64, "cuda").path
        write_json(path, {"throughput_images_per_second_median": 1e-3})
        predicted = seconds(study)
        # 120 images: 84 to train on, three passes each, and 18 to validate on, in each of three epochs
        assert predicted(f"{MODEL}@64") == pytest.approx(3 * (84 * 3 + 18) * 1000)
        assert predicted(f"{MODEL}@32") / predicted(f"{MODEL}@64") == pytest.approx(
            before(f"{MODEL}@32") / before(f"{MODEL}@64")
        )

    def test_epochs_of_overrides_count(self, images: Path, study: Study) -> None:
        config = small_config(images, models=[MODEL], overrides={MODEL: {"epochs": 30}})
        longer = Study.open(config)
        assert seconds(longer)(f"{MODEL}@32") == pytest.approx(10 * seconds(study)(f"{MODEL}@32"))

    def test_a_search_for_a_learning_rate_takes_its_trials(self, images: Path, study: Study) -> None:
        """120 images, of which trials have the 84 to train on, or with folds the 102 outside the test split."""
        search = {"rates": [0.001, 0.01, 0.1], "epochs": 2, "held_out": 0.25, "resolution": 64}
        training = {"learning_rate": "auto", "learning_rate_search": search}
        write_json(Measurement(MODEL, 64, "cuda").path, {"throughput_images_per_second_median": 1e-3})
        for data, count in (({}, 84), ({"folds": 3}, 102)):
            config = small_config(images, models=[MODEL], resolutions=[64], training=training, data=data)
            durations = Durations(searching := Study.open(config), "cuda")
            took = durations.search_seconds(learning_rate_choice.trial_cell(searching, MODEL))
            # The ladder's three, and one of the two that may follow.
            assert took == pytest.approx((3 + 1) * 2 * count * (3 * 0.75 + 0.25) * 1000)

    def test_what_learns_nothing_takes_a_pass_and_no_gradients(self, images: Path, study: Study) -> None:
        write_json(Measurement(MODEL, 64, "cuda").path, {"throughput_images_per_second_median": 1e-3})
        for training, passes in (
            ({"epochs": 5, "freeze_epochs": 2}, 3 * (84 * 3 + 18) + 2 * (84 + 18)),
            ({"recipe": "linear_probe", "weights": None, "epochs": 5}, 84 + 18),
        ):
            config = small_config(images, models=[MODEL], resolutions=[64], training=training)
            frozen = Study.open(config)
            assert seconds(frozen)(f"{MODEL}@64") == pytest.approx(passes * 1000)
        # A probe's steps took a moment, which says nothing of passes through the network.
        finish(frozen, frozen.cells()[0], 0.1, epochs=5)
        assert seconds(frozen)(f"{MODEL}@64") == pytest.approx((84 + 18) * 1000)

    def test_without_any_size_larger_images_take_longer(self, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
        for unknown in (Size(0, 0, 0), Size(0, None, None, "not countable")):
            monkeypatch.setattr(duration, "sizes", lambda pairs, size=unknown: dict.fromkeys(pairs, size))
            predicted = seconds(study)
            assert predicted(f"{MODEL}@64") > predicted(f"{MODEL}@32") > 0

    def test_what_cannot_be_counted_is_forecast_as_resnet50(self) -> None:
        unknown, known = Size(10**8, None, None, "not countable"), size_of("resnet50", 224)
        assert unknown.forecast_flops(224) == pytest.approx(known.flops, rel=0.02)
        assert unknown.forecast_activations(224) == pytest.approx(known.activations, rel=0.02)
        assert unknown.forecast_flops(448) == pytest.approx(4 * unknown.forecast_flops(224))
        assert known.forecast_flops(224) == known.flops

    def test_nothing_of_it_imports_torch(self, study: Study, tmp_path: Path) -> None:
        code = (
            "import sys\n"
            "from pathlib import Path\n"
            "from resomap.estimates.duration import Durations\n"
            "from resomap.estimates.order import Order\n"
            "from resomap.cells.study import Study\n"
            "study = Study.load(Path('study.json'))\n"
            "Order(Durations(study, 'cuda'), []).of(study.cells())\n"
            "assert not {'torch', 'timm', 'torchvision', 'mlflow'} & set(sys.modules)\n"
        )
        study.save(tmp_path / "study.json")
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_sizes_are_those_of_published_tables() -> None:
    size = size_of("resnet50", 224)
    # torchvision's table: 4.09 GFLOPS in multiply-adds, with a head of 1,000 classes that takes 2 million of them
    assert size.flops == pytest.approx(2 * (4.09e9 - 2e6), rel=0.005)
    assert size.activations == pytest.approx(11.1e6, rel=0.01)  # Radosavovic et al. 2020, table 9


class TestOrder:
    def test_named_first_then_the_longest(self, study: Study) -> None:
        def names(*named: str) -> list[str]:
            return [cell.name for cell in Order(Durations(study, "cuda"), named).of(study.cells())]

        longest = sorted(study.cells(), key=lambda cell: -Durations(study, "cuda").seconds(cell))
        assert [name.partition(".")[0] for name in names()] == [cell.map_position for cell in longest]
        assert [name.partition("@")[2][:2] for name in names("32")] == ["32"] * 4 + ["64"] * 4
        assert [name.partition("@")[0] for name in names(OTHER)] == [OTHER] * 4 + [MODEL] * 4
        first = names(f"{OTHER}@32", MODEL)
        assert first[:2] == [f"{OTHER}@32", f"{OTHER}@32.seed1"]
        assert all(name.startswith(MODEL) for name in first[2:6])
        assert names(f"{OTHER}@32.seed1")[0] == f"{OTHER}@32.seed1"

    def test_ranks_are_dense_and_a_cell_beside_the_grid_finds_its_place(self, study: Study) -> None:
        order = Order(Durations(study, "cuda"), [])
        cells = study.cells()
        assert sorted(order.priority(cell, cells) for cell in cells) == list(range(1, 9))
        assert order.priority(study.cell("vgg16", 224), cells) == 9

    @pytest.mark.parametrize("named", [MODEL, "32", f"{MODEL}@32", f"{MODEL}@32.seed1"])
    def test_models_resolutions_and_cells_can_be_named(self, images: Path, named: str) -> None:
        config = Study.open(small_config(images, resolutions=[32, 64], seeds=[0, 1], priority=[named])).config
        assert config.priority == [named]

    @pytest.mark.parametrize(
        ("named", "sentence"),
        [
            ("vgg99", "did you mean"),
            *((name, "models, resolutions") for name in ("vgg11@big", "vgg11@64.seedx")),
            (f"{MODEL}@32.seed0", f"0 is the first seed, whose training has no suffix: {MODEL}@32$"),
            (f"{MODEL}@32.seed7", "seeds has no 7; add it there, or name one of 0$"),
            (f"{MODEL}@32.seed01", "'.seed01' in .* is no seed"),
            (f"{MODEL}@9999", "'9999' in .* is no resolution"),
            ("0032", "'0032' in the configuration's priority is no resolution"),
            ("٣٢", "'٣٢' in the configuration's priority is no resolution"),
        ],
    )
    def test_a_name_that_is_none_is_one_sentence(self, images: Path, named: str, sentence: str) -> None:
        with pytest.raises(ResomapError, match=sentence):
            Study.open(small_config(images, priority=[named]))

    def test_a_name_that_the_grid_lacks_is_told(self, images: Path, tmp_path: Path) -> None:
        """No error: the configuration of the whole grid serves a sub-grid too."""
        config = small_config(images, priority=["vgg11", MODEL, "48", "32"])
        listed = snakemake("-n", directory=tmp_path, config=config)
        assert listed.returncode == 0, listed.stderr
        assert listed.stderr.count("priority names vgg11, 48, which this grid does not have\n") == 1


def test_what_snakemake_asks_of_each_job_is_looked_up_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks several times: with a look at files each time, `-n` of 4,000 cells took seven times what it had to."""
    reads: list[Path] = []
    monkeypatch.setattr(cache, "read_json", lambda path: reads.append(path) or read_json(path))
    for _ in range(5):
        for cell in study.cells():
            target = study.target(cell.model, str(cell.resolution), cell.suffix)
            assert target == cell
            assert study.recipe(target) is study.recipe(cell)
            memory_mb(study, cell, "cuda")
    assert len(reads) <= len(study.cells()) + 4


@pytest.mark.slow
def test_snakemake_trains_in_that_order(images: Path, tmp_path: Path) -> None:
    config = small_config(images, resolutions=[32, 48, 64], training={"epochs": 1})
    where: dict[str, Any] = {"directory": tmp_path, "config": config}
    targets = [f"results/{MODEL}/{res}.done" for res in (32, 48, 64)]
    finished = snakemake("--cores", "2", *targets, "--config", f"priority={MODEL}@32", **where)
    assert finished.returncode == 0, finished.stderr
    assert "Failed to solve scheduling problem" not in finished.stderr
    ends = {res: read_json(tmp_path / f"results/{MODEL}/{res}.done")["finished_at"] for res in (32, 48, 64)}
    assert sorted(ends, key=ends.__getitem__) == [32, 64, 48]
    prepared = [(tmp_path / f"results/data/{res}/store.json").stat().st_mtime for res in (32, 48, 64)]
    assert max(prepared) < min(ends.values())


def test_what_starts_together_starts_in_the_order_of_its_priorities(tmp_path: Path) -> None:
    """The jobs are handed over as to a cluster's queue; Snakemake's own schedulers hand over in no order."""
    rules = "rule all:\n    input: expand('{rank}', rank=[5, 2, 8, 1, 7, 3, 6, 4])\n"
    rules += "rule each:\n    output: '{rank}'\n    priority: lambda wildcards: int(wildcards.rank)\n"
    (tmp_path / "Snakefile").write_text(rules + "    shell: 'touch {output}'\n")
    command = [tool("snakemake"), "--cores", "8", "--scheduler", "resomap"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert re.findall(r"output: (\d)", finished.stderr) == list("87654321")
