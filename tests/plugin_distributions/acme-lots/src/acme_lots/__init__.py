"""A seeder whose replicates get seeds that a hash spreads."""

from __future__ import annotations

import hashlib
import random

from crystallize.hooks import SeederPlugin


class LotsPlugin(SeederPlugin):
    """Seed ``random`` for each cell, by a hash of the base seed and the replicate.

    Parameters
    ----------
    seed : int, optional
        The base seed.
    """

    seeds_global_state = True

    def __init__(self, seed=None):
        self.seed = seed

    def __fingerprint__(self):
        """Say that the base seed, which is part of the identity anyway, is the only setting."""
        return ()

    def base_seed(self, experiment):
        """Return the plugin's own seed, else the one that the run adopts."""
        return super().base_seed(experiment) if self.seed is None else self.seed

    def before_replicate(self, experiment, ctx):
        """Seed one cell."""
        text = f"{experiment.run.seed}/{ctx['replicate']}".encode()
        seed = int.from_bytes(hashlib.sha256(text).digest()[:4], "big")
        random.seed(seed)
        ctx.add("seed_used", seed)
