"""Cost of a model at a resolution: counted and measured with untrained weights, without images or training.

`resomap.cells.measurement` names a measurement and what it depends on, and is light. docs/cost.md says how each figure
comes about.

- `session`: measures several networks in one process, in turns
- `measure`: the measurement of one network, in all its runtimes
- `runtime_figures`: the figures of one network in one runtime
- `forward_pass`: the workload that is timed in PyTorch, of an untrained network on noise
- `exported_pass`: the same in ONNX Runtime and OpenVINO
- `end_to_end`: the way from the bytes of a JPEG to a class
- `timing`: latency and throughput, as medians with quartiles
- `best_batch`: the search for the batch size of the highest throughput
- `peak_memory`: the highest memory of a forward pass
- `cost_table`: all measurements of a grid in results/costs.csv
- `threads`: their number, and the cores that they are held on
- `cost_kit`, `kit_weights`: a folder that measures on another machine, and its files of weights
- `on_target`: the script of that folder, which needs no ResoMap, with the modules that it has inside:
- `target_cell`, `target_sessions`, `target_timing`: what is known of a network, ONNX Runtime, times of runs
- `target_machine`, `target_others`: facts of the machine and files that outlive a kill; what other programs take
- `target_cores`: the cores that threads are held on; the grid uses it too
"""
