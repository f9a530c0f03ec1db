"""Class-activation maps that `resomap explain` drew of trainings which are in this map: nothing is computed here."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

from resomap.cells.explanation_record import explanations
from resomap.summary.evidence import Evidence

_WIDEST, _TALLEST = 1200, 1600  # pixels on the page
_JPEG_QUALITY = 80


@dataclass(frozen=True)
class Explained:
    """A model's picture, as data that stands in the page itself."""

    model: str
    trainings: str
    picture: str


def explained(evidence: Evidence) -> list[Explained]:
    """Return the pictures of models whose trainings are all still those that were explained."""
    known = {one.marker.uid for one in evidence.trained}
    found = []
    for record, path in explanations():
        if not known.issuperset(record.trainings.values()):
            continue  # trained anew since
        try:
            with Image.open(path) as image:
                picture = image.convert("RGB")
        except OSError:  # a picture that cannot be shown costs its place on the page, never the report
            continue
        picture.thumbnail((_WIDEST, _TALLEST), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
        data = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
        found.append(Explained(record.model, ", ".join(record.trainings), data))
    return found
