"""The step cache: outputs of steps that are declared cacheable, kept from run to run.

A step is cached where it says so, ``@pipeline_step(cacheable=True)``; nothing is written otherwise. Entries lie in
the folder ``.cache``, or in that of the environment variable ``CRYSTALLIZE_CACHE_DIR``; ``CRYSTALLIZE_CACHE_SIZE``
says how much they may take together (10 GB by default; those not used for longest make room). Each entry is
authenticated with a key of the user's, in a file of the user's own configuration folder, or in that of
``CRYSTALLIZE_CACHE_KEY_FILE``. The variables are read at use.
"""

from __future__ import annotations

from crystallize.pipelines.cache.store import CacheInfo, clear, info

__all__ = ["CacheInfo", "clear", "info"]
