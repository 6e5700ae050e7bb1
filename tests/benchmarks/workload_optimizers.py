"""The cases of `bench_optimizers.py`, for bare Optuna, for this project and for its peer; see `workload.py`."""

from __future__ import annotations

import math
import time
import warnings

from workload import case, main

_clock = time.perf_counter


def branin(x, y):
    """Give Branin's function; its smallest value is 0.397887."""
    a, b, c, r, s, t = 1.0, 5.1 / (4 * math.pi**2), 5 / math.pi, 6.0, 10.0, 1 / (8 * math.pi)
    return a * (y - b * x**2 + c * x - r) ** 2 + s * (1 - t) * math.cos(x) + s


_ALPHA = (1.0, 1.2, 3.0, 3.2)
_A = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


def hartmann6(*x):
    """Give Hartmann's function of six variables; its smallest value is -3.32237."""
    return -sum(
        alpha * math.exp(-sum(a * (value - p) ** 2 for a, value, p in zip(weights, x, places, strict=True)))
        for alpha, weights, places in zip(_ALPHA, _A, _P, strict=True)
    )


FUNCTIONS = {
    "branin": (branin, {"x": (-5.0, 10.0), "y": (0.0, 15.0)}),
    "hartmann6": (hartmann6, {f"x{number}": (0.0, 1.0) for number in range(6)}),
}


def _optuna():
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    return optuna


def _distributions(function):
    optuna = _optuna()
    return {
        name: optuna.distributions.FloatDistribution(low, high) for name, (low, high) in FUNCTIONS[function][1].items()
    }


def _experiment(function, *, stored=False):
    from crystallize import ArtifactPlugin, Experiment, Pipeline, data_source, pipeline_step

    call, names = FUNCTIONS[function][0], list(FUNCTIONS[function][1])

    @data_source
    def nothing(ctx):
        return None

    if names == ["x", "y"]:

        @pipeline_step()
        def evaluate(data, *, x=0.0, y=0.0):
            return data, {"value": call(x, y)}
    else:

        @pipeline_step()
        def evaluate(data, ctx):
            return data, {"value": call(*(ctx[name] for name in names))}

    plugins = [ArtifactPlugin()] if stored else []
    return Experiment(nothing(), Pipeline([evaluate()]), name="tuning", default_plugins=False, plugins=plugins)


# ---------------------------------------------------------------- sequences


@case
def native_sequence(function, seed, trials):
    """Give the parameters and values that Optuna's TPE proposes by itself, in order."""
    optuna = _optuna()
    call, space = FUNCTIONS[function]
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(lambda t: call(*(t.suggest_float(n, *bounds) for n, bounds in space.items())), n_trials=trials)
    return [[list(trial.params.values()), trial.value] for trial in study.get_trials(deepcopy=False)]


@case
def adapter_sequence(function, seed, trials):
    """Give the same through the adapter."""
    from crystallize import Objective
    from crystallize_plugins.optimizers import OptunaOptimizer, floating

    space = {name: floating(*bounds) for name, bounds in FUNCTIONS[function][1].items()}
    experiment = _experiment(function)
    experiment.optimize(OptunaOptimizer(space, Objective("value"), seed=seed), trials)
    return [
        [list(trial.treatment.apply_map.values()), trial.mean("value")] for trial in experiment.last_optimization.trials
    ]


# ---------------------------------------------------------------- costs, in seconds a trial


def _per_trial(work, trials, repeat):
    taken = []
    for _ in range(repeat):
        then = _clock()
        work()
        taken.append((_clock() - then) / trials)
    return min(taken)


@case
def optuna_alone(trials, storage=None, repeat=3):
    """Ask and tell of a study with random proposals, by itself."""
    optuna = _optuna()
    distributions = _distributions("branin")
    count = iter(range(10**9))

    def place():
        if storage == "sqlite":
            return f"sqlite:///study-{next(count)}.db"
        if storage == "journal":
            backend = optuna.storages.journal.JournalFileBackend(f"study-{next(count)}.log")
            return optuna.storages.JournalStorage(backend)
        return None

    def work():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1), storage=place())
        for _ in range(trials):
            trial = study.ask(distributions)
            study.tell(trial, branin(**trial.params))

    return _per_trial(work, trials, repeat)


@case
def adapter(trials, stored=False, repeat=3):
    """Run the same study through the adapter."""
    from crystallize import Objective
    from crystallize_plugins.optimizers import OptunaOptimizer

    optuna = _optuna()
    experiment = _experiment("branin", stored=stored)

    def work():
        sampler = optuna.samplers.RandomSampler(seed=1)
        experiment.optimize(OptunaOptimizer(_distributions("branin"), Objective("value"), sampler=sampler), trials)

    return _per_trial(work, trials, repeat)


@case
def trivial(trials, repeat=5):
    """Run an optimiser that only counts: one replicate of one step, nothing stored. Ours, and the peer's."""
    from crystallize import Experiment, Pipeline, Treatment, data_source, pipeline_step
    from crystallize.experiments.optimizers import BaseOptimizer, Objective

    class Counting(BaseOptimizer):
        def __init__(self, objective):
            super().__init__(objective)
            self.scores = []

        def ask(self):
            number = len(self.scores)
            return [Treatment(name=f"t_{number}", apply={"x": float(number)})]

        def tell(self, objective_values):
            self.scores.append(objective_values["value"])

        def get_best_treatment(self):
            return Treatment(name="best", apply={"x": 0.0})

    @data_source
    def nothing(ctx):
        return 0

    @pipeline_step()
    def evaluate(data, ctx, *, x=0.0):
        ctx.metrics.add("value", x * x)
        return data

    parts = {"datasource": nothing(), "pipeline": Pipeline([evaluate()]), "plugins": []}
    try:
        experiment = Experiment(**parts, default_plugins=False)
    except TypeError:
        experiment = Experiment(**parts)  # the peer stores and seeds only with plugins that it is given

    def work():
        objective = Objective(metric="value", direction="minimize")
        experiment.optimize(Counting(objective), num_trials=trials, replicates_per_trial=1)

    return _per_trial(work, trials, repeat)


if __name__ == "__main__":
    main()
