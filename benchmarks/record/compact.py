"""Log-probabilities in few bytes: ratios to the last class as float16 of six significant bits, by planes of bytes.

Log-probabilities of C classes have C - 1 degrees of freedom, which log p_k - log p_C (k < C) keep. As float16 with the
last four bits of the significand rounded away each is within 0.8 % of what it was: a log-odds of 5 within 0.04. Zeros
and separate planes of high and low bytes (the "shuffle" filter of HDF5) are what deflate makes small.
"""

import numpy as np

DROPPED_BITS = 4  # of the ten of float16's significand
LARGEST = 30_000.0  # nats; float16 ends at 65,504


def pack(log_probabilities: np.ndarray) -> np.ndarray:
    """Return log-probabilities [..., C] as uint8 [2, ..., C - 1]: high bytes, then low ones."""
    exact = log_probabilities.astype(np.float64)
    ratios = np.clip(exact[..., :-1] - exact[..., -1:], -LARGEST, LARGEST).astype("<f2")
    bits = ratios.view("<u2")
    half = np.uint16(1 << (DROPPED_BITS - 1))
    mask = np.uint16(0xFFFF & ~((1 << DROPPED_BITS) - 1))
    rounded = (bits + half) & mask  # a carry into the exponent is the next power of two, as it should be
    return np.stack([rounded >> 8, rounded & 0xFF]).astype(np.uint8)


def unpack(planes: np.ndarray) -> np.ndarray:
    """Return the log-probabilities float32 [..., C] of what `pack` made."""
    bits = (planes[0].astype(np.uint16) << 8) | planes[1]
    ratios = bits.astype("<u2").view("<f2").astype(np.float64)
    scores = np.concatenate([ratios, np.zeros((*ratios.shape[:-1], 1))], axis=-1)
    highest = scores.max(axis=-1, keepdims=True)
    return (scores - highest - np.log(np.exp(scores - highest).sum(axis=-1, keepdims=True))).astype(np.float32)
