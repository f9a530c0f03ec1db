"""The map as data: everything that is known of the grid, with intervals, costs and the recommendation.

`evidence` reads what the steps before left; `judgement` puts the statistics to it; `document` is the form of
`results/summary.json`; `tables` are its CSV files; `step` writes them all.
"""
