"""Training of one cell, from whatever stands on disk to its done marker.

`attempt` takes the lock and a GPU, `training` puts the parts together, `loop` trains, `events` shows the loop's order.
Order of images, augmentation draws and learning rate are pure functions of (seed, epoch, index) and of the step, so a
resumed training recomputes them.
"""
