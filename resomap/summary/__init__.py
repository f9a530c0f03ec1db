"""The map as data: qualities with confidence intervals, costs, Pareto fronts and the recommendation.

    evidence (files of the steps before) -> judgement (statistics) -> compose (document) -> summary_writer (files)

- `basis`: the path of results/summary.json, and the digest of the settings that it was made for. Light
- `calibrated`: calibration errors with and without temperature scaling
- `trained`, `shared_images`, `pooling`: a finished training; predictions of the same images; folds as one sample
- `decisive_costs`: the measurements by which the map decides
- `evidence`: finished trainings, evaluations, predictions, costs, and whatever is missing
- `judgement`: the statistics of the evidence: intervals, comparisons, fronts, recommendation
- `device_comparison`: the answer by the costs of each device, and how alike two of them order the cells
- `operating`: the operating points of the trainings, and their thresholds
- `against_chance`: which cells beat chance, constant answers, and few images, in sentences
- `compose`, `advice`: the document from both; its recommendation and notes
- `parts`, `answer_parts`, `device_parts`, `document`: the schema of results/summary.json
- `csv_tables`: the same figures as rows of CSV files
- `summary_writer`: the step that writes the map, and its text for the terminal
"""
