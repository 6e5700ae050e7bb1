"""The tumours: thirty measurements of each, and whether it was malignant, as scikit-learn ships them."""

from sklearn.datasets import load_breast_cancer

from crystallize import data_source


@data_source
def tumours(ctx):
    """Give measurements, and 1 for malignant."""
    found = load_breast_cancer()
    return found.data, 1 - found.target
