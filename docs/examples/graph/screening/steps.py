"""From chances to decisions, and what they cost."""

import numpy as np

from crystallize import pipeline_step

MISSED, NEEDLESS = 10, 1


@pipeline_step()
def refer(data, ctx, *, threshold=0.5):
    """Send everybody to a doctor whose chance is at least the threshold."""
    return np.array(data["chances"]) >= threshold, data["split"]["test_malignant"]


@pipeline_step()
def count(data, ctx):
    """Record what was missed, what was needless, and the cost of both for each tumour."""
    referred, malignant = data
    missed = int(np.sum(~referred & (malignant == 1)))
    needless = int(np.sum(referred & (malignant == 0)))
    return None, {
        "missed": missed,
        "needless": needless,
        "cost": (MISSED * missed + NEEDLESS * needless) / len(malignant),
    }
