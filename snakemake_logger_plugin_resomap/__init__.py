"""Snakemake's logger plugin of ResoMap: mends the command line, shows the sweep.

Snakemake imports this in every run of the environment, whatever the workflow, and a failure here would break
them all: until it is needed, nothing is imported but the standard library and Snakemake's plugin interface.
"""

from resomap.planning import argv
from snakemake_logger_plugin_resomap.handler import LogHandler

__all__ = ["LogHandler"]

argv.apply()
