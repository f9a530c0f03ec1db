"""`resomap doctor`: looks at what a grid needs before it starts, and says how to mend what is wrong.

Each module looks at one thing and yields findings. Nothing is changed, created or sent, and no look takes long.
"""
