"""Export of trained weights to a file that a runtime reads without ResoMap and torch: ONNX, or OpenVINO's IR.

A file gets its name only after its answers to the validation images were held against those of the training.

- `requirements`: packages that an export needs, and the sentence where they are not installed
- `export_files`: formats, precisions and the paths of what is written
- `facts`: what stands inside of an exported file beside the network
- `onnx_writer`: the network as an ONNX model, by torch's own exporter
- `openvino_writer`: an ONNX model as OpenVINO's IR
- `lower_precision`: the same model in float16, or quantised to 8 bits
- `runtimes`: an exported file computed by ONNX Runtime or OpenVINO
- `parity`: the answers of two networks to the same images, and whether they are near enough
- `exporter`: the step, from best.pt to the verified file
"""
