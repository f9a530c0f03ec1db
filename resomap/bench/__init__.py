"""`resomap bench`: how fast the trainer is beside what it could be, and beside timm, in paired runs and ratios.

Single figures of a machine say little; a ratio of two things done in turn on the same machine says what one gains.

- `benchmark`: the parts of the benchmark as Markdown tables
- `input_pipeline`: batches from the prepared store, beside timm's loader
- `step_rate`: training end to end, beside steps alone and beside a loop on timm's loader
- `timm_script`: a training's process, beside timm's train.py
- `start_time`: seconds from the start of the process to the first step
- `checkpoint_stall`: what checkpoints cost a training
- `plan_time`: `snakemake -n` of a grid, beside a bare rule
- `gpu`: `resomap bench --gpu`, which checks and measures a GPU
- `ratios`: two things measured in turn
- `test_images`, `train_process`: the images and the training process of the measurements
"""
