"""Publishing models and getting them back, byte for byte.

`push` writes a revision to a store, `pull` brings one here and verifies it, `load` makes the model of it.
"""

from zoo.hub.fetching import Checkpoint, checkpoint, load, load_into, local, pull, resolve_weights
from zoo.hub.publishing import Revision, push

__all__ = ["Checkpoint", "Revision", "checkpoint", "load", "load_into", "local", "pull", "push", "resolve_weights"]
