"""Programs that are edited between two runs, in a place that no name in a step leads to."""

from __future__ import annotations

import ast
import os
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from tests import programs

MAIN = """
    import sys
    {head}
    from crystallize import Experiment, Pipeline, SeedPlugin, data_source, pipeline_step

    @data_source
    def one(ctx):
        return {data}

    @pipeline_step(cacheable=True)
    def slow(data, ctx):
        {body}

    @pipeline_step()
    def record(data, ctx):
        return data, {{"y": data}}

    experiment = Experiment(one(), Pipeline([slow(), record()]), plugins=[SeedPlugin(seed=1)], name="edited")
    result = experiment.run(strategy=sys.argv[1])
    resumed = result.provenance.get("resume", {{}})
    hits = [step["cache_hit"] for step in result.provenance["ctx_changes"]["baseline"][0]]
    print([result.metrics.baseline.metrics["y"][0], sorted(resumed.get("ran", [])), hits[0]])
"""
PANDAS = "import pandas as pd"
FRAME = "pd.DataFrame({'x': [1.0]})"
ACCESSOR = """
    import pandas as pd

    @pd.api.extensions.register_dataframe_accessor("house")
    class House:
        def __init__(self, frame):
            self.frame = frame

        def total(self):
            return float(self.frame["x"].sum() * @@)
"""
# What is imported, the data, the body of the step, the file that is edited and its text.
KINDS = {
    "an accessor of pandas": (f"{PANDAS}, edited", FRAME, "return data.house.total()", "edited.py", ACCESSOR),
    "an accessor that another module registers": (
        f"{PANDAS}, other",
        FRAME,
        "return data.house.total()",
        "edited.py",
        ACCESSOR,
    ),
    "a replaced method of a library": (
        "import json, edited",
        "1.0",
        "return float(json.dumps({1}))",
        "edited.py",
        "import json\njson.JSONEncoder.default = lambda self, found: @@",
    ),
    "a function put into a library": (
        "import math, edited",
        "1.0",
        "return math.mine(data)",
        "edited.py",
        "import math\ndef mine(x):\n    return x * float(@@)\nmath.mine = mine",
    ),
    "an implementation registered elsewhere": (
        "import generic, edited",
        "1.0",
        "return generic.f(data)",
        "edited.py",
        "import generic\n@generic.f.register(float)\ndef _(x):\n    return x * @@",
    ),
    "the default of a model": (
        "from edited import Settings",
        "1.0",
        "return Settings().rate",
        "edited.py",
        "import pydantic\nclass Settings(pydantic.BaseModel):\n    rate: float = @@",
    ),
    "a module found in a folder that the step adds": (
        "",
        "1.0",
        "sys.path.insert(0, 'lib')\n    import edited\n    return float(edited.RATE)",
        "lib/edited.py",
        "RATE = @@",
    ),
    "a module in an archive": (
        "sys.path.insert(0, 'archive.zip')",
        "1.0",
        "import edited\n    return float(edited.RATE)",
        "archive.zip",
        "RATE = @@",
    ),
    "a file that is run": (
        "import runpy",
        "1.0",
        "return float(runpy.run_path('edited.py')['RATE'])",
        "edited.py",
        "RATE = @@",
    ),
    "a module imported by name": (
        "from importlib import import_module as load",
        "1.0",
        "return float(load('edited').RATE)",
        "edited.py",
        "RATE = @@",
    ),
}


class Program:
    def __init__(self, head, data, body, file, text):
        body = textwrap.dedent(body).replace("\n    ", "\n        ")
        self._file, self._text = Path(file), textwrap.dedent(text)
        Path("main.py").write_text(textwrap.dedent(MAIN.format(head=head, data=data, body=body)), encoding="utf-8")
        Path("other.py").write_text("import edited\n", encoding="utf-8")
        Path("generic.py").write_text("import functools\n@functools.singledispatch\ndef f(x):\n    return 0.0\n")

    def run(self, value, strategy, **environment):
        text = self._text.replace("@@", str(value))
        self._file.parent.mkdir(exist_ok=True)
        if self._file.suffix == ".zip":
            with zipfile.ZipFile(self._file, "w") as archive:
                archive.writestr("edited.py", text)
        else:
            self._file.write_text(text, encoding="utf-8")
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        done = programs.run([sys.executable, "main.py", strategy], env=environment)
        assert done.returncode == 0, done.stderr
        return ast.literal_eval(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_neither_the_cache_nor_resuming_takes_an_edited_program_for_the_old_one(kind):
    if "pydantic" in KINDS[kind][-1]:
        pytest.importorskip("pydantic")
    program = Program(*KINDS[kind])
    assert program.run(1, "rerun") == [1.0, [], False]
    assert program.run(1, "resume", PYTHONHASHSEED="2")[:2] == [1.0, []], "the same program is resumed"
    value, ran, hit = program.run(10, "resume")
    assert (value, hit) == (10.0, False)
    assert len(ran) == 1
    assert ran[0].startswith("changed: ")
    if kind in ("an accessor of pandas", "a module imported by name"):
        assert program.run(10, "rerun") == [10.0, [], True], "and cached"


def test_a_variable_of_the_environment_that_a_step_reads_counts_with_its_value():
    program = Program("import os", "1.0", "return float(os.environ.get('RATE', '0'))", "edited.py", "")
    assert program.run(1, "rerun") == [0.0, [], False]
    assert program.run(1, "rerun", RATE="2")[::2] == [2.0, False]
    assert program.run(1, "resume", RATE="3")[0] == 3.0
    assert program.run(1, "resume", RATE="3", OTHER="1")[:2] == [3.0, []]


def test_what_a_step_imports_by_a_name_that_nobody_knows_runs_again():
    head, body = "from importlib import import_module", "return float(import_module(ctx.get('name', 'edited')).RATE)"
    program = Program(head, "1.0", body, "edited.py", "RATE = @@")
    assert program.run(1, "rerun") == [1.0, [], False]
    assert program.run(10, "rerun") == [10.0, [], False]
    value, (reason,), _ = program.run(20, "resume")
    assert value == 20.0
    assert reason.startswith("untracked: __main__.slow: import_module(")
