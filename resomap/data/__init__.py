"""The images: from a source to arrays that a training reads.

    source (folder, table, shards) -> inspection (each file once) -> selection (problems, split) -> manifest, check
                                   -> prepare (a resolution) -> store (what a training opens)

- `source`, `folder`, `elpv`: the files and labels of a data set
- `source_kind`, `tables`, `columns`, `lines`: CSV, Parquet and tar as a source, and what their lines say
- `text_table`, `parquet_shards`, `tar_shards`: the listing of each kind
- `location`, `streamed`: where an image's bytes lie, and shards read once from end to end
- `layout`, `clutter`, `image_groups`: split or class folders, what is left out by name, images that stay together
- `inspection`: size, mode and digests of each file, or its damage; the scale of the set
- `decode`, `pixels`, `tiff`, `dicom`, `metadata`: the pixels of a file, upright and of 8 bits
- `bands`, `arrays`, `tiff_bands`: those of images whose channels the study names, from `.npy` and TIFF
- `image_formats`, `variants`, `damage`: what a file is by its content, and why one is not read
- `near_duplicates`, `sketch`: the same picture re-encoded, resized, mirrored or turned
- `selection`, `split`, `folds`: the images that are used, and train, val or test for each, or its fold
- `manifest`, `image_blocks`: the list of the images, and which of them belong together
- `check`, `left_out`: the report on the images, and what it left out
- `prepare`, `array_writer`, `picture`, `pool`: decoding and resizing to one or several sizes, in several processes
- `verified_pixels`: digests of arrays, verified before they are read
- `store`, `chosen_rows`, `ondemand`: the prepared arrays, or the same pixels decoded at each access
- `joined_pixels`: the arrays of several splits as one
- `identity`, `changes`: stand beside them and tell, without reading an image, whether this is still the same data
"""

from pathlib import Path

# Manifest, check report and prepared images of a study, relative to its working directory.
DATA_DIRECTORY = Path("results", "data")
# In this order everywhere: what a training learns from, what it chooses by, what is only reported.
SPLITS = ("train", "val", "test")
