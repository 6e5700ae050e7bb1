"""The reference leaves nothing public out."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
MODULES = [
    "crystallize",
    "crystallize_plugins.config",
    "crystallize.errors",
    "crystallize.hooks",
    "crystallize.hooks.declarations",
    "crystallize.hooks.tools",
    "crystallize.pipelines.cache",
    "crystallize.results",
    "crystallize.testing",
]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Build the site once, strictly."""
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "--no-color", "-d", target / "trees",
         ROOT / "docs", target / "html"],
        capture_output=True,
        text=True,
        check=False,
        cwd=target,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return target / "html"


def test_the_site_is_built_without_a_warning(site):
    assert (site / "index.html").exists()


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_its_place_in_the_reference(site, module):
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    anchors = {anchor.rpartition(".")[2] for anchor in re.findall(r'id="(crystallize[\w.]*)"', text)}
    assert set(importlib.import_module(module).__all__) - anchors == set()


def test_every_hook_and_every_argument_is_documented(site):
    from crystallize.hooks import HookSpecs

    page = (site / "reference" / "hooks.html").read_text(encoding="utf-8")
    hooks = [name for name, member in vars(HookSpecs).items() if inspect.isfunction(member) and name[0] != "_"]
    assert len(hooks) >= 14
    for name in hooks:
        _, found, rest = page.partition(f'id="crystallize.hooks.HookSpecs.{name}"')
        assert found, f"the page does not describe {name}"
        described = rest.partition('<dl class="py method">')[0]
        for argument in list(inspect.signature(getattr(HookSpecs, name)).parameters)[1:]:
            assert re.search(rf"<strong>{argument}</strong>", described), f"{name}: {argument} is not described"


def test_every_key_of_config_yaml_is_documented(site):
    from crystallize_plugins.config import schema

    page = (site / "reference" / "config.html").read_text(encoding="utf-8")
    sections = schema()["properties"]
    inner = [sections["cli"], sections["outputs"]["additionalProperties"], sections["hypotheses"]["items"]]
    for rule in (schema(), *inner):
        for key in rule["properties"]:
            assert f'<span class="pre">{key}</span>' in page


def test_every_rule_for_plugins_is_documented_in_its_words():
    from crystallize.testing import RULES

    page = (REFERENCE / "plugin-rules.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", page, re.MULTILINE)) == RULES
