"""Without the extra `yaml` everything else works, and what needs it says what to install."""

from __future__ import annotations

import pytest

WITHOUT = """
import sys

sys.modules[{library!r}] = None  # as if it were not installed: importing it raises

from crystallize import Experiment
from crystallize.errors import MissingExtraError
from crystallize_plugins import config

print(sorted(config.schema()["required"]))
for attempt in (
    lambda: Experiment.from_yaml("lab"),
    lambda: config.load_folder("lab"),
    lambda: config.read_description("lab") if {library!r} == "yaml" else Experiment.from_yaml("lab"),
):
    try:
        attempt()
    except ImportError as error:
        assert isinstance(error, MissingExtraError)
        assert error.distribution == "crystallize-plugins"
        print(error)
"""


@pytest.mark.parametrize("library,name", [("yaml", "PyYAML"), ("jsonschema_rs", "jsonschema-rs")])
def test_a_missing_library_is_said_with_what_to_install(library, name, write, run_script):
    write()
    done = run_script(WITHOUT.format(library=library))
    required, *errors = done.stdout.splitlines()
    assert required == "['datasource', 'steps']", done.stderr
    assert len(errors) == 3
    for error in errors:
        assert error.startswith(f"reading config.yaml needs {name}")
        assert error.endswith('pip install "crystallize-plugins[yaml]"')


def test_importing_the_room_imports_neither_library(run_script):
    done = run_script("""
        import sys
        import crystallize_plugins.config

        print([name for name in ("yaml", "jsonschema_rs") if name in sys.modules])
    """)
    assert done.stdout == "[]\n", done.stderr
