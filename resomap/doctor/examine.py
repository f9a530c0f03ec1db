"""Examination as a whole, in the order in which a grid would meet its troubles."""

from collections.abc import Iterator

from resomap.config import Config
from resomap.doctor.data_check import look_at_data
from resomap.doctor.finding import Finding
from resomap.doctor.machine_check import look_at_device, look_at_disk
from resomap.doctor.slurm_check import look_at_slurm
from resomap.doctor.tracker_check import look_at_tracker


def examine(config: Config) -> Iterator[Finding]:
    """Yield each finding as soon as it is made."""
    yield from look_at_data(config)
    yield from look_at_disk(config)
    yield from look_at_tracker(config)
    yield from look_at_slurm()
    yield from look_at_device(config)  # last: importing torch takes the longest
