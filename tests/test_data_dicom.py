"""DICOM images are read as a viewer shows them: rescaled, windowed, black as black; what is not read is named."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, SecondaryCaptureImageStorage, generate_uid

from resomap.config.schema import Data
from resomap.data.damage import DamagedImage
from resomap.data.decode import decode_bytes
from resomap.data.manifest import make_manifest


def dicom(values: np.ndarray, bits: int = 16, compress: bool = False, **tags: Any) -> bytes:
    """A DICOM file of grey values [H, W], or of colours [H, W, 3]."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = values.shape[:2]
    file.SamplesPerPixel = values.shape[2] if values.ndim == 3 else 1
    file.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        file.PlanarConfiguration = 0
    file.BitsAllocated = values.dtype.itemsize * 8
    file.BitsStored, file.HighBit = bits, bits - 1
    file.PixelRepresentation = int(values.dtype.kind == "i")
    file.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    if compress:
        file.compress(RLELossless)
    stream = BytesIO()
    pydicom.dcmwrite(stream, file, enforce_file_format=True)
    return stream.getvalue()


def foreign() -> bytes:
    """A file that says that it is JPEG-LS, for which no decoder is installed."""
    file = pydicom.dcmread(BytesIO(dicom(STORED, 12, compress=True)))
    file.file_meta.TransferSyntaxUID = JPEGLSLossless
    stream = BytesIO()
    pydicom.dcmwrite(stream, file, enforce_file_format=True)
    return stream.getvalue()


def grey(content: bytes) -> list[int]:
    return [int(value) for value in decode_bytes(content).pixels.ravel()]


STORED = np.array([[0, 1000, 2000, 4095]], dtype=np.uint16)


def test_without_a_window_the_range_of_the_stored_bits_counts() -> None:
    assert grey(dicom(STORED, 12)) == [0, 62, 125, 255]
    assert grey(dicom(STORED, 16)) == [0, 4, 8, 16]
    assert grey(dicom(np.array([[-2048, 0, 2047]], dtype=np.int16), 12)) == [0, 128, 255]
    assert grey(dicom(np.array([[0, 128, 255]], dtype=np.uint8), 8)) == [0, 128, 255]


def test_the_window_is_of_rescaled_values() -> None:
    """A CT: stored 1024 above Hounsfield units; the window of soft tissue, 400 wide around 40."""
    units = np.array([[-1000, -160, 40, 240, 3000]])
    stored = (units + 1024).astype(np.uint16)
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    assert grey(dicom(stored, 12, **tags)) == pytest.approx([0, 0, 128, 255, 255], abs=1)
    halved = {**tags, "RescaleSlope": 2}
    assert grey(dicom(stored // 2, 12, **halved)) == pytest.approx([0, 0, 128, 255, 255], abs=1)
    several = {**tags, "WindowCenter": [40, 300], "WindowWidth": [400, 1500]}
    assert grey(dicom(stored, 12, **several)) == grey(dicom(stored, 12, **tags)), "the first of several"


def test_monochrome1_counts_from_white() -> None:
    assert grey(dicom(STORED, 12, PhotometricInterpretation="MONOCHROME1")) == [255, 193, 130, 0]


def test_colours_and_compressed_files_are_read() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert (decode_bytes(dicom(colours, 8)).pixels == colours).all()
    assert grey(dicom(np.tile(STORED, (4, 1)), 12, compress=True)) == [0, 62, 125, 255] * 4


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda: dicom(STORED, 12, NumberOfFrames=4), r"unsupported format \(DICOM of 4 frames; save each frame"),
        (lambda: dicom(STORED, 12)[:-3], r"truncated or damaged \(DICOM: "),
        (lambda: bytes(128) + b"DICM" + bytes(30), r"(truncated or damaged|unsupported format) \(DICOM"),
        (lambda: dicom(STORED, 12)[:-20], r"truncated or damaged \(DICOM: it ends before its pixels"),
        (lambda: foreign(), r"unsupported format \(DICOM compressed by JPEG-LS Lossless"),
        (lambda: dicom(STORED, 12, Rows=60000, Columns=60000), r"too many pixels"),
    ],
)
def test_what_is_not_read_is_named(content: Any, sentence: str) -> None:
    with pytest.raises(DamagedImage) as caught:
        decode_bytes(content())
    assert re.match(sentence, str(caught.value)), str(caught.value)


def test_class_folders_of_dicom_are_a_source(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for label, top in (("dark", 500), ("bright", 4000)):
        (tmp_path / "scans" / label).mkdir(parents=True)
        for number in range(10):
            name = f"{number}.dcm" if number % 2 else f"IM{number:04d}"  # as scanners name them, without a suffix
            values = random.integers(0, top, (16, 16)).astype(np.uint16)
            (tmp_path / "scans" / label / name).write_bytes(dicom(values, 12))
    manifest = make_manifest(Data(source=str(tmp_path / "scans")), tmp_path / "out", 1)
    assert (len(manifest.entries), manifest.classes, manifest.channels) == (20, ["bright", "dark"], 1)
