"""Formats of image files by their content: which are read, and the names of those that are not.

Light: only the first bytes of a file are looked at, and no image library is imported.
"""

import re
from dataclasses import dataclass
from pathlib import Path

# Files with another suffix, or none, are images too where their content is that of a format below.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"}
    | {".avif", ".heic", ".heif", ".dcm", ".dicom"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".j2c", ".jpx", ".jpf"}
)
# Read where a study names its channels; elsewhere arrays that lie beside images are none.
ARRAY_SUFFIXES = frozenset({".npy"})
HEAD = 400  # bytes, in which every signature below lies


@dataclass(frozen=True)
class ImageFormat:
    """A format of image files. `reader` is Pillow's name of it; None where ResoMap reads no such files."""

    name: str
    reader: str | None = None


HEIC = ImageFormat("HEIC", "HEIF")
AVIF = ImageFormat("AVIF", "AVIF")
DICOM = ImageFormat("DICOM", "DICOM")  # by pydicom, not by Pillow
TIFF = ImageFormat("TIFF", "TIFF")

# By their signatures. Pillow would otherwise hand any file to all its readers, one of which starts Ghostscript.
READ = {
    ImageFormat("JPEG", "JPEG"): rb"\xff\xd8\xff",
    ImageFormat("PNG", "PNG"): rb"\x89PNG",
    ImageFormat("GIF", "GIF"): rb"GIF8[79]a",
    ImageFormat("BMP", "BMP"): rb"BM.{8}..\0\0[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    TIFF: rb"II\*\0|MM\0\*|II\+\0|MM\0\+|II\0\*|MM\*\0",
    ImageFormat("WebP", "WEBP"): rb"RIFF.{4}WEBP",
    ImageFormat("PNM", "PPM"): rb"P[1-6]\s+(#[^\n]*\s+)*\d|Pf\n",
    DICOM: rb".{128}DICM",
    ImageFormat("JPEG 2000", "JPEG2000"): rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
}
_NOTREAD = {
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG XR": rb"II\xbc\x01",
    "PAM": rb"P7\n",
    "PFM in colour": rb"PF\n",
    "OpenEXR": rb"\x76\x2f\x31\x01",
    "Radiance HDR": rb"#\?(RADIANCE|RGBE)",
    "Photoshop": rb"8BPS",
    "GIMP": rb"gimp xcf",
    "icon": rb"\0\0\x01\0[\x01-\xff]\0|icns",
    "DDS": rb"DDS \x7c",
    "QOI": rb"qoif",
    "FITS": rb"SIMPLE  =",
    "SGI": rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]",
    "Sun raster": rb"\x59\xa6\x6a\x95",
    "DjVu": rb"AT&TFORM",
    "BPG": rb"BPG\xfb",
    "FLIF": rb"FLIF",
    "NIfTI": rb".{344}(n\+1|ni1)\0",
    "camera raw": rb"FUJIFILMCCD-RAW|IIU\0|IIR[OS]|MMOR|FOVb",
}
_BRANDS = {b"avif": AVIF, b"avis": AVIF, b"crx ": ImageFormat("camera raw")} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2"), HEIC
)
# Not images; named because people find them under the suffix of one.
_NO_IMAGES = {
    "a Git LFS pointer; `git lfs pull` brings the image": rb"version https://git-lfs",
    "an HTML page": rb"(?i)\s*<(!doctype html|html|head|body)",
    "an SVG drawing": rb"\s*(<\?xml.*?)?(<!--.*?-->\s*)?(<!DOCTYPE svg.*?)?<svg",
    "an XML text": rb"\s*<\?xml",
    "a PDF": rb"%PDF",
    "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
    "a ZIP archive": rb"PK\x03\x04",
    "compressed by gzip": rb"\x1f\x8b",
    "a NumPy array, which is read where data.channels says how many it has": rb"\x93NUMPY",
    "HDF5": rb"\x89HDF",
    "a video": rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xb3\xba]",
    "audio": rb"RIFF.{4}WAVE|ID3|fLaC|OggS",
}


_SIGNATURES = [(which, re.compile(signature, re.DOTALL)) for which, signature in READ.items()] + [
    (ImageFormat(name), re.compile(signature, re.DOTALL)) for name, signature in _NOTREAD.items()
]
_OTHERS = [(name, re.compile(signature, re.DOTALL)) for name, signature in _NO_IMAGES.items()]


def format_of(content: bytes) -> ImageFormat | None:
    """Return the format of an image file by its first bytes; None where they are those of no known image format."""
    head = content[:HEAD]
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    return next((which for which, pattern in _SIGNATURES if pattern.match(head)), None)


def other_content(content: bytes) -> str:
    """Return words for the content of a file that is no image: `an HTML page`, or `in no known format`."""
    head = content[:HEAD]
    return next((name for name, pattern in _OTHERS if pattern.match(head)), "in no known format")


def suffixes(arrays: bool) -> frozenset[str]:
    """Return the suffixes of images, with those of arrays of numbers or without."""
    return SUFFIXES | ARRAY_SUFFIXES if arrays else SUFFIXES


def is_image(path: Path | str, arrays: bool = False) -> bool:
    """Return True for a file with the suffix of an image, or with the content of one under any other name.

    With `arrays` those by their suffix too.
    """
    file = Path(path)
    if file.suffix.lower() in suffixes(arrays):
        return True
    try:
        if not file.is_file():  # a named pipe would be waited for
            return False
        with file.open("rb") as stream:
            return format_of(stream.read(HEAD)) is not None
    except OSError:
        return False


def _of_brands(head: bytes) -> ImageFormat | None:
    """Return the format of an ISO base media file: HEIC and AVIF are told apart by the brands that they list."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major, *brands = (head[start : start + 4] for start in (8, *range(16, size - 3, 4)))
    if major in (b"mif1", b"msf1", b"mif2"):  # any codec: the others say which
        major = next((brand for brand in brands if brand in _BRANDS and not brand.startswith(b"m")), major)
    return _BRANDS.get(major)
