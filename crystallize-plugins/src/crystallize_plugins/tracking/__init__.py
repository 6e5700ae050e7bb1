"""Telling others of runs: what goes to a tracker or over the network, beside the run and never in its way.

| module | its job |
| --- | --- |
| `helper` | a process beside the run that talks to the network for it |
"""
