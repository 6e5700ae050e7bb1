"""The engine: which cells to run, running one, the life of a run, judging hypotheses.

Nothing is imported here: worker processes need but the part that runs cells.
"""
