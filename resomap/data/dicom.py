"""DICOM images, by pydicom: rescaled, windowed and turned to black-is-dark as the file says, of 8 bits like all images.

A grey image is scaled by its first window. Without one the range that its stored bits can hold becomes 0 to 255: a
property of the file's form, so that one brightness stays one brightness over the set.
"""

import importlib.util
import warnings
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np

from resomap.data.damage import DamagedImage

_MOST_PIXELS = 179_000_000  # as many as Pillow decodes of other formats
_FAR = 1e9  # beyond any stored value: where a window ends in black and in white


@cache
def reads_dicom() -> bool:
    """Return True if pydicom is installed (`pip install pydicom`)."""
    return importlib.util.find_spec("pydicom") is not None


def decode_dicom(content: bytes) -> tuple[np.ndarray, str]:
    """Return (pixels uint8 [H, W, 1 or 3], name of the mode) of a DICOM file.

    Raises DamagedImage: no pydicom, no pixels, several frames, too many pixels, an unread compression, damage.
    """
    if not reads_dicom():
        raise DamagedImage("unsupported format", "DICOM, which is read after `pip install pydicom`")
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are not as the standard has them, and are not needed here
        try:
            header = pydicom.dcmread(BytesIO(content))
            _refuse(header)
            return _pixels(header)
        except DamagedImage:
            raise
        except Exception as error:  # a damaged file makes pydicom and its decoders raise nearly anything
            words = " ".join(str(error).split()) or type(error).__name__
            raise DamagedImage("truncated or damaged", f"DICOM: {words}") from None


def _refuse(header: Any) -> None:
    from pydicom.pixels import get_decoder

    if "PixelData" not in header:
        if "Rows" in header:
            raise DamagedImage("truncated or damaged", "DICOM: it ends before its pixels")
        raise DamagedImage("unsupported format", "DICOM without pixels, such as a report")
    frames = int(header.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise DamagedImage("unsupported format", f"DICOM of {frames} frames; save each frame as a file of its own")
    if int(header.Rows) * int(header.Columns) > _MOST_PIXELS:
        raise DamagedImage("too many pixels", "more than 179 million; scale the image down")
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise DamagedImage("unsupported format", f"DICOM compressed by {syntax.name}; save it uncompressed")


def _pixels(header: Any) -> tuple[np.ndarray, str]:
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

    kind = str(header.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        return _colour(apply_color_lut(pixel_array(header), header), 16), "P"
    if int(header.SamplesPerPixel) > 1:
        return _colour(pixel_array(header), int(header.BitsStored)), "RGB"  # YBR is turned to RGB by it
    if not kind.startswith("MONOCHROME"):
        raise DamagedImage("unsupported format", f"DICOM of {kind}; save the image as PNG")
    bits = int(header.BitsStored)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if header.PixelRepresentation else (0, (1 << bits) - 1)
    ends = apply_modality_lut(np.array([[low, high]]), header) if "ModalityLUTSequence" not in header else None
    values = np.asarray(apply_modality_lut(pixel_array(header), header), dtype=np.float64)
    if "WindowCenter" in header or "VOILUTSequence" in header:
        ends = apply_voi_lut(np.array([[-_FAR, _FAR]]), header) if "WindowCenter" in header else None
        values = np.asarray(apply_voi_lut(values if ends is not None else values.astype(int), header), dtype=np.float64)
    first, last = (float(end) for end in np.ravel(ends)) if ends is not None else (0.0, float(values.max(initial=1)))
    if first > last:
        first, last = last, first
    shares = (values - first) / max(last - first, 1e-12)
    grey = (shares.clip(0, 1) * 255).round().astype(np.uint8)
    if kind == "MONOCHROME1":
        grey = 255 - grey
    return grey[:, :, None], "I;16" if bits > 8 else "L"


def _colour(values: np.ndarray, bits: int) -> np.ndarray:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values[:, :, :3])
    scaled = values[:, :, :3].astype(np.float64) / ((1 << bits) - 1) * 255
    return scaled.clip(0, 255).round().astype(np.uint8)
