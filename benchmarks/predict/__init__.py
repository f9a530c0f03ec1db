"""Rate of `resomap predict` beside that of the prepared path of a training.

The command is a `__main__`: processes that decode import the main module, unless it has this name, and with torch in it
each of them would need seconds to start.

- `rates`: each way of answering, timed in turn
"""
