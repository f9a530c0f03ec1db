"""Helpers that every other package may use and that import no other package of ResoMap.

- `deadline`: a call with a deadline
- `errors`: the exceptions with their exit codes
- `files`: atomic writing of JSON, CSV and text
- `fork_client`: a training run in a process that was forked from one with everything imported
- `gc_control`: garbage collection disabled during heavy imports
- `json_object`: dataclasses kept as JSON objects, with types checked
- `place`: the folder in which a command was typed, and paths for its reader
- `sealed_json`: JSON objects with a digest of their own content
- `log_probabilities`: log-probabilities of a classifier, and the margins of its classes
- `logging`: the per-cell log file
- `seal`: the checksum at the end of a checkpoint file
- `temporary`: names of temporary files, which tell their writer
- `waiting_threads`: how long a training's threads spin before they sleep
- `workflow_files`: Snakefile, configuration and profiles, of a clone or an installed package
- `text`: the nearest valid name for a mistyped one, and text from outside as one printable line or as valid UTF-8
"""
