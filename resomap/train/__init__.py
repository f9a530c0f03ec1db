"""Training of one cell, from whatever stands on disk to its done marker.

Order of images, augmentation draws and learning rate are pure functions of (seed, epoch, index) and of the step, so a
resumed training recomputes them.

- `request`: the cell to train, and the note that a failed attempt leaves
- `attempt`: lock, check of what is done, choice of a GPU; nothing heavy is imported before
- `training`: the parts put together, from checkpoint to marker
- `starting`: network, state and images before the first step
- `refit_request`, `refit`: the training of a winner, on train + validation images
- `loop`: steps, validation, best epoch, early stopping
- `events`: the order of a training, and where each event of it fires
- `observer`: answers to these events: signals, checkpoints, progress, journal
- `checkpoint_saver`, `live_progress`: writers of last.pt and of progress.json
- `tracked_run`: the attempt as the tracker will see it
- `outcome`: weights, history, predictions and marker of a finished training
- `state`: all that a training carries from step to step
- `batches`, `draws`: training batches and their random draws
- `augment`, `crops`, `policies`: the changes made with them
- `gradients`, `batch_parts`: forward and backward passes of one batch, as loop and self-check call them; its parts
- `step_graph`, `graph_search`: these passes recorded as one CUDA graph; whether a training's are
- `freezing`, `probing`: which parts of the network learn in an epoch; the head alone, on features
- `known_features`, `feature_files`, `feature_step`: these features by image, in files that trainings share
- `self_check`: the gradients of one batch, computed twice: before the first step, and after the microbatch was halved
- `objective`, `schedule`, `stopping`: loss and optimizer, learning rate, best epoch and patience
- `microbatch_search`: how many images a forward pass fit into memory
- `slots_search`, `slot_worker`: how many trainings at a time compute fastest, and the processes that are timed
- `learning_rate_search`, `rate_trial`: the best learning rate of a few, each tried in a short training
- `signals`: signals that stop a training at its next step
"""
