"""Explanation: where in an image a trained network saw its class, at each resolution of a model (Grad-CAM).

The maps are computed by captum, which the extra `explain` installs.

- `spatial_layer`: the last layer of a network that still has places, found by one forward pass
- `activation_maps`: class-activation maps of images by that layer
- `explained_images`: the images that are shown: those on which resolution changes the answer most
- `map_picture`: the maps as one picture, images by resolutions
- `explaining`: from the cells of a model to its picture and the record beside it
"""
