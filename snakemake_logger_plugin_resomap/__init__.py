"""Logger plugin for Snakemake: shows the running sweep, and hooks into the command line.

Snakemake imports this in every run of the environment, whatever the workflow, and a failure here would break them all:
until it is needed, nothing is imported but the standard library and Snakemake's plugin interface.

- `handler`: the log handler, which shows each event as a line, or as Snakemake does
- `sweep`: record of the run's jobs, from the log events
- `bars`: progress bars on a terminal
- `run_summary`: the last lines of a run
- `pipe`: standard output and error that survive the end of their reader
"""

from resomap.planning.snakemake_cli import attend
from snakemake_logger_plugin_resomap.handler import LogHandler
from snakemake_logger_plugin_resomap.pipe import ignore_broken_pipes

__all__ = ["LogHandler"]

attend(on_run=ignore_broken_pipes)
