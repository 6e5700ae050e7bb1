"""Experiment folders, written where a test wants them."""

from __future__ import annotations

import textwrap

import pytest

from crystallize import Experiment
from crystallize.errors import ConfigurationError

CODE = {
    "datasources.py": """
        from crystallize import DataSource, data_source

        LIMIT = 3


        @data_source
        def numbers(ctx, *, upto=3):
            return list(range(upto))


        @data_source
        def needy(ctx, *, rows):
            return rows


        class Ones(DataSource):
            def __init__(self, count=2):
                self.count = count

            def fetch(self, ctx):
                return [1] * self.count


        def bare(ctx):
            return 1
    """,
    "steps.py": """
        import json

        from crystallize import Artifact, PipelineStep, pipeline_step

        RATE = 0.1


        @pipeline_step()
        def scale(data, ctx, *, factor=1):
            return [value * factor for value in data]


        @pipeline_step()
        def total(data, ctx):
            return data, {"total": sum(data)}


        @pipeline_step()
        def publish(data, ctx, *, table: Artifact):
            table.write(json.dumps(data))
            return data


        class Shift(PipelineStep):
            def __init__(self, by):
                self.by = by

            @property
            def params(self):
                return {"by": self.by}

            def __call__(self, data, ctx):
                return [value + self.by for value in data]


        def plain(data, ctx, *, plus=0):
            return [value + plus for value in data]
    """,
    "outputs.py": """
        import json

        SUFFIX = ".json"


        def to_json(value):
            return json.dumps(value).encode()


        def from_json(path):
            return json.loads(path.read_text())
    """,
    "verifiers.py": """
        from crystallize import verifier

        LEVEL = 0.05


        @verifier
        def above(baseline, treatment, *, margin=0):
            return {"p_value": float(sum(treatment["total"]) <= sum(baseline["total"]) + margin)}


        def simple(baseline, treatment):
            return {"p_value": 0.5}


        def by_p_value(output):
            return output["p_value"]
    """,
}
CONFIG = "datasource: {data: numbers}\nsteps: [scale, total]\n"


@pytest.fixture
def write(tmp_path):
    """Write an experiment folder; give its path, relative to the working folder where that is possible."""

    def make(config=CONFIG, name="lab", **files):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(config, bytes):
            (folder / "config.yaml").write_bytes(config)
        elif config is not None:
            (folder / "config.yaml").write_text(config, encoding="utf-8")
        for file, source in {**CODE, **{f"{stem}.py": source for stem, source in files.items()}}.items():
            if source is not None:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_text(textwrap.dedent(source), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def load(write):
    """Write an experiment folder and load it, without the plugins that write files or log."""

    def made(config=CONFIG, overrides=(), name="lab", **files):
        text = config if "plugins:" in config else f"{config.rstrip()}\nplugins: {{artifacts: false, logging: false}}\n"
        return Experiment.from_yaml(write(text, name=name, **files), overrides=overrides)

    return made


@pytest.fixture
def problems_of():
    """Load something and give everything that is wrong with it."""

    def found(path, overrides=()):
        with pytest.raises(ConfigurationError) as caught:
            Experiment.from_yaml(path, overrides=overrides)
        return caught.value.problems

    return found
