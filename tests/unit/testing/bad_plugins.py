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
    BadPlugin("sets-variables", "import-environ", importing("import os\nos.environ['OMP_NUM_THREADS'] = '1'")),
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
