"""The commands in this process, on distributions that exist for one test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from tests.distributions import install

__all__ = ["install"]

TALLY = """
from typing import Annotated, Literal

from crystallize import BasePlugin
from crystallize.hooks import Setting

print("printed when it is imported")


class Tally(BasePlugin):
    \"\"\"Count the items that a step gives.\"\"\"

    contract = ">=1,<2"
    neutral = True

    def __init__(
        self,
        limit: Annotated[int, Setting("the most that is counted", minimum=1)] = 9,
        unit: Literal["items", "bytes"] = "items",
        token: Annotated[str, Setting("of the service", secret=True)] = "",
    ):
        self.limit, self.unit, self.token = limit, unit, token

    def after_step(self, step, data, ctx):
        pass
"""


@dataclass
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it wrote."""
        return json.loads(self.stdout)


@pytest.fixture
def call(capfd, tmp_path, monkeypatch):
    """Call the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRYSTALLIZE_PLUGINS", raising=False)

    def call(*arguments):
        from crystallize_cli.main import run

        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture
def tally(install):
    """Install a plugin of a stranger."""

    def again(version="1.5", source=TALLY):
        return install(
            "acme-tally",
            version,
            plugins={"tally": "acme_tally:Tally"},
            modules={"acme_tally/__init__.py": source, "acme_tally/py.typed": ""},
            requires=("crystallize-core>=0.1,<0.2",),
        )

    return again


EXPERIMENT = """
from crystallize import Experiment, Pipeline, SeedPlugin, data_source, pipeline_step


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pipeline_step()
def total(data, ctx):
    return data, {"total": sum(data)}


experiment = Experiment(numbers(), Pipeline([total()]), plugins=[SeedPlugin(seed=1)], name="totals")
"""

CONFIG = """
name: totals
datasource: {numbers: numbers}
steps: [total]
seed: 1
"""


@pytest.fixture
def file(tmp_path):
    """Write an experiment as a Python file."""
    path = tmp_path / "file.py"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path):
    """Write the same experiment as a folder."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    head, _, body = EXPERIMENT.partition("\n\n\n")
    source, step, _ = body.split("\n\n\n")
    (path / "datasources.py").write_text(f"{head}\n\n\n{source}\n", encoding="utf-8")
    (path / "steps.py").write_text(f"{head}\n\n\n{step}\n", encoding="utf-8")
    return path
