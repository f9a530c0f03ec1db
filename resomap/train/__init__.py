"""Trains one cell.

`cell` is the way through: lock, checkpoint, data, model, `loop`, evaluation, marker. Order, augmentation draws and
learning rate are pure functions of (seed, epoch, index) and of the step, so a resumed training recomputes them.
"""
