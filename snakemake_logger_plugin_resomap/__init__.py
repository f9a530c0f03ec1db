"""Snakemake's logger plugin of ResoMap: shows the running sweep, and has the command line read.

Snakemake imports this in every run of the environment, whatever the workflow, and a failure here would break
them all: until it is needed, nothing is imported but the standard library and Snakemake's plugin interface.
"""

from resomap.planning.snakemake_cli import attend
from snakemake_logger_plugin_resomap.handler import LogHandler
from snakemake_logger_plugin_resomap.pipe import ignore_broken_pipes

__all__ = ["LogHandler"]

attend(on_run=ignore_broken_pipes)
