"""Evaluation of a trained cell's best weights at every test resolution.

`evaluation_writer` is the step, which writes `results/<model>/<resolution>.evaluation.json`; `trained_weights` makes
best.pt a classifier again, `evaluator` predicts at one resolution, `uncertainty` gives the figures their intervals.
"""
