"""Optimisation: ask an optimiser, run what it proposes, tell it what that gave; above the engine, once for every store.

| module | its job |
| --- | --- |
| `loop` | ask, run, tell: one run whose conditions are the trials |
| `replay` | the journal of what was asked and told, and a resumed optimisation beside it |
| `trial` | what one trial gave |
| `result` | what all of them gave, and how far to believe it |
"""
