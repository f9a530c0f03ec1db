"""`resomap bench`: how fast the trainer is beside what it could be, and beside timm, in paired runs and ratios.

Single figures of a machine say little; a ratio of two things done in turn on the same machine says what one gains.
"""
