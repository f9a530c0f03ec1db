"""Chapters of the report: each module makes the figures, tables or examples of one subject from the material.

- `quality`: heatmaps, and curves of quality against resolution
- `choices`: the ladder, and the candidates
- `tables`: resolutions, gaps, origins
- `cost_tables`, `devices`: costs of each cell, in each runtime; devices side by side
- `operating`: thresholds of one class, and figures at another prevalence
- `winner`: the winner, its figures on test, and how often the test images were looked at
- `pareto`: quality against cost, with the Pareto fronts
- `transfer`: training resolution x test resolution
- `classes`, `class_table`: recall of each class, and confusion matrices; all classes to be searched
- `label_errors`: images whose label is probably wrong
- `calibration`: calibration errors, before and after temperature scaling
- `operating`: decisions for one class, by a threshold
- `disagreements`: images on which resolution decides
- `explanations`: class-activation maps that `resomap explain` drew
- `learning`: learning curves
- `dataset`: classes, sizes and examples of the images
- `circumstances`: settings, software and machines
"""
