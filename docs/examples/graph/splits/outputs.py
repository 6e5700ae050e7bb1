"""Arrays as files, and back."""

import io

import numpy as np


def to_npz(arrays):
    """Give named arrays as the bytes of a file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def from_npz(path):
    """Give the named arrays of a file."""
    with np.load(path) as file:
        return dict(file)
