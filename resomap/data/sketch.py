"""Sketch of an image, by which near-duplicates are found: hashes of its eight orientations, and a thumbnail."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.fft import dct

ORIENTATIONS = 8  # four turns, each mirrored or not
HASH_WORDS = 4  # of 64 bits: a DCT hash of 16 x 16 frequencies
SIDE = 32  # pixels of the grey thumbnail
MOST_HALVINGS = 2  # of the thumbnail of a tiny image, to 8 pixels
COLOUR_SIDE = 8  # pixels of the thumbnail of the two colour channels (Cb, Cr)
_HASH_SIDE = 16
_DCT_SIDE = 64  # pixels that the hash's transform reads: four times the side of the hash


@dataclass(frozen=True)
class Sketch:
    """Summary of the pixels of an image, 1.4 KB."""

    hashes: bytes  # uint64 [ORIENTATIONS, HASH_WORDS]
    grey: bytes  # uint8 [SIDE, SIDE]
    colour: bytes  # uint8 [2, COLOUR_SIDE, COLOUR_SIDE]; empty for a grey image
    halvings: int  # of the grey thumbnail, until it is half as fine as the image: filters differ in the finest detail


def sketch(pixels: np.ndarray) -> Sketch:
    """Return the sketch of upright pixels, uint8 [H, W, C]; of other than 1 or 3 channels that of their mean."""
    if pixels.shape[2] not in (1, 3):
        pixels = pixels.mean(axis=2, keepdims=True).round().astype(np.uint8)
    is_grey = pixels.shape[2] == 1
    picture = Image.fromarray(pixels[:, :, 0] if is_grey else pixels)
    small = picture.convert("L").resize((_DCT_SIDE, _DCT_SIDE), Image.Resampling.LANCZOS, reducing_gap=4)
    turned = (np.ascontiguousarray(oriented(np.asarray(small), way)) for way in range(ORIENTATIONS))
    hashes = [np.packbits(perceptual_hash(one)) for one in turned]
    colour = b""
    if not is_grey:
        coarse = picture.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BICUBIC, reducing_gap=4)
        colour = np.asarray(coarse.convert("YCbCr"))[:, :, 1:].transpose(2, 0, 1).tobytes()
    grey = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).tobytes()
    halvings = sum(min(pixels.shape[:2]) < 2 * SIDE >> level for level in range(MOST_HALVINGS))
    return Sketch(np.concatenate(hashes).tobytes(), grey, colour, halvings)


def perceptual_hash(grey: np.ndarray) -> np.ndarray:
    """Return the DCT hash of a grey picture, uint8 [_DCT_SIDE, _DCT_SIDE]: bool [_HASH_SIDE, _HASH_SIDE].

    Each bit tells whether a low frequency is above their median, as `imagehash.phash` computes it, to the bit
    (Buchner, ImageHash 4.3; https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html).
    """
    low: np.ndarray = dct(dct(grey, axis=0), axis=1)[:_HASH_SIDE, :_HASH_SIDE]
    above: np.ndarray = low > np.median(low)
    return above


def oriented(pixels: np.ndarray, way: int) -> np.ndarray:
    """Turn or mirror square pixels [..., S, S] into one of the ORIENTATIONS; 0 leaves them as they are.

    Bits of `way`: 4 swaps the axes, then 1 mirrors the last axis and 2 the one before. Each way undoes itself but 5
    and 6, which undo each other.
    """
    turned = pixels.swapaxes(-1, -2) if way & 4 else pixels
    turned = turned[..., ::-1] if way & 1 else turned
    return turned[..., ::-1, :] if way & 2 else turned
