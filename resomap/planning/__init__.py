"""Plan of the workflow: inputs, params and resources of all rules. Light: every Snakemake call imports it.

- `planner`: the object that the Snakefile asks, over a study and the modules below
- `rules`: the answers to each rule's questions, a module a step
- `grid`: the study's cells in one call of Snakemake, as all rules share them
- `cells_plan`: the cells that are done, here or in the tracker, or trained elsewhere
- `slots`: how many trainings share a device, and how many of its shares a job takes
- `run_start`: set-up of a call that runs jobs
- `cluster`: resources that jobs ask of Slurm
- `training_rule`: names of the rules that train, also in a workflow that uses this one as a module
- `disk`: the disk space that the grid needs
- `full_disk`: a disk without room, before a run and in it
- `image_files`: paths of the prepared images, and a check of their sizes
- `snakemake_api`: adapter to Snakemake's workflow object
- `snakemake_cli`, `argv`: Snakemake's command line as it was typed and as Snakemake read it, and its words
- `interruption`: Ctrl-C of a run, once and twice
- `typing_mistakes`: mistakes in a typed command line, each as one sentence
- `plan_map`: the map of the grid at the end of a dry run
- `second_run`: the sentence for a run that finds another one in its folder
- `snakemake_locks`: other Snakemake processes of the directory, and stale lock files
"""
