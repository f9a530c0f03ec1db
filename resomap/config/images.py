"""Configuration section of the images: their source, layout, split and groups, and how they are prepared."""

from typing import Annotated, Literal

from pydantic import model_validator

from resomap.config.values import (
    UNHASHED,
    Channels,
    Count,
    Folds,
    OptionalCount,
    OptionalText,
    Section,
    ValueRange,
    key,
    section,
)
from resomap.models.index import COLOURS


class Split(Section):
    """Shares of the images in each split when the source comes without its own split."""

    train: float = key(0.7, "share of the images to train on; the three shares sum to 1", gt=0, lt=1)
    val: float = key(0.15, "share of the validation split (chooses epoch, stopping, recommendation)", gt=0, lt=1)
    test: float = key(0.15, "share of the test split, which is only reported", gt=0, lt=1)

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Split":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test is {self.train + self.val + self.test:g}, and must be 1")
        return self


class Columns(Section):
    """Columns of a table or of shards: the names under which it keeps what a folder says by its paths."""

    path: str = key(
        "auto",
        "column of the images: paths from the table's folder, absolute paths, or in Parquet their bytes; `auto`: "
        "`path`, `file_name`, `filename`, `image`, `image_id`, `id` and the like",
        min_length=1,
    )
    label: str = key(
        "auto",
        "column of the classes; in a tar shard the member (`cls`) or the key of its `.json`; `auto`: `label`, `class`, "
        "`target`, `category` and the like, or the other one of two columns",
        min_length=1,
    )
    split: OptionalText = key(
        "auto",
        "column of the given splits (`train`, `validation`, `test`); `auto`: `split` and the like, or the names of "
        "shards (`train-00000-of-00004.parquet`); null: the split is made here",
    )
    group: OptionalText = key(
        "auto",
        "column of the groups, whose images stay in one split; `auto`: `group`, `patient`, `patient_id` and the like; "
        "null: every image stands alone",
    )
    weight: OptionalText = key(
        None,
        "column of the weight of each training image in the loss, more than 0 and scaled to a mean of 1; "
        "null: all weigh the same",
    )
    folder: OptionalText = key(None, "folder that the paths start from, seen from the table; null: the table's own")
    suffix: str = key("", "what is added to each path: `.jpg` where a column `id` has none")


class Data(Section):
    """The images: their source, their split, and the handling of damaged ones."""

    source: str = key(
        "elpv",
        "`elpv` (the bundled data set: `pip install elpv-dataset`); a folder: `train/ val/ test/` of "
        "class folders, or class folders to be split; a table (`.csv`, `.tsv`, `.parquet`); or a folder of Parquet or "
        "tar shards; a relative path starts at the working directory",
    )
    # Which folders are classes decides the list of files and the split, which are in the identity of the data.
    layout: Annotated[Literal["auto", "classes"], UNHASHED] = key(
        "auto",
        "`auto`: folders named like splits (`train`, `Testing`, `val_set`, `dev`, ...) that hold class folders are the "
        "splits, and folders that look like parts of a set stop; `classes`: every folder of the source is a class",
    )
    # Which columns decide the images is in the identity of the data (`table_facts` in resomap/data/tables.py).
    columns: Annotated[Columns, UNHASHED] = section(Columns, "columns of a table or of shards")
    split_seed: Count = key(0, "seed of the split; not the trainings' seed, so all seeds share one split", ge=0)
    split: Split = section(Split, "shares of the split, where the source has none of its own")
    folds: Folds = key(
        None,
        "folds that the images outside the test split are dealt into, so that every one of them judges: each cell "
        "trains once for each fold, on the others; near-duplicates stay together; null: one validation split",
    )
    groups: OptionalText = key(
        None,
        "CSV file with the columns `path,group`: images of one group (a patient, a module) never straddle "
        "a split; null: every image stands alone",
    )
    # Groups that this lets through are in the identity of the data (`groups_facts` in resomap/data/image_groups.py).
    ungrouped: Annotated[Literal["stop", "alone"], UNHASHED] = key(
        "stop",
        "images without a group while lines of `groups` name no image, and groups such as `nan`: `stop`, as patients "
        "may straddle the split, or let each of those images stand `alone`",
    )
    problems: Literal["error", "skip"] = key(
        "error",
        "unreadable files, duplicates across splits, classes missing from the training split: `error` stops "
        "and names them, `skip` leaves those images out; both write `results/data/check.md`",
    )
    # It enters the identity of the data where it has an effect (`describe` in resomap/data/identity.py).
    near_duplicates: Annotated[Literal["report", "together"], UNHASHED] = key(
        "report",
        "pictures that were re-encoded, resized, mirrored or turned: `report` names those in two splits, `together` "
        "also keeps them on one side of a split that is made here; a new study had better have `together`",
    )
    fit: Literal["center", "squash", "border"] = key(
        "center",
        "how an image that is not square becomes one: `center` scales the short side and crops, `squash` "
        "scales both sides, `border` scales the long side and fills up with black",
    )
    on_disk: Literal["auto", "always", "never"] = key(
        "auto",
        "prepared images are stored once for all trainings (`always`: an error where they do not fit), or decoded anew "
        "for each batch, to the same bytes and slower (`never`); `auto`: stored where they fit with room to spare",
    )
    keep_train: bool = key(
        True,
        "false: the stored training images of a resolution are deleted when its last training is done, and made again "
        "where another one comes; those for validation and test stay, for the evaluations",
    )
    workers: OptionalCount = key(None, "processes that decode images; null: one per core given to the step")
    channels: Channels = key(
        None,
        "channels that every image has, 1 to 16: TIFF and `.npy` are read as arrays of numbers with all their bands, "
        "and the first layer of the networks takes as many; null: images are grey or in colour, as their files say",
    )
    value_range: ValueRange = key(
        None,
        "values of TIFF and `.npy` that become 0 and 255, such as `[0, 10000]`, with what lies beyond cut off; needs "
        "`channels`; null: the range of 8 or 16 bits, and 0 to 1 of floats",
    )

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of the images that one training learns from, and that judge it; of a source without splits."""
        outside = self.split.train + self.split.val
        if self.folds is None:
            return self.split.train, self.split.val
        return outside * (self.folds - 1) / self.folds, outside / self.folds

    @property
    def input_channels(self) -> int:
        """Number of channels that the networks take."""
        return self.channels or COLOURS

    @model_validator(mode="after")
    def _range_is_of_channels(self) -> "Data":
        if self.value_range is not None and self.channels is None:
            raise ValueError("value_range needs channels, the number of channels that every image has")
        return self

    @model_validator(mode="after")
    def _keeps_what_folds_need(self) -> "Data":
        if self.folds is not None and not self.keep_train:
            raise ValueError(
                "folds and keep_train: false do not go together, since the images that one fold trains on judge another"
            )
        return self
