"""The classifiers of torchvision and timm by name.

`index` (which names there are) and `fits` (which of them take which resolution) answer without importing
either library, from a cache that `survey` and `probe` fill in a process of their own; `build` makes the
network, `weights` and `hub` fill it with pretrained weights.
"""
