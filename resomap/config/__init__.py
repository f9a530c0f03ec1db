"""The configuration, from defaults to a checked value.

- `schema`: every key with its type, default and meaning
- `training_keys`, `recipes`: its section that is the recipe of a training, and recipes by name
- `judging`: the sections of report and budget, by which the map compares and chooses
- `positive`: the positive class, and the metrics that need one
- `images`: its section of the images
- `costs`: the section of what a model costs: its runtimes and precisions
- `sharing`: the section of trainings that share a device
- `values`: the types of the values, and what `--config` gives as text
- `tracker_uri`: which addresses of trackers are accepted
- `documents`: configuration files as text from outside, bounded
- `load`: merging files and command line, and the validation
- `messages`: the sentence for a wrong value or key
- `hashed`: what of it enters fingerprints, so that a new key makes nothing stale
"""

from resomap.config.load import load_config, merge, parse_config
from resomap.config.schema import Config, Training

__all__ = ["Config", "Training", "load_config", "merge", "parse_config"]
