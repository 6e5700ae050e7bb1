"""The example folder, and the page about it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from tests import programs

from crystallize import Experiment
from crystallize_plugins.config import load_folder


@pytest.fixture
def maize(repository, tmp_path):
    """Copy the example into the working folder."""
    target = tmp_path / "maize"
    ignored = shutil.ignore_patterns("__pycache__", "data")
    return shutil.copytree(repository / "docs" / "examples" / "maize", target, ignore=ignored)


@pytest.fixture
def page(repository):
    """The page that builds the example up."""
    return (repository / "docs" / "how-to" / "folder-experiments.md").read_text(encoding="utf-8")


def blocks(page, info):
    return re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)


def test_the_data_are_darwins(maize):
    rows = (maize / "heights.csv").read_text().split()[1:]
    crossed, selfed = zip(*(map(float, row.split(",")) for row in rows), strict=True)
    # As he printed them, and as everybody since has reckoned with them: in eighths of an inch.
    differences = [round(8 * (one - other)) for one, other in zip(crossed, selfed, strict=True)]
    assert differences == [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_the_example_runs_from_the_command_line(maize, tmp_path):
    command = Path(sys.executable).with_name("crystallize")
    arguments = ["run", "maize", "replicates=40", "treatments.the median.trim=0.4"]
    done = programs.run([command, *arguments], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "maize: baseline and 3 treatments, 40 replicates, seed 1876" in done.stdout
    assert re.search(r"the median +inches off +40 .*holds", done.stdout)


def test_leaving_out_a_fifth_is_steadier(maize):
    result = Experiment.from_yaml(maize, overrides=["+plugins={artifacts: false, logging: false}"]).run()
    assert result.errors == {}
    assert result.get_hypothesis("steadier").results["a fifth left out"]["p_value"] < 0.01


def test_the_page_shows_the_example_as_it_is(maize, page):
    assert blocks(page, "yaml")[0] == (maize / "config.yaml").read_text(encoding="utf-8")
    code = (maize / "datasources.py").read_text() + (maize / "steps.py").read_text()
    shown = blocks(page, "{code-block} python")
    assert [block for block in shown if "def " in block and block not in code] == []
    assert len(shown) == 3


def test_the_code_of_the_page_runs(maize, page, monkeypatch, tmp_path):
    (tmp_path / "docs").mkdir()
    shutil.move(maize, tmp_path / "docs" / "examples" / "maize")
    (script,) = (block for block in blocks(page, "{code-block} python") if "from_yaml" in block)
    names = {}
    exec(script, names)
    assert names["result"].metrics.baseline.metrics["inches off"].replicates == list(range(20))


def test_the_mistakes_of_the_page_are_what_is_said(maize, page, problems_of):
    config = maize / "config.yaml"
    text = config.read_text(encoding="utf-8").replace("deviation: {}", "deviaton: {}").replace("200", "0")
    config.write_text(text, encoding="utf-8")
    (listed,) = blocks(page, "text")
    assert [f"  {problem}" for problem in problems_of("maize")] == listed.splitlines()[1:]


def test_the_overrides_of_the_page_work(maize, page):
    given = [
        "replicates=30",
        "steps.deviation={trim: 0.1}",
        "steps.1=deviation",
        "hypotheses.steadier.metrics=[inches off]",
    ]
    given += ["+treatments.the median.rate=0.1", "~hypotheses", "~steps.deviation"]
    for override in given:
        assert override.partition("=")[0].replace("the median", "fast").lstrip("+~") in page
    assert load_folder(maize, overrides=given).experiment.replicates == 30


def test_older_readers_of_yaml_read_the_example_alike(maize):
    from crystallize_plugins.config.problems import Problems
    from crystallize_plugins.config.reading import read_document
    from crystallize_plugins.config.values import plain

    config = maize / "config.yaml"
    assert plain(read_document(config, "x", Problems())) == yaml.safe_load(config.read_text(encoding="utf-8"))
