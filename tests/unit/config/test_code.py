"""The code of a folder: loaded afresh, shared with no other folder, known by content, able to travel."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

from crystallize import Experiment
from crystallize_plugins.execution.processes import worker_pool
from crystallize_plugins.execution.processes.fork_server import ForkServer
from crystallize_plugins.execution.processes.spawn import SpawnStarter

QUIET = "datasource: {data: numbers}\nsteps: [scale, total]\nplugins: {artifacts: false, logging: false}\n"


def total(experiment):
    result = experiment.run()
    assert result.errors == {}
    return result.metrics.baseline.metrics["total"]


def steps(expression):
    return f"""
        def scale(data, ctx):
            return [{expression} for value in data]

        def total(data, ctx):
            return data, {{"total": sum(data)}}
    """


def test_two_folders_with_modules_of_one_name_share_nothing(load):
    one, two = load(name="one", steps=steps("value + 1")), load(name="two", steps=steps("value + 2"))
    assert (total(one), total(two), total(one)) == ([6], [9], [6])


def test_code_is_loaded_afresh_at_each_load(load):
    before = load(steps=steps("value + 1"))
    after = load(steps=steps("value + 2"))  # of the same size, and within the same second
    assert (total(before), total(after)) == ([6], [9])


def test_loading_leaves_no_file_and_no_path_behind(load, tmp_path):
    path = list(sys.path)
    load()
    assert sys.path == path
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_load_that_fails_leaves_no_module_behind(write, problems_of):
    before = set(sys.modules)
    problems_of(write("datasource: {data: numbers}\nsteps: [absent]\n"))
    assert not {name for name in set(sys.modules) - before if name.startswith("crystallize_folder_")}


HELPED = {
    "helpers": """
        from deeper.rates import RATE

        __all__ = ["Point", "twice"]

        class Point:
            def __init__(self, x):
                self.x = x

        def twice(value):
            return RATE * value
    """,
    "deeper/__init__": "",
    "deeper/rates": "from ..helpers_of_rates import TWO\n\nRATE = TWO\n",
    "helpers_of_rates": "TWO = 2\n",
}


FORMS = [
    "import helpers\ntwice = helpers.twice",
    "import helpers as h\ntwice = h.twice",
    "from helpers import twice",
    "from helpers import *",
    "from .helpers import twice",
    "from . import helpers\ntwice = helpers.twice",
    "import deeper.rates\ntwice = lambda value: deeper.rates.RATE * value",
    "from deeper import rates\ntwice = lambda value: rates.RATE * value",
    "import deeper.rates as rates\ntwice = lambda value: rates.RATE * value",
    "def twice(value):\n    import helpers\n    return helpers.twice(value)",
    "def twice(value):\n    from helpers import twice as found\n    return found(value)",
    "def twice(value):\n    from . import helpers\n    return helpers.twice(value)",
    "def twice(value):\n    import deeper.rates\n    return deeper.rates.RATE * value",
    "def twice(value):\n    import json, helpers\n    return json.loads(json.dumps(helpers.twice(value)))",
    "class Twice:\n    from helpers import twice as made\ntwice = Twice.made",
    "try:\n    from helpers import twice\nexcept ImportError:\n    twice = None",
    "def twice(value):\n    import helpers\n    return helpers.twice(value)\nassert twice(0) == 0",
    "def twice(value):\n    from helpers import twice\n    return twice(value)\nassert twice(0) == 0",
    "try:\n    from helpers import absent\nexcept ImportError:\n    from helpers import twice",
]


@pytest.mark.parametrize("lines", FORMS)
def test_a_step_imports_helpers_of_its_folder(lines, load):
    module = f"{lines}\n\n{textwrap.dedent(steps('twice(value)'))}"
    one = load(name="one", steps=module, **HELPED)
    two = load(name="two", steps=module, **{**HELPED, "helpers_of_rates": "TWO = 3\n"})
    assert (total(one), total(two)) == ([6], [9])


def test_helpers_reach_a_process_that_never_saw_the_folder(load, monkeypatch):
    monkeypatch.setattr(worker_pool, "new_starter", lambda needs: SpawnStarter())
    imports = "\n".join(f"from form{number} import twice as twice{number}" for number in range(len(FORMS)))
    doubled = " + ".join(f"twice{number}(value)" for number in range(len(FORMS)))
    experiment = load(
        steps=f"{imports}\n\n{textwrap.dedent(steps(doubled))}",
        **{f"form{number}": f"{lines}\n" for number, lines in enumerate(FORMS)},
        **HELPED,
    )
    experiment.plugins.append(("parallel", {"max_workers": 1, "executor_type": "process"}))
    assert total(experiment) == [6 * len(FORMS)]


def test_a_helper_named_like_an_installed_module_comes_first_and_like_a_standard_one_does_not(load):
    shifted = textwrap.dedent(steps("value + scipy.MINE + random.Random(1).randint(2, 2)"))
    experiment = load(
        steps=f"import scipy\nimport random\n{shifted}", scipy="MINE = 1\n", random="raise RuntimeError\n"
    )
    assert total(experiment) == [12]
    import scipy

    assert not hasattr(scipy, "MINE")


def test_modules_of_a_folder_may_import_each_other_in_a_circle(load):
    experiment = load(
        helpers="import steps\n\ndef shift(value):\n    return value + steps.BY\n",
        steps="BY = 5\n\nimport helpers\n" + textwrap.dedent(steps("helpers.shift(value)")),
    )
    assert total(experiment) == [18]


def test_a_missing_helper_is_said_with_its_place(write, problems_of):
    (problem,) = problems_of(write(QUIET, steps="import os\nimport absent_helper\n"))
    assert problem.file.endswith("lab/steps.py")
    assert problem.line == 2
    assert "absent_helper" in problem.message
    assert "put absent_helper.py into the folder" in problem.advice


@pytest.mark.parametrize(
    "source,line,words",
    [
        ("def f(:\n", 1, "SyntaxError"),
        ("x = 1\n\nraise ValueError('no licence')\n", 3, "ValueError: no licence"),
        ("\n\nimport sys\nsys.exit(3)\n", 4, "SystemExit: 3"),
        ("def g():\n    return 1 / 0\n\ng()\n", 2, "ZeroDivisionError"),
        ("from crystallize import pipeline_step\n\npipeline_step(cacheable='yes')\n", 3, "cacheable"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_problem_at_its_line(source, line, words, write, problems_of):
    (problem,) = problems_of(write(QUIET, steps=source))
    assert (problem.file.rpartition("lab/")[2], problem.line) == ("steps.py", line)
    assert words in problem.message


def test_an_error_in_a_helper_is_placed_in_the_helper(write, problems_of):
    (problem,) = problems_of(write(QUIET, steps="import helpers\n", helpers="\n1 / 0\n"))
    assert (problem.file.rpartition("lab/")[2], problem.line) == ("helpers.py", 2)


def test_a_late_import_that_cannot_work_fails_where_it_is_used(load):
    experiment = load(helpers="import absent_library\n", steps=f"""
{textwrap.dedent(steps("value"))}
def scale(data, ctx):
    import helpers
    return helpers.scaled(data)
""")  # fmt: skip
    (error,) = experiment.run().errors.values()
    assert "absent_library" in str(error)


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def processes(request, monkeypatch):
    """Two worker processes, started in every way in turn."""
    if os.name == "nt" and request.param != "spawn":
        pytest.skip("Windows only spawns")
    ways = {"forkserver": ForkServer.launched, "spawn": lambda needs: SpawnStarter()}
    if request.param in ways:
        monkeypatch.setattr(worker_pool, "new_starter", ways[request.param])
    return "{parallel: {max_workers: 2, executor_type: process}}"


RICH = """
    from __future__ import annotations

    import dataclasses
    import enum
    import os
    from pathlib import Path

    from crystallize import Artifact, PipelineStep, pipeline_step
    from helpers import Point

    HERE = Path(__file__).parent


    class Kind(enum.Enum):
        A = 1


    @dataclasses.dataclass
    class Pair:
        left: int
        right: int = 2


    @pipeline_step()
    def first(data, ctx, *, plus=0):
        return Pair(data[0], plus), Kind.A, Point(3)


    class Second(PipelineStep):
        def __call__(self, data, ctx):
            pair, kind, point = data
            assert kind is Kind.A
            assert isinstance(point, Point)
            assert isinstance(pair, Pair)
            return pair.left + pair.right + point.x


    @pipeline_step()
    def third(data, ctx, *, note: Artifact):
        import helpers

        note.write((HERE / "note.txt").read_bytes())
        return data, {"total": helpers.twice(data), "pid": os.getpid()}
"""


@pytest.mark.parametrize("execution", ["serial", "parallel", "async"])
def test_a_folder_experiment_runs_under_every_executor(execution, write):
    check_rich(write, execution, same_process=True)


def test_a_folder_experiment_runs_in_processes_however_they_start(processes, write):
    check_rich(write, processes, same_process=False)


def check_rich(write, execution, *, same_process):
    text = (
        "datasource: {data: Ones}\nsteps: [{first: {plus: 1}}, Second, third]\noutputs: {note: {file_name: n.txt}}\n"
        f"treatments: {{more: {{}}}}\nreplicates: 2\nexecution: {execution}\n"
    )
    folder = write(text, steps=RICH, **HELPED)
    (folder / "note.txt").write_text("from beside the code")
    result = Experiment.from_yaml(folder).run()
    assert result.errors == {}
    assert result.metrics.baseline.metrics["total"] == [10, 10]
    assert (os.getpid() in result.metrics.baseline.metrics["pid"]) is same_process
    assert result.get_artifact("n.txt")["more"].read_text() == "from beside the code"


def test_the_identity_is_that_of_the_code_wherever_it_lies_and_however_often_it_is_loaded(load):
    first, again, elsewhere = (load(name=name, steps=RICHLY_HELPED, **HELPED) for name in ("a", "a", "b"))
    assert first.id == again.id == elsewhere.id


RICHLY_HELPED = """
    import helpers
    from crystallize import pipeline_step


    @pipeline_step()
    def scale(data, ctx):
        import deeper.rates

        return [helpers.twice(value) * deeper.rates.RATE for value in data]


    @pipeline_step()
    def total(data, ctx):
        from helpers import Point

        return data, {"total": Point(sum(data)).x}
"""


@pytest.mark.parametrize("module", ["helpers_of_rates", "helpers", "deeper/rates"])
def test_a_changed_helper_changes_the_identity_and_a_comment_does_not(module, load):
    before = load(steps=RICHLY_HELPED, **HELPED).id
    noted = {**HELPED, module: textwrap.dedent(HELPED[module]) + "\n# a remark\n"}
    changed = {
        "helpers_of_rates": "TWO = 3\n",
        "helpers": textwrap.dedent(HELPED["helpers"]).replace("RATE * value", "RATE + value"),
        "deeper/rates": "RATE = 7\n",
    }
    assert load(steps=RICHLY_HELPED, **noted).id == before
    assert load(steps=RICHLY_HELPED, **{**HELPED, module: changed[module]}).id != before


def test_a_helper_used_as_a_whole_is_known_with_what_it_imports(load):
    whole = "import helpers\n\ndef scale(data, ctx):\n    return [vars(helpers)['twice'](v) for v in data]\n\n"
    whole += "def total(data, ctx):\n    return data, {'total': sum(data)}\n"
    before = load(steps=whole, **HELPED)
    identity = before.id
    after = load(steps=whole, **{**HELPED, "helpers_of_rates": "TWO = 3\n"})
    assert (total(before), total(after)) == ([6], [9])
    assert identity != after.id


def test_only_names_of_the_folder_can_be_used(write, problems_of):
    for name in ("os.system", "os:system", "builtins.eval", "eval", "../steps", "steps.total"):
        (problem,) = problems_of(write(f"datasource: {{data: numbers}}\nsteps: ['{name}']\n", steps="import os\n"))
        assert "has no step" in problem.message


def test_a_function_of_a_library_is_no_step(write, problems_of):
    source = "from shutil import copy\n\ndef total(d):\n    return d\n"
    (problem,) = problems_of(write(QUIET.replace("scale", "copy"), steps=source))
    assert "'copy' of steps.py is no step" in problem.message
