"""Computing with torch that training, evaluation and cost measurement share.

- `device`: choice of CPU or GPU, mixed precision, threads, determinism
- `execution`: device, precision and memory layout of a network's forward passes
- `compilation`: the training pass of a network, by torch.compile
- `memory`: free memory of the device, and out-of-memory messages
- `environment`: versions and hardware that decide whether a resumed training ends with the same bits
- `normalisation`: stored pixels to the input of a model
- `inference`: forward passes without gradients, up to the log-probabilities of a whole split
- `metrics`: accuracy, F1, AUROC, calibration error and confusion matrix of them
- `thresholds`, `further_metrics`: the threshold of an operating point; metrics that need a class or an order
- `temperature`: temperature scaling
- `deterministic_pooling`: adaptive average pooling whose gradient a GPU computes alike each time
- `same_bits`: two computations of the same, compared bit by bit
- `checkpoint`: checkpoint files with checksum, and their background saver
"""
