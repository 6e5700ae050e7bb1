"""Small plugins, each of which breaks one rule, as installed distributions."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from crystallize.hooks import PluginRecord

PLUGIN = (
    "from crystallize import BasePlugin\n\n\nclass Bad(BasePlugin):\n    neutral = True\n    contract = '>=1.1,<2'\n\n"
)
COLLECT = "    def collect(self, outcome):\n        pass\n"
GOOD = PLUGIN + COLLECT


@dataclass(frozen=True)
class BadPlugin:
    """A plugin, the rule that it breaks, and what of its distribution is not as it should be."""

    name: str
    rule: str
    source: str = GOOD
    state: str = "problem"
    group: str = "crystallize.plugins"
    target: str = "Bad"
    requires: str = "crystallize-core>=0.1,<0.2"
    typed: bool = True
    entry: str = "bad"
    kit: str = "plugin"

    def install(self, folder):
        """Write the distribution as an installer would, into a folder that is on the path, and return its record."""
        package = "acme_" + self.name.replace("-", "_")
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(self.source, encoding="utf-8")
        if self.typed:
            (folder / package / "py.typed").touch()
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir()
        requires = f"Requires-Dist: {self.requires}\n" if self.requires else ""
        metadata = f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n{requires}"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        value = f"{package}:{self.target}"
        (info / "entry_points.txt").write_text(f"[{self.group}]\n{self.entry} = {value}\n", encoding="utf-8")
        (info / "RECORD").write_text(f"{package}/__init__.py,,\n", encoding="utf-8")
        return PluginRecord(self.group, self.entry, value, package.replace("_", "-"), "1.0", package, self.target)


def hook(text, *, neutral=True, before=""):
    """Return the source of a plugin with these methods."""
    head = PLUGIN if neutral else PLUGIN.replace("    neutral = True\n", "")
    return before + head + textwrap.indent(textwrap.dedent(text).strip("\n"), "    ") + "\n"


def importing(statement):
    """Return the source of a sound plugin whose module does this when it is imported."""
    return f"{statement}\n\n{GOOD}"


IMPORTS = [
    BadPlugin("raises", "import-fails", importing("1 / 0")),
    BadPlugin("needs-what-is-not-there", "import-fails", importing("import no_such_module")),
    BadPlugin("exits", "import-fails", importing("import os\nos._exit(3)")),
    BadPlugin("slow", "import-slow", importing("import time\ntime.sleep(0.4)"), state="note"),
    BadPlugin("very-slow", "import-slow", importing("import time\ntime.sleep(1.1)")),
    BadPlugin("seeds", "import-random", importing("import random\nrandom.seed(1)")),
    BadPlugin("seeds-numpy", "import-random", importing("import numpy as np\nnp.random.seed(1)")),
    BadPlugin("sets-variables", "import-environ", importing("import os\nos.environ['ACME'] = str(os.getpid())")),
    BadPlugin("moves", "import-cwd", importing("import os\nos.chdir('/')")),
    BadPlugin("configures-logging", "import-logging", importing("import logging\nlogging.basicConfig()")),
    BadPlugin("quiets", "import-logging", importing("import logging\nlogging.getLogger('crystallize').setLevel(50)")),
    BadPlugin("hides-warnings", "import-warnings", importing("import warnings\nwarnings.simplefilter('ignore')")),
    BadPlugin("extends-the-path", "import-path", importing("import sys\nsys.path.append('vendored')")),
    BadPlugin(
        "starts-a-thread",
        "import-thread",
        importing("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"),
    ),
    BadPlugin("greets", "import-output", importing("print('hello from acme')")),
]
"""What importing their module does."""

DECLARED = [
    BadPlugin("points-nowhere", "entry-point", target="Missing"),
    BadPlugin("is-no-plugin", "entry-point", "class Bad:\n    pass\n"),
    BadPlugin("is-no-command", "entry-point", "def Bad():\n    pass\n", group="crystallize.commands"),
    BadPlugin("is-no-optimizer", "entry-point", "class Bad:\n    pass\n", group="crystallize.optimizers"),
    BadPlugin("is-no-verifier", "entry-point", "Bad = 5\n", group="crystallize.verifiers"),
    BadPlugin("usurps", "name-reserved", entry="seed"),
    BadPlugin("takes-a-name", "name-taken", entry="serial"),
    BadPlugin("misspelt", "hook-unknown", hook("def collects(self, outcome):\n    pass")),
    BadPlugin("has-no-hooks", "hook-unknown", hook("limit = 3")),
    BadPlugin(
        "marks-what-is-no-hook",
        "hook-unknown",
        "from crystallize import hookimpl\n\n\nclass Bad:\n    contract = '>=1.1,<2'\n\n"
        "    @hookimpl\n    def finished(self):\n        pass\n",
    ),
    BadPlugin("guesses", "hook-argument", hook("def after_step(self, payload):\n    pass")),
    BadPlugin("gathers", "hook-argument", hook("def after_step(self, *args):\n    pass")),
    BadPlugin("forgets-self", "hook-argument", hook("def collect():\n    pass")),
    BadPlugin("awaits", "hook-kind", hook("async def collect(self, outcome):\n    pass")),
    BadPlugin("yields", "hook-kind", hook("def collect(self, outcome):\n    yield outcome")),
    BadPlugin("hides-a-hook", "hook-kind", hook("collect = 5\ndef after_run(self):\n    pass")),
    BadPlugin(
        "wants-to-be-first",
        "hook-kind",
        hook("@hookimpl(tryfirst=True)\ndef collect(self):\n    pass", before="from crystallize import hookimpl\n"),
    ),
    BadPlugin("annotates-a-dict", "hook-annotation", hook("def before_step(self, ctx: dict):\n    pass")),
    BadPlugin(
        "annotates-an-experiment",
        "hook-annotation",
        hook(
            "def before_run(self, experiment: Experiment) -> None:\n    pass",
            before="from crystallize import Experiment\n",
        ),
    ),
    BadPlugin("returns-from-a-look", "hook-annotation", hook("def after_step(self, data) -> 'list':\n    return data")),
    BadPlugin("is-a-bit-neutral", "declaration", GOOD.replace("neutral = True", "neutral = 'mostly'")),
    BadPlugin("ignores-errors", "declaration", hook("on_error = 'ignore'\n" + textwrap.dedent(COLLECT))),
    BadPlugin("comes-after-three", "declaration", hook("after = (3,)\n" + textwrap.dedent(COLLECT))),
    BadPlugin("of-the-future", "contract", GOOD.replace(">=1.1,<2", ">=9")),
    BadPlugin("of-any-contract", "contract", GOOD.replace("    contract = '>=1.1,<2'\n", ""), state="note"),
    BadPlugin(
        "shares-a-default", "settings", hook("def __init__(self, seen=[]):\n    pass\n" + textwrap.dedent(COLLECT))
    ),
    BadPlugin(
        "gathers-settings", "settings", hook("def __init__(self, *paths):\n    pass\n" + textwrap.dedent(COLLECT))
    ),
    BadPlugin("cannot-be-built", "settings", hook("def __init__(self):\n    1 / 0\n" + textwrap.dedent(COLLECT))),
    BadPlugin(
        "holds-a-lock",
        "pickle",
        hook(
            "def __init__(self):\n    self.lock = Lock()\n" + textwrap.dedent(COLLECT),
            before="from threading import Lock\n",
        ),
    ),
    BadPlugin(
        "writes-when-built",
        "leak-file",
        hook("def __init__(self):\n    open('log.txt', 'w').close()\n" + textwrap.dedent(COLLECT)),
    ),
    BadPlugin("requires-nothing", "core-bound", requires=""),
    BadPlugin("requires-any-core", "core-bound", requires="crystallize-core", state="note"),
    BadPlugin("untyped", "py-typed", typed=False, state="note"),
]
"""What they declare."""


RUNNING = [
    BadPlugin("draws", "random", hook("def before_step(self):\n    random.random()", before="import random\n")),
    BadPlugin(
        "draws-while-collecting",
        "random",
        hook("def collect(self):\n    np.random.rand()", before="import numpy as np\n"),
    ),
    BadPlugin(
        "seeds-at-the-start", "random", hook("def before_run(self):\n    random.seed(1)", before="import random\n")
    ),
    BadPlugin("empties-the-data", "data", hook("def after_step(self, data):\n    data.clear()")),
    BadPlugin(
        "improves-numbers",
        "outcome",
        hook("def collect(self, outcome):\n    for values in outcome.metrics.values():\n        values[0] = 0"),
    ),
    BadPlugin("hides-errors", "outcome", hook("def after_replicate(self, outcome):\n    outcome.error = None")),
    BadPlugin(
        "takes-another-cell",
        "outcome",
        hook("def collect(self, outcome):\n    outcome.cell = outcome.cell._replace(replicate=0)"),
    ),
    BadPlugin("forgets-errors", "result", hook("def after_run(self, result):\n    result.errors.clear()")),
    BadPlugin(
        "rounds-the-result",
        "result",
        hook("def after_run(self, result):\n    result.metrics.baseline.metrics['total'][0] = 0.0"),
    ),
    BadPlugin("drops-treatments", "view", hook("def before_run(self, experiment):\n    del experiment.treatments[1:]")),
    BadPlugin(
        "wants-more-replicates", "view", hook("def before_run(self, experiment):\n    experiment.replicates = 5")
    ),
    BadPlugin("renames-the-run", "view", hook("def collect(self, experiment):\n    experiment.name = 'mine'")),
    BadPlugin("writes-into-the-context", "view", hook("def before_replicate(self, ctx):\n    ctx.add('extra', 1)")),
    BadPlugin("removes-a-step", "step", hook("def before_run(self, experiment):\n    experiment.pipeline.steps = ()")),
    BadPlugin("turns-a-step", "step", hook("def before_step(self, step):\n    step.cacheable = True")),
    BadPlugin(
        "works-once",
        "state",
        hook("def before_run(self):\n    self.runs = getattr(self, 'runs', 0) + 1\n    assert self.runs < 2"),
    ),
    BadPlugin(
        "only-knows-runs", "state", hook("def before_run(self, experiment):\n    assert experiment.run.kind == 'run'")
    ),
    BadPlugin(
        "adds-chance",
        "state",
        hook(
            "def before_replicate(self, ctx):\n    ctx.add('factor', random.random()) if 'factor' not in ctx else None",
            before="import random\n",
            neutral=False,
        ),
    ),
    BadPlugin(
        "has-to-be-last",
        "order",
        hook(
            "def before_run(self, experiment):\n    last = experiment.plugins[-1]\n"
            "    assert len(experiment.plugins) < 2 or 'Bad' in repr(last)"
        ),
    ),
    BadPlugin(
        "numbers-cells",
        "executor",
        hook(
            "count = 0\ndef before_replicate(self, ctx):\n    self.count += 1\n"
            "    ctx.add('number', (os.getpid(), self.count))",
            before="import os\n",
            neutral=False,
        ),
        kit="transformer",
    ),
    BadPlugin(
        "loses-a-cell",
        "executor",
        hook("def run_experiment_loop(self, cells, run_cell):\n    return [run_cell(cell) for cell in cells[1:]]")
        .replace("BasePlugin", "ExecutorPlugin")
        .replace("from crystallize", "from crystallize.hooks"),
        kit="executor",
    ),
    BadPlugin(
        "runs-cells-twice",
        "executor",
        hook(
            "def run_experiment_loop(self, cells, run_cell):\n    for cell in cells:\n        run_cell(cell)\n"
            "        yield run_cell(cell)"
        )
        .replace("BasePlugin", "ExecutorPlugin")
        .replace("from crystallize", "from crystallize.hooks"),
        kit="executor",
    ),
    BadPlugin(
        "is-no-executor",
        "declaration",
        hook("def run_experiment_loop(self, cells, run_cell):\n    return [run_cell(cell) for cell in cells]"),
        kit="executor",
    ),
    BadPlugin("expects-success", "errors", hook("def collect(self, outcome):\n    assert outcome.metrics['total']")),
    BadPlugin("gives-no-json", "facts", hook("def collect_provenance(self):\n    return {'acme': object()}")),
    BadPlugin("gives-nan", "facts", hook("def collect_provenance(self):\n    return {'acme': float('nan')}")),
    BadPlugin("gives-too-much", "facts", hook("def collect_provenance(self):\n    return {'acme': 'x' * 2_000_000}")),
    BadPlugin("takes-the-frameworks-facts", "facts", hook("def collect_provenance(self):\n    return {'seeds': 1}")),
    BadPlugin(
        "changes-its-settings",
        "settings",
        hook(
            "def __init__(self, names=()):\n    self.names = names\ndef __getstate__(self):\n    return {}\n"
            "def collect(self):\n    self.__class__ = type('Other', (Bad,), {})"
        ),
    ),
    BadPlugin(
        "forgets-a-thread",
        "leak-thread",
        hook(
            "def before_run(self):\n    threading.Thread(target=threading.Event().wait, daemon=True).start()",
            before="import threading\n",
        ),
    ),
    BadPlugin(
        "leaves-a-file-open",
        "leak-file",
        hook("def before_run(self):\n    Bad.files = [*getattr(Bad, 'files', ()), open(__file__)]"),
    ),
    BadPlugin(
        "writes-where-it-stands",
        "leak-file",
        hook("def after_run(self):\n    with open('log.txt', 'w'):\n        pass"),
    ),
    BadPlugin(
        "leaves-a-process",
        "leak-process",
        hook(
            "def after_run(self):\n    Bad.children = [*getattr(Bad, 'children', ()),\n"
            "        subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)]",
            before="import subprocess, sys\n",
        ),
    ),
    BadPlugin("moves-in-a-run", "leak-cwd", hook("def after_run(self):\n    os.chdir('/')", before="import os\n")),
    BadPlugin(
        "sets-a-variable",
        "leak-environ",
        hook("def before_run(self, experiment):\n    os.environ['ACME_RUN'] = experiment.run.id", before="import os\n"),
    ),
]
"""What they do in a run."""
KINDS = [
    BadPlugin("watches-undeclared", "declaration", hook("def collect(self):\n    pass", neutral=False), kit="observer"),
    BadPlugin("decides-which-cells", "declaration", hook("def completed_cells(self):\n    pass"), kit="observer"),
    BadPlugin(
        "transforms-nothing", "view", hook("def before_replicate(self):\n    pass", neutral=False), kit="transformer"
    ),
    BadPlugin("calls-itself-neutral", "declaration", hook("def before_replicate(self):\n    pass"), kit="transformer"),
    BadPlugin(
        "forgets-what-it-stored",
        "state",
        hook("def collect(self):\n    pass\ndef completed_cells(self):\n    return []")
        .replace("BasePlugin", "StorePlugin")
        .replace("from crystallize", "from crystallize.hooks"),
        kit="store",
    ),
]
"""What is not of their kind."""
