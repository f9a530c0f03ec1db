"""Answers to any number of images in one file: it appears whole, and a call that stopped is gone on with."""

import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import PIL
import torch

from resomap import __version__
from resomap.core.files import file_digest, strict_json
from resomap.core.temporary import writer_of
from resomap.prediction.answer_files import write_file
from resomap.prediction.answer_rows import Row, row_of
from resomap.prediction.image_answers import answers, batches_of
from resomap.prediction.image_list import Listed, digest_of
from resomap.prediction.networks import Network
from resomap.prediction.progress_bar import progress_bar
from resomap.prediction.unfinished import Unfinished, unfinished_beside


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Request for a file of answers: its likeliest classes or each class, and the processes that decode."""

    target: Path
    top: int
    each_class: bool = False
    workers: int | None = None


@dataclass
class Written:
    """Account of a written file: its images, the rows of those that could not be read, and the rate of this call."""

    images: int = 0
    unread: list[Row] = field(default_factory=list)
    rate: float | None = None  # images a second; None where all was done before

    def counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows, counting them."""
        for row in rows:
            self.images += 1
            if "error" in row:
                self.unread.append(row)
            yield row


def write_answers(network: Network, images: Sequence[Listed], asked: Asked) -> Written:
    """Write the answers to all images, in their order, to one file.

    They are kept beside it batch by batch. A call that is stopped, by Ctrl-C or a kill -9, is gone on with by the next
    one of the same weights, images and settings, to the same bytes on a CPU; where one of these has changed it begins
    anew, and says so. Raises ResomapError where another process writes the file; OSError.
    """
    top = len(network.classes) if asked.each_class else asked.top
    batches = batches_of(network, images)
    written = Written()
    with Unfinished(asked.target, _begun(network, images, asked, top), [len(batch) for batch in batches]) as unfinished:
        _say_how_it_begins(unfinished, sum(map(len, batches[: unfinished.done])), len(images))
        rest = batches[unfinished.done :]
        try:
            written.rate = _answer(network, rest, unfinished, top, asked.workers, len(images))
        except KeyboardInterrupt:
            done = sum(map(len, batches[: unfinished.done]))
            print(
                f"resomap: stopped after {done:,} of {len(images):,} images, which are in "
                f"{unfinished_beside(asked.target)}; the same command goes on from there",
                file=sys.stderr,
            )
            raise
        _remove_half_written(asked.target)
        rows = written.counted(unfinished.rows())
        write_file(asked.target, rows, network, top, asked.each_class)
        unfinished.remove()
    return written


def _answer(
    network: Network,
    batches: Sequence[Sequence[Listed]],
    unfinished: Unfinished,
    top: int,
    workers: int | None,
    images: int,
) -> float | None:
    """Answer the batches that are left; return the images a second, None where none was left."""
    left = sum(map(len, batches))
    began = time.monotonic()
    with progress_bar(images, images - left) as advance, closing(answers(network, batches, workers)) as answering:
        for answered in answering:
            unfinished.append([row_of(answer, network, top) for answer in answered])
            advance(len(answered))
    return left / (time.monotonic() - began) if left else None


def _remove_half_written(target: Path) -> None:
    """Delete what calls that were killed at their very end left of the file; the caller holds the lock."""
    for path in target.absolute().parent.iterdir():
        if path.name.startswith(f".{target.name}.") and writer_of(path) is not None:
            path.unlink(missing_ok=True)


def _say_how_it_begins(unfinished: Unfinished, done: int, images: int) -> None:
    if unfinished.changed:
        changed = " and ".join(unfinished.changed)
        print(f"resomap: {changed} have changed since an earlier call stopped: it begins anew", file=sys.stderr)
    elif done:
        print(f"resomap: {done:,} of {images:,} images are done by an earlier call", file=sys.stderr)


def _begun(network: Network, images: Sequence[Listed], asked: Asked, top: int) -> dict[str, str]:
    """Return a digest, by name, of all that decides the answers."""
    facts = {name: value for name, value in network.facts().items() if name not in ("weights", "ensemble")}
    settings = {
        **facts,
        "top": top,
        "each_class": asked.each_class,
        "batch": network.batch,
        "device": network.device,
        "versions": [__version__, torch.__version__, PIL.__version__],
    }
    return {
        "the images": digest_of(images),
        "the weights": " ".join(file_digest(path) for path in network.files),
        "the settings": hashlib.sha256(strict_json(settings).encode()).hexdigest(),
    }
