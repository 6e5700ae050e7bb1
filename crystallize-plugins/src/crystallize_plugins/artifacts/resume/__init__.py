"""Resuming: which stored cells are kept, which are missing or changed, and who goes on with a run."""
