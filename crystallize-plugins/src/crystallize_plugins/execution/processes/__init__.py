"""Worker processes: cells go to them in batches, outcomes come back, and a death costs one cell at most.

The face of this package is `staff.Staff`; everything else is how it is done. Nothing is imported here: the processes
that start workers need but a part of it.
"""
