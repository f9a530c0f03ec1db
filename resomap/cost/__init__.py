"""What a model costs at a resolution: counted and measured with untrained weights, without images or training.

`measurement` names a measurement and what it depends on, and is light; `measure` makes one; `table` puts all of
them into results/costs.csv. docs/cost.md says how each figure comes about.
"""
