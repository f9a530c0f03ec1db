"""The images: from a source to arrays that a training reads.

    source (folder, elpv) -> inspection (each file once) -> selection (problems, split) -> manifest, check
                          -> prepare (one resolution) -> store (what a training opens)

`identity` stands beside them: it tells, without reading an image, whether this is still the same data.
"""

from pathlib import Path

# Manifest, check report and prepared images of a study, relative to its working directory.
DATA_DIRECTORY = Path("results", "data")
