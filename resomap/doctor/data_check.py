"""Check of the data: the images are there, and what the check of them said, where it has run."""

from collections.abc import Iterator

from resomap.config import Config
from resomap.core.errors import ResomapError
from resomap.core.text import is_whole_number
from resomap.data import DATA_DIRECTORY
from resomap.data.changes import CheckedFiles, named, prepared_digest
from resomap.data.identity import data_identity
from resomap.data.left_out import in_words, left_out, problems_found
from resomap.data.source import read_source
from resomap.doctor.finding import Finding

_REPORT = DATA_DIRECTORY / "check.md"


def look_at_data(config: Config) -> Iterator[Finding]:
    """Yield findings about the images, by names and sizes; the images themselves are read by the grid's first step."""
    try:
        identity = data_identity(config.data)
        source = read_source(config.data)
    except ResomapError as error:
        yield Finding("bad", "data", str(error))
        return
    words = f"{len(source.items):,} images in {len(source.classes)} classes, {config.data.source}"
    if len(source.classes) < 2:
        yield Finding("bad", "data", words, "a classifier needs two class folders at least")
    elif digest := prepared_digest(identity):
        yield _look_at_sources(CheckedFiles(source.root, identity, digest), words)
    elif _REPORT.is_file() and not (DATA_DIRECTORY / "manifest.json").is_file():
        found = f"{words}; the check found problems: {problems_found()}".removesuffix(": ")
        yield Finding("bad", "data", found, f"see {_REPORT}, or --config 'data={{problems: skip}}'")
    else:
        yield Finding("ok", "data", f"{words}; each is read once before the grid starts")
    yield from _look_at_stores()


def _look_at_sources(files: CheckedFiles, words: str) -> Finding:
    """Return the finding about every byte of the source's files, against the digests of when they were checked."""
    if changed := files.changed(files.all()):
        return Finding(
            "bad",
            "data",
            f"{words}; {len(changed):,} files have other contents than when they were checked: {named(changed)}",
            "the next snakemake checks them anew, and trains anew what saw the former ones",
        )
    skipped = in_words(left_out())
    left = f": {skipped}, named in {_REPORT}" if skipped else ""
    return Finding("ok", "data", f"{words}; checked{left}, and each file is as it was then")


def _look_at_stores() -> Iterator[Finding]:
    """Yield findings about every byte of the prepared images, against the digests of when they were written."""
    from resomap.data.store import Store, array_file

    whole = []
    for place in sorted(
        path.parent for path in DATA_DIRECTORY.glob("*/store.json") if is_whole_number(path.parent.name)
    ):
        try:
            # Training images may be gone (`data.keep_train`).
            splits = Store.open(DATA_DIRECTORY, int(place.name), ("test",)).splits
            there = tuple(split for split in splits if split != "train" or array_file(place, split).exists())
            store = Store.open(DATA_DIRECTORY, int(place.name), there)
            if store.is_stored:
                store.verify(there)
                whole.append(place.name)
        except ResomapError as error:
            yield Finding("bad", "data", str(error))
    if whole:
        yield Finding("ok", "data", f"prepared images are what was written, at {', '.join(whole)} pixels")
