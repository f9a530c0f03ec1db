"""Survey of the models that export, and of how near the files are.

`python -m benchmarks.export_survey [--models default | NAME ...] [--keep FILE]`

Each network has random weights, none a constant that hides a part of it, at the smallest of 32, 64, 96 ... px
that its library builds it for. It is written as `resomap export` writes it and computed by ONNX Runtime and by PyTorch
in float32 on the same random images, in batches of 1 and 5. A model is a process of its own, so that one that crashes
ends nothing. Prints a Markdown table, which stands in docs/export-survey.md; models that the file of an earlier,
interrupted run has (`--keep`) are not computed again.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from resomap.config.schema import Config
from resomap.core.errors import ResomapError
from resomap.core.files import write_json
from resomap.export.export_files import FP32, ONNX
from resomap.export.onnx_writer import LogitsOnly, onnx_model
from resomap.export.parity import TOLERANCE
from resomap.export.runtimes import open_file
from resomap.models.build import construct, first_line
from resomap.models.survey import entry_of

CLASSES = 4
SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 299, 384)  # pixels
SECONDS = 300.0  # a model at most
HIDING = 1e-3  # weights that are no larger hide what they scale
DEFAULT = tuple(Config().models)
# At least one of each family that people name, the smallest that shows it.
FURTHER = """
alexnet vgg19_bn squeezenet1_1 densenet121 googlenet inception_v3 shufflenet_v2_x0_5 mnasnet0_5 mobilenet_v3_small
regnet_y_400mf resnext50_32x4d wide_resnet50_2 efficientnet_v2_s vit_b_16 swin_t swin_v2_t maxvit_t resnet10t
resnet26d resnetv2_50 resnetaa50 seresnet50 ecaresnet26t skresnet18 res2net50_26w_4s resnest14d cspresnet50
cspdarknet53 darknet53 dpn68 dla34 hrnet_w18_small selecsls42 vovnet39a ese_vovnet19b_dw efficientnet_lite0
tf_efficientnetv2_b0 mixnet_s fbnetc_100 spnasnet_100 hardcorenas_a tinynet_e lcnet_050 ghostnet_050 mobileone_s0
repvgg_a0 repghostnet_050 rexnet_100 nf_regnet_b0 nfnet_l0 regnetx_002 regnetz_b16 rdnet_tiny convnextv2_atto
convmixer_768_32 mixer_s32_224 resmlp_12_224 gmlp_s16_224 vit_tiny_patch16_224 deit_tiny_patch16_224
vit_small_patch14_dinov2 eva02_tiny_patch14_224 cait_xxs24_224 crossvit_tiny_240 xcit_nano_12_p16_224 convit_tiny
levit_128s efficientformer_l1 efficientformerv2_s0 efficientvit_b0 efficientvit_m0 fastvit_t8 mobilevit_xxs
mobilevitv2_050 edgenext_xx_small poolformer_s12 pvt_v2_b0 tiny_vit_5m_224 twins_svt_small visformer_tiny coat_tiny
coatnet_nano_rw_224 davit_tiny focalnet_tiny_srf gcvit_xxtiny hiera_tiny_224 inception_next_tiny
maxxvit_rmlp_nano_rw_256 mvitv2_tiny nest_tiny nextvit_small pit_ti_224 repvit_m0_9 sequencer2d_s starnet_s1
swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 volo_d1_224 mambaout_femto shvit_s1 swiftformer_xs ghostnetv3_050
"""


def main() -> None:
    """Survey and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="names, or `default`: those of the configuration; without it all")
    parser.add_argument("--keep", type=Path, help="a JSON file that keeps the rows of models that are done")
    given = parser.parse_args()
    wanted = [*DEFAULT, *FURTHER.split()] if given.models is None else given.models
    names = [name for one in wanted for name in (DEFAULT if one == "default" else (one,))]
    rows = json.loads(given.keep.read_text()) if given.keep and given.keep.exists() else {}
    for name in names:
        if name not in rows:
            rows[name] = in_a_process(name)
            print(f"{name}: {rows[name]}", file=sys.stderr, flush=True)
            if given.keep:
                write_json(given.keep, rows)
    print_table({name: rows[name] for name in names})


def in_a_process(name: str) -> dict[str, Any]:
    """Return the row of a model; one that crashes or hangs has its reason.

    The process is a copy of this one, which has imported the libraries and computed nothing.
    """
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "row.json")
        process = multiprocessing.get_context("fork").Process(target=_write_row, args=(name, path))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            return {"reason": f"longer than {SECONDS:g} s"}
        return dict(json.loads(path.read_text())) if path.exists() else {"reason": f"exit code {process.exitcode}"}


def _write_row(name: str, path: Path) -> None:
    write_json(path, measured(name))


def measured(name: str) -> dict[str, Any]:
    """Export one model and compare; returns its row."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    entry = entry_of(name)
    found = smallest(name)
    if found is None:
        return {"library": entry.library, "reason": "no size that it is built for"}
    network, resolution = found
    row: dict[str, Any] = {"library": entry.library, "resolution": resolution}
    started = time.perf_counter()
    try:
        model = onnx_model(network, resolution)
        row |= {"exporter": model.exporter, "seconds": time.perf_counter() - started, "bytes": model.proto.ByteSize()}
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, "one.onnx")
            path.write_bytes(model.proto.SerializeToString())
            computed = open_file(path, ONNX, FP32, 2)
            pairs = [compared(network, computed, count, resolution) for count in (1, 5)]
    except ResomapError as error:
        return row | {"reason": str(error)}
    except Exception as error:  # of ONNX Runtime, while it computes
        return row | {"reason": f"{type(error).__name__}: {first_line(error)}"}
    return row | {
        "difference": max(difference for difference, _ in pairs),
        "decisions": sum(changed for _, changed in pairs),
    }


def smallest(name: str) -> tuple[nn.Module, int] | None:
    """Return the network at the smallest size at which it is built and computes; None where there is none."""
    for resolution in SIZES:
        try:
            network = LogitsOnly(construct(entry_of(name), resolution, CLASSES)).eval()
            vary_constants(network)
            with torch.inference_mode():
                network(torch.zeros(2, 3, resolution, resolution))
        except Exception:  # libraries raise nearly anything for a size that they do not take
            continue
        return network, resolution
    return None


def vary_constants(network: nn.Module) -> None:
    """Give random values to what starts at a constant that would hide a part of the network from the comparison.

    These are statistics of batch normalisations, which are 0 and 1, and weights that are all 0 or nearly: of layer
    scales, of the last normalisation of a residual branch, of some heads. An exporter might drop them unseen.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if not name.endswith("bias") and weight.numel() > 1 and weight.abs().max() <= HIDING:
                weight.normal_(0, 0.02) if weight.ndim == 2 else weight.uniform_(0.1, 0.5)


def compared(network: nn.Module, computed: Any, count: int, resolution: int) -> tuple[float, int]:
    """Return the largest difference of the logits, as a share of the largest, and how many decisions differ."""
    images = torch.randn(count, 3, resolution, resolution)
    with torch.inference_mode():
        expected = network(images).numpy()
    found = computed(images.numpy())
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    return float(difference), int((found.argmax(1) != expected.argmax(1)).sum())


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """Print a row for each model, and how many there are of each kind."""
    print("| model | library | px | exporter | s | MB | largest difference / largest logit | |")
    print("|---|---|---|---|---|---|---|---|")
    good = 0
    for name, row in rows.items():
        difference = row.get("difference")
        is_good = difference is not None and difference <= TOLERANCE and not row["decisions"]
        good += is_good
        figures = [f"{row[key] / unit:.1f}" if key in row else "" for key, unit in (("seconds", 1), ("bytes", 1e6))]
        verdict = "" if is_good else row.get("reason", f"differs; {row.get('decisions')} of 6 decisions")
        shown = [name, row.get("library", ""), row.get("resolution", ""), row.get("exporter", ""), *figures]
        print(f"| {' | '.join(map(str, shown))} | {'' if difference is None else f'{difference:.1e}'} | {verdict} |")
    print(f"\n{good} of {len(rows)} export and compute the same.")


if __name__ == "__main__":
    main()
