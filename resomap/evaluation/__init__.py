"""Evaluation of a trained cell's best weights at every test resolution.

- `evaluation_writer`: the step, which writes `results/<model>/<resolution>.evaluation.json`
- `evaluator`: predictions of the best weights at one resolution
- `trained_weights`: a classifier from best.pt alone
- `uncertainty`: intervals of the figures
- `calibration_figures`: calibration errors with and without temperature scaling
"""
