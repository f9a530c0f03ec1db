"""Kills at file operations of the steps of a study, each compared with an undisturbed run.

- `hook/sitecustomize`: counts a process's file operations, and kills it at one of them
- `operations`: the operations that a step does, in kinds, and the draw of one of them
- `zygote`: has imported what the steps import, and forks a process for each call of one
- `campaign`: a study, a kill in one of its steps, the same command once more, the comparison
- `snapshot`: the paths and contents of a study's folder, without what may differ (`volatile.toml`)
"""
