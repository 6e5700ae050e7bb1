"""The page on parameter optimisation: its two code blocks, pasted into a file, run."""

from __future__ import annotations

import pytest

OPTIMIZER = """
from crystallize.experiments.optimizers import BaseOptimizer, Objective
from crystallize import Treatment
class GridSearchOptimizer(BaseOptimizer):
    def __init__(self, deltas: list[float], objective: Objective):
        super().__init__(objective)
        self.deltas = deltas
        self._index = 0
        self._scores: list[float] = []
    def ask(self) -> list[Treatment]:
        delta = self.deltas[self._index]
        return [Treatment(name=f"grid_{delta}", apply={"delta": delta})]
    def tell(self, objective_values: dict[str, float]) -> None:
        self._scores.append(next(iter(objective_values.values())))
        self._index += 1
    def get_best_treatment(self) -> Treatment:
        best_idx = min(range(len(self._scores)), key=self._scores.__getitem__)
        return Treatment(name="grid_best", apply={"delta": self.deltas[best_idx]})
"""

# The page's second block, with the imports that it leaves out.
EXPERIMENT = """
from crystallize import Experiment, FrozenContext, Pipeline, data_source, pipeline_step
@data_source
def initial_data(ctx: FrozenContext) -> list[int]:
    return [1, 2, 3]
@pipeline_step()
def add_delta(data: list[int], ctx: FrozenContext, *, delta: float = 0.0) -> list[int]:
    return [x + delta for x in data]
@pipeline_step()
def record_sum(data: list[int], ctx: FrozenContext):
    ctx.metrics.add("sum", sum(data))
    return data
experiment = Experiment(
    datasource=initial_data(),
    pipeline=Pipeline([add_delta(), record_sum()]),
)
optimizer = GridSearchOptimizer(
    deltas=[0.0, 1.0, 2.0],
    objective=Objective(metric="sum", direction="minimize"),
)
"""

OPTIMIZE = """
best_treatment = experiment.optimize(
    optimizer,
    num_trials=len(optimizer.deltas),
    replicates_per_trial=1,
)
print(best_treatment.name, best_treatment._apply_value) # internal representation
"""


@pytest.fixture
def printed_by(run_script):
    """Run the parts of a script and give what it printed."""

    def run(*parts):
        done = run_script("\n".join(parts))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_page_s_code_finds_the_best_treatment(printed_by):
    printed = printed_by(OPTIMIZER, EXPERIMENT, OPTIMIZE, "print(optimizer._scores, experiment.apply(best_treatment))")
    assert printed == "grid_best {'delta': 0.0}\n[6.0, 9.0, 12.0] [1.0, 2.0, 3.0]\n"


def test_the_same_inside_asynchronous_code(printed_by):
    printed = printed_by(OPTIMIZER, EXPERIMENT, """
import asyncio
async def main():
    return await experiment.aoptimize(optimizer, num_trials=3)
print(asyncio.run(main()).name)
""")  # fmt: skip
    assert printed == "grid_best\n"


def test_several_treatments_a_trial_are_told_by_an_extraction_of_one_s_own(printed_by):
    printed = printed_by(OPTIMIZER, EXPERIMENT, """
class Wide(Experiment):
    def _extract_objective_from_result(self, result, objective):
        return {name: sum(treatment.metrics[objective.metric]) for name, treatment in result.metrics.treatments.items()}
class Pairs(GridSearchOptimizer):
    def ask(self):
        return [Treatment(name=f"pair_{delta}", apply={"delta": delta}) for delta in self.deltas]
    def tell(self, objective_values):
        print(sorted(objective_values.items()))
        self._scores = list(objective_values.values())
wide = Wide(datasource=initial_data(), pipeline=Pipeline([add_delta(), record_sum()]))
print(wide.optimize(Pairs([2.0, 1.0], Objective("sum", "minimize")), num_trials=1)._apply_value)
""")  # fmt: skip
    assert printed == "[('pair_1.0', 9.0), ('pair_2.0', 12.0)]\n{'delta': 1.0}\n"
