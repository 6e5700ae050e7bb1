"""Tune a support vector machine for handwritten digits, and find out how much of the gain is real.

The data are 1,797 images of digits with 64 pixels each, as scikit-learn ships them. The baseline is the classifier as
it comes. Twenty random settings are tried on the same three splits; the best two are then run again beside the
baseline, on splits that nobody has looked at; the better one is fitted for good.

    python docs/examples/optimization/tune_classifier.py
"""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from crystallize import Experiment, Objective, ParallelExecution, Pipeline, SeedPlugin, data_source, pipeline_step
from crystallize_plugins.optimizers import RandomSearch, floating
from crystallize_plugins.reports import comparison_table

TEST_SHARE = 0.5


@data_source
def digits(ctx):
    return load_digits(return_X_y=True)


@pipeline_step()
def split(data, ctx):
    images, labels = data
    seed = int(ctx.rng.integers(2**32))
    return train_test_split(images, labels, test_size=TEST_SHARE, stratify=labels, random_state=seed)


@pipeline_step()
def fit(data, *, penalty=1.0, gamma="scale"):
    train, test, train_labels, test_labels = data
    return SVC(C=penalty, gamma=gamma).fit(train, train_labels), test, test_labels


@pipeline_step()
def score(data):
    model, test, test_labels = data
    return model, {"accuracy": model.score(test, test_labels)}


experiment = Experiment(
    name="tune_classifier",
    datasource=digits(),
    pipeline=Pipeline([split(), fit(), score()]),
    plugins=[SeedPlugin(seed=2024), ParallelExecution(executor_type="process")],
)


def main():
    search = RandomSearch(
        {"penalty": floating(0.1, 100.0, log=True), "gamma": floating(1e-5, 1e-1, log=True)},
        Objective("accuracy", "maximize"),
        seed=1,
        batch_size=4,
    )
    experiment.optimize(search, num_trials=5, replicates_per_trial=3)
    found = experiment.last_optimization
    print(found.statement())
    print()

    checked = found.reevaluate(top=2, replicates=10, baseline=True)
    print(comparison_table(checked, "accuracy"))
    print()

    names = {trial.treatment.name: trial.treatment for trial in found.ranked()[:2]}
    fresh = {name: checked.metrics.treatments[name].metrics["accuracy"] for name in names}
    winner = names[max(fresh, key=lambda name: sum(fresh[name]))]
    model = experiment.apply(winner, seed=7)
    images, labels = load_digits(return_X_y=True)
    print(f"{winner.name} with {dict(winner.apply_map)}")
    print(f"as a model: {model.predict(images[:10]).tolist()} for {labels[:10].tolist()}")


if __name__ == "__main__":
    main()
