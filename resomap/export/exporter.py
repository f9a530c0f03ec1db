"""The step of an export: network, file, comparison on the validation images; the file gets its name last."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from resomap.cells.cell import Cell
from resomap.cells.decision import OperatingPoint
from resomap.cells.evaluation_record import kept_predictions
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.compute.device import choose_device, prepare_backend
from resomap.compute.inference import images_a_pass
from resomap.core.errors import ResomapError
from resomap.core.files import file_digest, replace_atomically, write_json
from resomap.core.temporary import temporary_beside
from resomap.data import DATA_DIRECTORY
from resomap.data.store import Images, Store, store_directory
from resomap.evaluation.trained_weights import Weights
from resomap.export.export_files import FP16, FP32, INT8, ONNX, ExportFiles
from resomap.export.facts import facts_of, of_each_channel, versions
from resomap.export.lower_precision import CALIBRATION_IMAGES, half_precision, quantised
from resomap.export.onnx_writer import add_facts, onnx_model
from resomap.export.openvino_writer import write_openvino
from resomap.export.parity import Answers, Parity, log_softmax, parity, point_on
from resomap.export.runtimes import Computed, as_input, open_file
from resomap.models.build import first_line, logits
from resomap.summary.operating import question_of

SCHEMA = 1
SPLIT = "val"


@dataclass(frozen=True, kw_only=True)
class Export:
    """One export of a cell's weights: how their answers are read, and the wanted format and precision.

    basis: `validation` where the network was not trained on the images that it is verified on, else `train`.
    """

    study: Study
    cell: Cell
    marker: Marker
    weights: Weights
    temperature: float
    point: OperatingPoint | None
    basis: str
    file_format: str
    precision: str
    threads: int

    @property
    def files(self) -> ExportFiles:
        """Paths of what is written."""
        return ExportFiles.of(self.cell, self.file_format, self.precision)

    def run(self) -> Parity:
        """Write the file and its parity. Raises ResomapError, and leaves nothing, where the file is not good enough."""
        device = choose_device("cpu")
        prepare_backend(device, False, self.threads)
        images, groups = self._images()
        network = self.weights.classifier(device).predictor.inference.model.float().eval()
        files = self.files
        files.network.parent.mkdir(parents=True, exist_ok=True)
        place = temporary_beside(files.network)
        place.mkdir()
        try:
            made = place / files.network.name
            self._write(network, images, made)
            found = self._verify(network, made, images, groups)
            refusal = found.refusal(self.precision)
            if refusal is not None:
                raise ResomapError(
                    f"{self.cell.name} is not exported in {self.precision}: {refusal}; {self._way_out()}"
                )
            self._publish(made, found)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return found

    def _images(self) -> tuple[Images, np.ndarray | None]:
        """Return the validation images of the training, and the groups of those that belong together."""
        resolution = self.weights.resolution
        if not store_directory(DATA_DIRECTORY, resolution).exists():
            raise ResomapError(
                f"the validation images are not prepared at {resolution} px, and an export is verified on them; "
                f"`snakemake {store_directory(DATA_DIRECTORY, resolution)}/store.json` prepares them"
            )
        store = Store.open(DATA_DIRECTORY, resolution, (SPLIT,), self.marker.fold)
        if self.marker.is_of_other_images(store.content_digest) or store.classes != self.weights.classes:
            raise ResomapError(
                f"the images in {store.place} are not those of the training: files changed under their old names; "
                "give `data.source` the images as they were, or `resomap forget` it and train it anew"
            )
        images = store.split(SPLIT)
        if not len(images.labels):
            raise ResomapError("there are no validation images, and an export is verified on them")
        return images, store.blocks(SPLIT)

    def _write(self, network: nn.Module, images: Images, target: Path) -> None:
        facts = facts_of(self.weights, self.temperature, self.point, self.precision)
        try:
            model = self._model(network, images)
        except ResomapError:
            raise
        except Exception as error:  # of the libraries that convert: they raise nearly anything
            raise ResomapError(
                f"{self.cell.name} cannot be exported in {self.precision} ({first_line(error)}); {self._way_out()}"
            ) from error
        add_facts(model, facts)
        if self.file_format == ONNX:
            target.write_bytes(model.SerializeToString())
            return
        source = target.with_name("source.onnx")
        source.write_bytes(model.SerializeToString())
        try:
            write_openvino(source, target, self.precision, facts)
        except Exception as error:
            raise ResomapError(
                f"OpenVINO cannot take {self.cell.name} ({first_line(error)}); export it with --format onnx"
            ) from error

    def _model(self, network: nn.Module, images: Images) -> Any:
        model = onnx_model(network, self.weights.resolution, self.weights.normalisation.channels).proto
        if self.precision == INT8:
            chosen = np.linspace(0, len(images.labels) - 1, min(CALIBRATION_IMAGES, len(images.labels))).astype(int)
            return quantised(model, self._batches(images, np.unique(chosen)))
        # OpenVINO stores what it is given in 16 bits itself.
        return half_precision(model) if self.precision == FP16 and self.file_format == ONNX else model

    def _verify(self, network: nn.Module, made: Path, images: Images, groups: np.ndarray | None) -> Parity:
        computed = open_file(made, self.file_format, self.precision, self.threads)
        reference, exported = self._logits(network, computed, images)
        first = next(self._batches(images, np.arange(1)))
        kept = self._kept(images)
        answers = Answers(
            labels=images.labels,
            groups=groups,
            reference=reference,
            exported=exported,
            original=log_softmax(reference) if kept is None else kept,
            alone=computed(first)[0],
        )
        report, classes = self.study.config.report, self.weights.classes
        return parity(answers, question_of(report, classes), report.margin, point_on(self.point, classes))

    def _logits(self, network: nn.Module, computed: Computed, images: Images) -> tuple[np.ndarray, np.ndarray]:
        references, exports = [], []
        for batch in self._batches(images, np.arange(len(images.labels))):
            with torch.inference_mode():
                references.append(logits(network(torch.from_numpy(batch))).numpy())
            exports.append(computed(batch))
        return np.concatenate(references), np.concatenate(exports)

    def _kept(self, images: Images) -> np.ndarray | None:
        """Return the log-probabilities [N, classes] by which the map judged the cell; None where they are not kept."""
        found = kept_predictions(self.cell, self.marker, self.cell.resolution, (SPLIT,))
        if found is None:
            return None
        part = found.splits[SPLIT]
        is_same = list(part.names) == images.names and np.array_equal(part.labels, images.labels)
        return part.log_probabilities if is_same and found.classes == self.weights.classes else None

    def _batches(self, images: Images, chosen: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the images as the network takes them, float32 [N, C, R, R]."""
        mean, std = (np.array(values, dtype=np.float32) for values in of_each_channel(self.weights.normalisation))
        size = images_a_pass(self.weights.resolution)
        for start in range(0, len(chosen), size):
            pixels = np.stack([np.array(images.pixels[int(row)]) for row in chosen[start : start + size]])
            yield as_input(pixels, mean, std)

    def _publish(self, made: Path, found: Parity) -> None:
        """Write the parity, then the weights of OpenVINO, then the file that names them all."""
        files = self.files
        weights = made.with_suffix(".bin") if files.weights else None
        content = {
            "schema": SCHEMA,
            "model": self.weights.name,
            "resolution": self.weights.resolution,
            "fingerprint": self.weights.fingerprint,
            "uid": self.weights.uid,
            "format": self.file_format,
            "precision": self.precision,
            "file": files.network.name,
            "bytes": sum(path.stat().st_size for path in (made, weights) if path),
            "sha256": file_digest(made),
            "weights_sha256": file_digest(weights) if weights else None,
            "basis": self.basis,
            "parity": found.as_json(),
            "versions": versions(),
        }
        write_json(files.parity, content)
        if weights and files.weights:
            _move(weights, files.weights)
        _move(made, files.network)

    def _way_out(self) -> str:
        if self.precision == FP32:
            return "export another format or cell, or use it in Python (`resomap predict`)"
        return (
            "export it in fp32, or give the map a larger report.margin (fewer than about 3 / margin validation images "
            "prove no margin, even where no decision changes)"
        )


def _move(source: Path, target: Path) -> None:
    with source.open("rb") as stream:
        replace_atomically(target, lambda out: shutil.copyfileobj(stream, out))
