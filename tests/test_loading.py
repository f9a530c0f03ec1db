"""Garbage collection during heavy imports: objects of the imports are never looked at, later ones are as ever."""

import subprocess
import sys

CODE = """
import gc, weakref
from resomap.core.gc_control import paused_collection

class Knot:
    def __init__(self):
        self.itself = self

with paused_collection():
    assert not gc.isenabled()
    with paused_collection():
        pass
    assert not gc.isenabled(), "the inner one leaves it as it was"
    import email.message
frozen = gc.get_freeze_count()
assert gc.isenabled() and frozen > 1000
with paused_collection():  # nothing new: garbage is not to be kept for ever
    import email.message
assert gc.get_freeze_count() <= frozen
knot = weakref.ref(Knot())
gc.collect()
assert knot() is None
"""


def test_the_collector_rests_for_as_long_as_something_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
