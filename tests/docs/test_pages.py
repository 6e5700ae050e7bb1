"""Every page's code runs, prints what the page says, and is reachable from the front page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("crystallize-*/*.md"), *ROOT.glob("docs/**/*.md")]
)
# `python` runs; a claim about what it prints is in an `output` block; the others are not code of ours.
LANGUAGES = {"python", "output", "text", "console", "toml", "yaml", "json", "ini", "mermaid"}


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def test_there_are_pages_to_test():
    assert "README.md" in PAGES
    assert "docs/index.md" in PAGES


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page, blocks_of):
    for block in blocks_of(read(page)):
        language = block.info.partition(" ")[0]
        assert language in LANGUAGES or language.startswith("{"), (
            f"{page}, line {block.line}: a block of {block.info!r}; use one of {sorted(LANGUAGES)}"
        )


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in read(page)])
def test_the_code_of_a_page_runs_from_top_to_bottom(page, script_of, blocks_of, run_script):
    done = run_script(script_of(read(page)), options=["-W", "error::DeprecationWarning"])
    assert done.returncode == 0, f"{page}\n{done.stdout}\n{done.stderr}"
    printed = done.stdout
    for block in blocks_of(read(page)):
        if block.info == "output":
            before, found, printed = printed.partition(block.text)
            assert found, (
                f"{page}, line {block.line}: the page says that this is printed:\n{block.text}\n"
                f"what was printed from there on is:\n{before}"
            )


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page):
    text = re.sub(r"^(`{3,}).*?^\1$", "", read(page), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: the link to {target} leads nowhere"


def test_the_table_of_contents_names_every_page():
    named = {"docs/index.md"}
    for page in PAGES:
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", read(page), flags=re.DOTALL):
            for entry in re.findall(r"^(?!:)(?:.*<)?([^\s<>]+?)>?$", tree, flags=re.MULTILINE):
                named.add((Path(page).parent / entry).as_posix().removesuffix(".md") + ".md")
    pages = {page for page in PAGES if page.startswith("docs/") and not page.startswith("docs/examples/")}
    assert pages - named == set(), "pages that no table of contents names"
    assert named - pages == set(), "entries without a page"
