"""Cells and studies: a cell's name, paths and fingerprint, and the small files kept for it. Light: no torch.

- `names`, `cell`, `study`: one model at a resolution with a fold and a seed, its names, and the grid of them with its
  configuration
- `possible`: checks of a study when it is opened
- `marker`, `tags`: the done marker, and the tags of a run in the tracker with the marker as one of them
- `presence`: whether Snakemake runs here, and the name of a run
- `timeline`: when each job of a study's runs began and ended
- `lock`: the locks of cells and of steps
- `resume_command`: the commands that resume, in files of a study that may be moved
- `liveness`: heartbeats of processes on other machines
- `progress`, `step_failure`: progress of a running training, failure of one that ended, and of any other step
- `leftovers`: what killed processes left, and files that a finished cell no longer needs
- `archive`: checkpoints and results of other settings, set aside under their fingerprint
- `out_of_fold`: what a fold's training says of its own images after each epoch
- `predictions`, `evaluation_record`, `fetch_record`: the predictions of a cell, the records of evaluation and fetch
- `evaluation_part`, `measurement_part`, `images_part`: evaluations, costs and images that wait for their rule
- `wanted`: what a plan wants, so that one process serves several jobs
- `decision`: how the answers of a cell's best weights are read
- `measurement`: a cost measurement
- `costs_file`, `device_costs`: what a cost kit measured on another machine, checked, and where it is kept
- `microbatch_choice`, `learning_rate_choice`: the microbatch and the learning rate found for a model
- `shared_features`: whether trainings share a frozen network's features, and where these lie
- `graph_choice`: whether the steps of a model are recorded
- `slots_choice`: how many trainings share a device, by measured rates
- `winner_cell`, `winner_record`: the winner as a cell with its choice, and the record of its evaluations on test images
- `explanation_record`: whose class-activation maps a picture has
- `settings_change`: why a finished training no longer counts, with old and new values
- `margin`: the cells within the margin of the best
"""
