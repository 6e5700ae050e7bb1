"""One split for each replicate."""

from sklearn.model_selection import train_test_split

from crystallize import Artifact, pipeline_step


@pipeline_step()
def split(data, ctx, *, split: Artifact, test_share=0.3):
    """Write training and test data as one file."""
    measurements, malignant = data
    chance = int(ctx.rng.integers(2**32))
    parts = train_test_split(measurements, malignant, test_size=test_share, stratify=malignant, random_state=chance)
    ctx.record("test tumours", len(parts[3]))
    split.write(dict(zip(("train", "test", "train_malignant", "test_malignant"), parts, strict=True)))
