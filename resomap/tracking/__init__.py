"""Remembers runs in MLflow without ever holding a training up.

The trainer appends events to a local `journal`; a `sender`, a process of its own, replays them to the tracker.
What could not be sent stays in the journal and is sent by `resomap sync` or by the next run.
"""
