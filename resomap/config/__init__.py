"""The configuration, from defaults to a checked value.

`schema` holds every key with its default, `load` merges and checks, `mistakes` has the words for what is wrong,
`document` writes the documentation.
"""

from resomap.config.load import load_config, merge, parse_config
from resomap.config.schema import Config, Training

__all__ = ["Config", "Training", "load_config", "merge", "parse_config"]
