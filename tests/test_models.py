"""Names, families, the caches that answer for the libraries, and networks that build and run."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from resomap.config.schema import DEFAULT_MODELS
from resomap.core.errors import ResomapError
from resomap.models.build import build_model, logits
from resomap.models.cache import ask_process, cache_files
from resomap.models.fits import require_supported, size_of
from resomap.models.index import ModelEntry, ModelIndex, load_index
from resomap.models.listing import print_models
from resomap.models.survey import family_of, survey

FAMILIES = {
    "vgg11": "vgg",
    "vgg16": "vgg",
    "resnet18": "resnet",
    "resnet50": "resnet",
    "mobilenet_v2": "mobilenet",
    "mobilenetv4_conv_small": "mobilenet",
    "efficientnet_b0": "efficientnet",
    "convnext_tiny": "convnext",
}


@pytest.fixture(scope="session")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory with the index of the installed libraries, asked for once."""
    directory = tmp_path_factory.mktemp("cache")
    script = "from resomap.models.index import load_index; load_index()"
    subprocess.run([sys.executable, "-c", script], check=True, env=environment(directory))
    return directory


@pytest.fixture
def index(filled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> ModelIndex:
    monkeypatch.setenv("XDG_CACHE_HOME", str(filled_cache))
    return load_index()


def environment(cache: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(cache), **more}


def run(script: str, cache: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, env=environment(cache), cwd=cwd)


class TestIndex:
    def test_the_eight_defaults_have_their_families(self, index: ModelIndex) -> None:
        assert {name: index.entry(name).family for name in DEFAULT_MODELS} == FAMILIES

    def test_torchvision_comes_first_and_a_tag_is_always_timms(self, index: ModelIndex) -> None:
        assert index.entry("resnet18") == ModelEntry("resnet18", "torchvision", "resnet", False)
        assert index.entry("resnet18.a1_in1k") == ModelEntry("resnet18.a1_in1k", "timm", "resnet", False)
        assert index.entry("vit_tiny_patch16_224") == ModelEntry(
            "vit_tiny_patch16_224", "timm", "vision_transformer", True
        )
        assert index.entry("vit_b_16").fixed_input
        assert all(index.entry(name).library == "timm" for name in index.names() if "." in name)

    @pytest.mark.parametrize(
        ("name", "module", "family"),
        [
            ("tf_efficientnet_lite0", "efficientnet", "efficientnet"),
            ("tf_mobilenetv3_large_075", "mobilenetv3", "mobilenet"),
            ("wide_resnet50_2", "resnet", "resnet"),
            ("resnet50_clip", "byobnet", "resnet"),
            ("repvgg_a0", "byobnet", "byobnet"),
            ("efficientformer_l1", "efficientformer", "efficientformer"),
        ],
    )
    def test_family_by_name_then_by_module(self, name: str, module: str, family: str) -> None:
        assert family_of(name, module) == family

    def test_every_family_is_a_folder_name_and_every_row_is_what_the_libraries_say(self, index: ModelIndex) -> None:
        rows = survey()
        assert index.names() == list(rows)
        assert len(rows) > 1000
        for name, (library, family, fixed) in rows.items():
            assert index.entry(name) == ModelEntry(name, library, family, fixed)
            assert family.replace("_", "").isalnum()
            assert family.islower()

    @pytest.mark.parametrize(
        ("typed", "meant"),
        [
            ("vgg99", "vgg19"),
            ("efficientnetb0", "efficientnet_b0"),
            ("VGG16", "vgg16"),
            ("resnet18.a1_in", "resnet18.a1_in1k"),
        ],
    )
    def test_an_unknown_name_gets_the_nearest(self, index: ModelIndex, typed: str, meant: str) -> None:
        with pytest.raises(ResomapError, match=f"unknown model '{typed}'; did you mean '{meant}'") as caught:
            index.entry(typed)
        listed = str(caught.value).split("`resomap models ")[1].split("`")[0]
        assert meant in [item.name for item in index.search(listed)]

    def test_search_takes_parts_globs_and_families(self, index: ModelIndex) -> None:
        assert {item.name for item in index.search("VGG11")} >= {"vgg11", "vgg11_bn", "vgg11_bn.tv_in1k"}
        assert [item.name for item in index.search("vgg1?")] == ["vgg11", "vgg13", "vgg16", "vgg19"]
        assert "mnasnet_100" in [item.name for item in index.search("efficientnet")]  # by its family
        assert index.search("nosuchnet") == []

    def test_the_listing_prints_names_and_refuses_what_matches_nothing(
        self, index: ModelIndex, capsys: pytest.CaptureFixture[str]
    ) -> None:
        print_models("vit_tiny_patch16_224")
        first = capsys.readouterr().out.splitlines()[0].split()
        assert first[:3] == ["vit_tiny_patch16_224", "vision_transformer", "timm"]
        with pytest.raises(ResomapError, match="did you mean 'resnet18'"):
            print_models("resnt18")


class TestCache:
    def test_neither_library_is_imported_and_both_answers_are_quick(self, filled_cache: Path, tmp_path: Path) -> None:
        script = (
            "import sys, time; from resomap.models.index import load_index; "
            "from resomap.models.fits import require_supported; import resomap.models.listing; "
            "import resomap.models.weights_digest; pairs = [('resnet18', 32), ('vgg11', 64)]; "
            "load_index(); require_supported(pairs); times = []\n"
            "for _ in range(5):\n t = time.perf_counter(); require_supported(pairs); "
            "times.append(time.perf_counter() - t)\n"
            "heavy = {'torch', 'torchvision', 'timm', 'numpy', 'PIL', 'mlflow', 'rich'} & set(sys.modules)\n"
            "print(min(times), sorted(heavy))"
        )
        done = run(script, filled_cache, tmp_path)
        seconds, heavy = done.stdout.split(" ", 1)
        assert heavy.strip() == "[]"
        assert float(seconds) < 0.005
        assert done.stderr == ""  # the index was there, and two pairs are not worth a line

    def test_processes_that_start_at_once_ask_once(self, tmp_path: Path) -> None:
        script = "from resomap.models.index import load_index; print(len(load_index().names()))"
        command = [sys.executable, "-c", script]
        children = [
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
            )
            for _ in range(3)
        ]
        said = [child.communicate(timeout=120) for child in children]
        assert len({out for out, _ in said}) == 1
        assert int(said[0][0]) > 1000
        assert sum(error.count("listing the models of torchvision") for _, error in said) == 1

    def test_a_damaged_file_is_made_anew(self, filled_cache: Path, tmp_path: Path) -> None:
        name = next(filled_cache.glob("resomap/models-*.json")).name
        damaged = tmp_path / "resomap" / name
        damaged.parent.mkdir()
        damaged.write_bytes((filled_cache / "resomap" / name).read_bytes()[:1000])
        done = run("from resomap.models.index import load_index; load_index()", tmp_path, tmp_path)
        assert done.stderr.count("listing the models") == 1
        assert json.loads(damaged.read_text()) == json.loads((filled_cache / "resomap" / name).read_text())

    def test_without_a_cache_directory_the_working_directory_serves(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a directory")
        script = "from resomap.models.index import load_index; print(load_index().entry('vgg11').family)"
        for said in (1, 0):
            done = run(script, tmp_path / "file", tmp_path)
            assert done.stdout == "vgg\n"
            assert done.stderr.count("listing the models") == said
        assert len(list((tmp_path / ".resomap" / "cache").glob("models-*.json"))) == 1

    def test_nowhere_to_write_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / ".resomap").write_text("")
        done = run("from resomap.models.index import load_index; load_index()", tmp_path / "file", tmp_path)
        assert done.returncode == 1
        assert "set XDG_CACHE_HOME to a directory that can" in done.stderr.splitlines()[-1]

    def test_a_child_that_fails_is_one_sentence(self) -> None:
        with pytest.raises(ResomapError, match=r"could not be asked about their models: .*No module named") as caught:
            ask_process("resomap.models.nosuchmodule")
        assert "\n" not in str(caught.value)

    def test_file_names_carry_both_versions(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        import timm
        import torchvision

        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        first = cache_files("models")[0]
        assert first.parent == tmp_path / "resomap"
        assert torchvision.__version__.split("+")[0] in first.name
        assert timm.__version__ in first.name


class TestFits:
    def test_what_cannot_be_built_is_named_before_the_grid(
        self, index: ModelIndex, filled_cache: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        pairs = [
            ("vit_tiny_patch16_224", 250),
            ("vgg11", 16),
            ("mobilenetv5_300m_enc", 256),
            ("regnet_x_400mf", 64),  # looks at values while it is built, so the meta device alone cannot tell
            ("vit_tiny_patch16_224", 64),
            ("swin_tiny_patch4_window7_224", 256),
        ]
        for _ in ("asked", "remembered"):
            started = time.perf_counter()
            with pytest.raises(ResomapError) as caught:
                require_supported(pairs)
            seconds = time.perf_counter() - started
            told = str(caught.value).split("; ")
            assert "vit_tiny_patch16_224 cannot take 250 px images: its patches of 16 px do not cover 250 px" in told
            assert "use 256 px or another model" in told
            assert any(text.startswith("vgg11 cannot take 16 px images: ") for text in told)
            assert "use 32 px or another model" in told
            assert any("mobilenetv5_300m_enc cannot take" in text and "no classifier" in text for text in told)
            assert "regnet" not in str(caught.value)
            assert "swin" not in str(caught.value)
            assert " 64 px" not in str(caught.value)
        assert seconds < 0.05  # the failures too are remembered
        assert capfd.readouterr().err.count("trying 6 models and resolutions") == 1
        known = json.loads(next(filled_cache.glob("resomap/fits-*.json")).read_text())
        assert known["vit_tiny_patch16_224@64"] == asdict(size_of("vit_tiny_patch16_224", 64))
        assert size_of("vit_tiny_patch16_224", 64).weights > 5e6

    def test_build_model_says_the_same(self) -> None:
        with pytest.raises(ResomapError, match="vit_tiny_patch16_224 cannot be built for 250 px images: its patches"):
            build_model("vit_tiny_patch16_224", 250, 2)


class TestBuild:
    @pytest.mark.parametrize("name", [*DEFAULT_MODELS, "resnet18.a1_in1k", "vit_tiny_patch16_224", "googlenet"])
    def test_three_classes_at_64_pixels(self, name: str) -> None:
        torch.manual_seed(0)
        built = build_model(name, 64, 3)
        assert (built.mean, built.std, built.notes) == (None, None, [])
        scores = logits(built.model.train()(torch.rand(2, 3, 64, 64)))
        assert scores.shape == (2, 3)
        assert scores.isfinite().all()
        assert scores[0].ne(scores[1]).any()  # the images reach the scores
        scores.sum().backward()
        assert all(p.grad is not None for p in built.model.parameters() if p.requires_grad)

    def test_an_image_size_is_part_of_the_network(self) -> None:
        built = build_model("vit_tiny_patch16_224", 64, 3)
        assert built.model.pos_embed.shape[1] == 1 + (64 // 16) ** 2
        with pytest.raises(AssertionError, match="Input height"):
            built.model(torch.rand(1, 3, 96, 96))

    def test_the_callers_seed_decides_the_weights(self) -> None:
        def weights(seed: int) -> torch.Tensor:
            torch.manual_seed(seed)
            return nn.utils.parameters_to_vector(build_model("test_resnet", 32, 3).model.parameters())

        assert torch.equal(weights(1), weights(1))
        assert not torch.equal(weights(1), weights(2))

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(ResomapError, match="unknown model 'resnet81'; did you mean 'resnet18'"):
            build_model("resnet81", 64, 2)

    @pytest.mark.parametrize("name", ["vgg11", "efficientnet_b0", "mobilenetv4_conv_small", "resnet18.a1_in1k"])
    def test_dropout_acts_while_training_only(self, name: str) -> None:
        images = torch.rand(2, 3, 64, 64)

        def repeated(dropout: float, training: bool) -> bool:
            torch.manual_seed(0)
            model = build_model(name, 64, 3, dropout=dropout).model.train(training)
            for module in model.modules():  # the only other source of chance in these networks
                if type(module).__name__ in ("StochasticDepth", "DropPath"):
                    module.eval()
            with torch.no_grad():
                return torch.equal(model(images), model(images))

        assert not repeated(0.5, training=True)
        assert repeated(0.0, training=True)
        assert repeated(0.5, training=False)

    @pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "vit_b_32"])
    def test_a_dropout_without_a_place_is_refused(self, name: str) -> None:
        with torch.device("meta"), pytest.raises(ResomapError, match=f"{name} of torchvision has no dropout"):
            build_model(name, 64, 3, dropout=0.2)
        with torch.device("meta"):
            build_model(name, 64, 3, dropout=0.0)  # none is what it has

    def test_scores_come_out_of_auxiliary_outputs(self) -> None:
        import torchvision

        network = torchvision.models.googlenet(num_classes=3, init_weights=False).train()
        output = network(torch.rand(2, 3, 64, 64))
        assert not isinstance(output, torch.Tensor)
        assert logits(output) is output.logits
        assert logits((output.logits, output.aux_logits1)) is output.logits
