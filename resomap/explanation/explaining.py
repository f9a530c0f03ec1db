"""Step of an explanation: from the trained cells of a model to a picture of what each saw, and its record."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from resomap.cells.cell import Cell
from resomap.cells.decision import Decision, temperature_of
from resomap.cells.evaluation_record import kept_predictions
from resomap.cells.explanation_record import SCHEMA, ExplanationRecord
from resomap.cells.marker import Marker
from resomap.cells.predictions import Predictions
from resomap.compute.device import Device
from resomap.core.errors import ResomapError
from resomap.core.files import replace_atomically, write_json
from resomap.core.text import encodable
from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import Manifest
from resomap.evaluation.evaluator import find_weights
from resomap.evaluation.trained_weights import Weights
from resomap.explanation.activation_maps import activation_maps
from resomap.explanation.explained_images import telling_images
from resomap.explanation.map_picture import Row, Tile, draw_picture
from resomap.explanation.spatial_layer import spatial_layer
from resomap.prediction.image_batches import Form, Listed, read_batch


@dataclass(frozen=True)
class Trained:
    """A cell with its best weights, and the temperature of their answers."""

    cell: Cell
    marker: Marker
    weights: Weights
    temperature: float

    @classmethod
    def of(cls, cell: Cell) -> "Trained | None":
        """Return the finished training of a cell; None where its weights are not here."""
        marker = Marker.read(cell.marker)
        if marker is None or (weights := find_weights(cell, marker)) is None:
            return None
        found = Decision.beside(weights.path, weights.fingerprint, weights.uid)
        return cls(cell, marker, weights, temperature_of(found))

    def predictions(self) -> Predictions | None:
        """Return the predictions of these weights that the training kept; None where they are not here."""
        return kept_predictions(self.cell, self.marker, self.cell.resolution, ("test",))


@dataclass(frozen=True)
class Shown:
    """The images that are explained, and the class of each (index); None: the answer at the highest resolution."""

    images: Sequence[Listed]
    truths: Sequence[int] | None


def test_images(members: Sequence[Trained], count: int) -> Shown:
    """Return test images of the study, chosen by the predictions. Raises ResomapError where they are not here."""
    kept = [found.splits["test"] for member in members if (found := member.predictions()) is not None]
    if not kept:
        raise ResomapError(
            f"the predictions of {members[0].cell.name} are not here, and by these the images are chosen; name images "
            "with --images"
        )
    manifest = Manifest.load(DATA_DIRECTORY)
    locations = manifest.locations(manifest.entries)
    names = kept[0].names
    same = [part for part in kept if list(part.names) == list(names)]
    chosen = [place for place in telling_images(same, count) if names[place] in locations]
    images = [Listed(names[place], locations[names[place]]) for place in chosen]
    return Shown(images, [int(kept[0].labels[place]) for place in chosen])


def explain(members: Sequence[Trained], shown: Shown, target: Path, device: Device) -> list[Listed]:
    """Write the picture of maps, and its record beside it where the images are the study's own test images.

    `members` are of one model, from the lowest resolution to the highest. Returned are images that cannot be read.
    Raises ResomapError where the model has no layer with places, or no image can be read.
    """
    read = [read_batch(_form(member.weights), shown.images) for member in members]
    errors = read[0].errors
    places = [place for place, error in enumerate(errors) if error is None]
    unread = [Listed(shown.images[place].name, None, error) for place, error in enumerate(errors) if error is not None]
    if not places:
        raise ResomapError(f"no image can be read, {unread[0].name} is {unread[0].error}; name others with --images")
    classifiers = [member.weights.classifier(device) for member in members]
    # The same layer at each resolution: the last that has places at the lowest.
    model = members[0].cell.model
    first = classifiers[0].predictor
    channels = first.normalisation.channels
    layer = spatial_layer(first.inference.model, model, members[0].weights.resolution, channels)
    if shown.truths is None:
        answers = classifiers[-1].predictor(torch.from_numpy(read[-1].pixels))
        explained = answers.argmax(dim=1).cpu().numpy()
    else:
        explained = np.array([shown.truths[place] for place in places])
    maps = [
        activation_maps(classifier, layer, one.pixels, explained, member.temperature)
        for member, classifier, one in zip(members, classifiers, read, strict=True)
    ]
    classes, is_known = members[0].weights.classes, shown.truths is not None

    def tile(column: int, index: int) -> Tile:
        shares, wanted = maps[column].probabilities[index], int(explained[index])
        answer = int(shares.argmax())
        right = answer == wanted if is_known else None
        return Tile(read[column].pixels[index], maps[column].maps[index], classes[answer], float(shares[wanted]), right)

    columns = range(len(members))
    rows = [
        Row(shown.images[place].name, classes[explained[index]], [tile(column, index) for column in columns])
        for index, place in enumerate(places)
    ]
    title = f"{model}: where it saw the class below each image (Grad-CAM, layer {layer.name})"
    picture = draw_picture(title, [f"{member.weights.resolution} px" for member in members], rows)
    replace_atomically(target, lambda stream: picture.save(stream, "PNG", optimize=True))
    if is_known:
        record = ExplanationRecord(
            schema=SCHEMA,
            model=model,
            layer=layer.name,
            trainings={member.cell.name: member.weights.uid for member in members},
            images=tuple(encodable(row.name) for row in rows),
        )
        write_json(target.with_suffix(".json"), record.as_json())
    return unread


def _form(weights: Weights) -> Form:
    return Form(weights.resolution, weights.channels, weights.fit, weights.white_level, weights.bands)
