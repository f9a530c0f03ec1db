"""Rate of `resomap predict` beside that of the prepared path of a training.

The command has a main module of its own: processes that decode import the main module unless it is called so, and with
torch in it each of them would need seconds to start.

- `rates`: each way of answering, timed in turn
"""
