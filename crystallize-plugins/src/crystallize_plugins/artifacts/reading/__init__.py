"""Stored runs, opened again: nothing of them is unpickled, imported or written."""
