"""Find out which change makes a nearest-neighbour classifier of wines more accurate.

The data are 178 real wines of three growers, with 13 chemical measurements each, as scikit-learn ships them. The
baseline is a plain classifier of five neighbours; each of three treatments changes one thing. Every replicate splits
the data anew, and its split is the same for all four.

    crystallize run docs/examples/quickstart/quickstart.py
"""

from __future__ import annotations

from sklearn.datasets import load_wine
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crystallize import (
    Experiment,
    Hypothesis,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize_plugins.verifiers import resampled_t

TEST_SHARE = 0.3


@data_source
def wines(ctx):
    return load_wine(return_X_y=True)


@pipeline_step()
def split(data, ctx):
    measurements, growers = data
    seed = int(ctx.rng.integers(2**32))
    return train_test_split(measurements, growers, test_size=TEST_SHARE, stratify=growers, random_state=seed)


@pipeline_step()
def classify(data, *, neighbours=5, weights="uniform", standardise=False):
    train, test, train_growers, test_growers = data
    model = KNeighborsClassifier(neighbours, weights=weights)
    if standardise:
        model = make_pipeline(StandardScaler(), model)
    model.fit(train, train_growers)
    return test_growers, model.predict(test)


@pipeline_step()
def score(data):
    truth, predicted = data
    return data, {"accuracy": accuracy_score(truth, predicted)}


experiment = Experiment(
    name="quickstart",
    datasource=wines(),
    pipeline=Pipeline([split(), classify(), score()]),
    plugins=[SeedPlugin(seed=2024), ParallelExecution(executor_type="process")],
    treatments=[
        Treatment("standardised", {"standardise": True}),
        Treatment("nearer counts more", {"weights": "distance"}),
        Treatment("15 neighbours", {"neighbours": 15}),
    ],
    hypotheses=[
        Hypothesis(
            resampled_t(test_share=TEST_SHARE, alternative="greater"),
            metrics="accuracy",
            name="more accurate",
        ),
    ],
    replicates=25,
)

if __name__ == "__main__":
    print(experiment.run().summary())
