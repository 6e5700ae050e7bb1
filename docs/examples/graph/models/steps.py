"""A model of each split."""

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crystallize import Artifact, pipeline_step


@pipeline_step()
def fit(data, ctx, *, scale=False, strength=1.0):
    """Fit a model and give the chances that it sees in the test data."""
    found = data["split"]
    model = LogisticRegression(C=strength, solver="liblinear")
    if scale:
        model = make_pipeline(StandardScaler(), model)
    model.fit(found["train"], found["train_malignant"])
    chances = model.predict_proba(found["test"])[:, 1]
    ctx.record("log loss", log_loss(found["test_malignant"], chances))
    return chances


@pipeline_step()
def publish(data, ctx, *, chances: Artifact):
    """Write the chances for whoever decides."""
    chances.write(data.tolist())
