"""The best weights of a trained cell, at every test resolution.

`step` is the way through: `weights` makes best.pt a classifier again, `predictions` keeps what it said of each image,
`record` is what the step leaves: `results/<model>/<resolution>.evaluation.json`. `record` imports nothing heavy, for
the process that plans.
"""
