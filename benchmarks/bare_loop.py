"""Bare training loop, as one writes it in an evening, to measure the trainer by.

    python -m benchmarks.bare_loop IMAGES.json

resnet18 of torchvision on images held in memory, AdamW with a cosine schedule, float32, best epoch by validation loss.
IMAGES.json is a list of [file, label, split]. Prints the accuracy on the test images.
"""

import argparse
import copy
import json

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.models import resnet18

BATCH = 32
SPLITS = ("train", "val", "test")


def main() -> None:
    """Train; print the accuracy on the test images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    with open(given.images) as stream:
        listed = json.load(stream)
    splits = {split: _read([row for row in listed if row[2] == split], given.resolution) for split in SPLITS}
    images, labels = splits["train"]
    model = resnet18(num_classes=int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, given.epochs * (len(labels) // BATCH))
    best, kept = float("inf"), copy.deepcopy(model.state_dict())
    for _ in range(given.epochs):
        model.train()
        for rows in torch.randperm(len(labels)).split(BATCH):
            if len(rows) < BATCH:
                continue
            batch = images[rows]
            batch = torch.where(torch.rand(len(batch), 1, 1, 1) < 0.5, batch.flip(3), batch)
            loss = F.cross_entropy(model(batch), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        loss, _ = _evaluate(model, *splits["val"])
        if loss < best:
            best, kept = float(loss), copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    print(json.dumps({"test/accuracy": float(_evaluate(model, *splits["test"])[1])}))


def _read(rows: list[tuple[str, int, str]], resolution: int) -> tuple[Tensor, Tensor]:
    """Return images [N, 3, H, W] around 0, and labels [N]."""
    found = []
    for file, _, _ in rows:
        with Image.open(file) as image:
            picture = image.convert("RGB").resize((resolution, resolution), Image.Resampling.BICUBIC)
        found.append(np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255)
    return (torch.from_numpy(np.stack(found)) - 0.5) / 0.25, torch.tensor([label for _, label, _ in rows])


@torch.no_grad()
def _evaluate(model: torch.nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean loss and accuracy."""
    model.eval()
    logits = torch.cat([model(part) for part in images.split(2 * BATCH)])
    return F.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean()


if __name__ == "__main__":
    main()
