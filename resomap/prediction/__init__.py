"""Prediction: what trained networks say of images, a few on the terminal or a whole folder in a file.

The weights come from `resomap.commands.weights_reader`, or from an exported file.

- `image_list`: the images that a command names, in their order, and the digest by which a change is noticed
- `image_batches`: images decoded and scaled as their network takes them, in processes of their own
- `networks`: a network that answers batches of pixels: trained weights (several of an ensemble), or an ONNX file
- `image_answers`: the answers to images, batch by batch
- `answer_rows`: an answer as plain values, and the answers on the terminal, as a table or as JSON
- `answer_files`: the answers as CSV, JSON, JSON lines or Parquet
- `unfinished`: the answers of a file that is not whole yet, from which the same command goes on
- `progress_bar`: images done, on a terminal
- `whole_folders`: from the images to a file of answers, resumed where an earlier call stopped
"""
