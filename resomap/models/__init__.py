"""The classifiers of torchvision and timm, by name.

Light, without importing the libraries:

- `index`: the model names, each with its family and library
- `fits`: the resolutions that a model takes, and its theoretical size there
- `optimizer_names`: the optimizers that a training can use
- `cache`: the JSON files that these read, filled once per installation by child processes
- `listing`: the table of `resomap models`
- `weights_digest`: the identity of a file of starting weights
- `weights_reach`: whether the libraries' pretrained weights can be had

With the libraries:

- `survey`, `optimizers`, `probe`, `weights_places`: the child processes that ask for the names and for the places of
  pretrained weights, and try models at resolutions
- `build`, `size_options`: make the network, with its library's keyword for the input size
- `weights`, `weights_names`, `weights_fit`: read a file of weights, bring its names to the network's, and fill it
- `weights_store`, `hub`: pretrained weights from a directory or a package, and from the library
- `input_channels`: another number of channels than three, of networks and of pretrained weights
- `layer_versions`: loads plain tensors into a network
- `operations`: counts FLOPs, activations and parameters
"""
