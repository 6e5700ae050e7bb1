"""The second screen: a run is started, followed, stopped and gone on with."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.asyncio


def stored(folder, version=0, condition="baseline"):
    path = folder / "data" / "walrus" / f"v{version}" / condition / "results.json"
    return json.loads(path.read_text())["metrics"]["value"] if path.exists() else []


async def test_r_runs_and_the_summary_comes_when_it_is_over(folder, experiment, person):
    experiment()
    async with person((100, 30)) as somebody:
        await somebody.press("enter")
        await somebody.sees("Not run yet. R runs it.")
        await somebody.press("enter")  # one too many changes nothing
        assert "cache off" not in somebody.text()
        await somebody.press("R")
        await somebody.sees("walrus@v0", "complete", "baseline", "●")
        assert stored(folder) == [6.0, 6.001]
        await somebody.press("S")
        await somebody.sees("plus is more", "value", "resume: 6 kept, 0 to run")
        sources = folder / "walrus" / "datasources.py"
        sources.write_text(sources.read_text().replace("[1, 2, 3]", "[1, 2, 4]"))
        await somebody.sees("resume: 0 kept, 6 to run")
        await somebody.press(
            "right_square_bracket", "left_square_bracket", "left_square_bracket", "left_square_bracket"
        )
        await somebody.sees("scored")
        await somebody.press("slash", *"nothing", "enter")
        assert "scored" not in somebody.text()
        await somebody.press("escape")
        await somebody.sees("scored")


async def test_a_run_is_stopped_and_gone_on_with(folder, experiment, person):
    experiment(replicates=6, pause=0.5)
    async with person((100, 30)) as somebody:
        await somebody.press("R")
        await somebody.sees("running", "/18 cells", "R Stop")
        await somebody.press("q")
        await somebody.sees("still running: walrus", "y leave it running", "s stop it", "escape stay")
        await somebody.back()
        await somebody.press("R")
        await somebody.sees("interrupted", "R Run")
        assert len(stored(folder)) < 6
        await somebody.press("R")
        await somebody.sees("complete", seconds=90)
        assert len(stored(folder)) == 6
        assert not (folder / "data" / "walrus" / "v1").exists()


async def test_failures_are_shown_with_cell_step_and_traceback(experiment, person):
    experiment(extra='assert ctx["condition"] != "plus", "no [red]plus"')
    async with person((100, 30)) as somebody:
        await somebody.press("R")
        await somebody.sees("complete", "2 failed")
        await somebody.press("e")
        await somebody.sees("plus_rep_0", "ScoreStep", "no [red]plus", "Traceback")


async def test_what_is_cached_and_left_out_is_in_the_command_and_is_kept(folder, experiment, person):
    place = experiment()
    async with person((160, 30)) as somebody:
        await somebody.press("enter")
        await somebody.sees("resume: 0 kept, 6 to run", "$ crystallize run walrus --strategy resume")
        await somebody.go_to("walrus", "fit")
        await somebody.press("l")
        await somebody.sees("rerun: fit is not cached", "--strategy rerun --cache fit=off")
        assert "cache off" in somebody.line("fit ")
        await somebody.go_to("walrus", "score")
        await somebody.press("l")
        await somebody.sees("--cache fit=off --cache score=on")
        await somebody.go_to("walrus", "plus")
        await somebody.press("x", "j", "x", "plus")
        await somebody.sees("--without plus --without twice", "hypotheses are left out", "--replicates 3")
    kept = json.loads((place / "config.state.json").read_text())
    assert kept == {
        "inactive_treatments": ["plus", "twice"], "caching": {"steps": {"fit": False, "score": True}}, "replicates": 3
    }  # fmt: skip

    async with person((160, 30)) as somebody:
        await somebody.press("enter")
        await somebody.sees("--cache fit=off --cache score=on --without plus --without twice --replicates 3")
        await somebody.press("R")
        await somebody.sees("complete", "3 cells")
        assert len(stored(folder)) == 3
        await somebody.go_to("walrus", "score")
        await somebody.press("l", "k", "l", "j", "j", "x", "j", "x", "minus")
        await somebody.sees("--replicates 2")
        assert "--cache" not in somebody.text()
        assert "--without" not in somebody.text()
        await somebody.go_to("experiment", "walrus")
        await somebody.press("l")
        await somebody.sees("rerun: walrus is not cached")


async def test_a_damaged_file_of_choices_is_named_and_the_defaults_hold(experiment, person):
    (experiment() / "config.state.json").write_text("{")
    async with person((160, 30)) as somebody:
        await somebody.press("enter")
        await somebody.sees("config.state.json is damaged", "--strategy resume")


async def test_keys_of_the_second_screen_do_what_they_say(experiment, person, monkeypatch):
    for name in ("CRYSTALLIZE_EDITOR", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")
    experiment()
    told = {
        "v": "warnings and errors alone", "space": "frozen: space goes on", "D": "no cell has failed",
        "o": "no editor is known", "t": "this terminal cannot be left", "Y": "copied, 1 line",
    }  # fmt: skip
    async with person((120, 40)) as somebody:
        await somebody.press("enter")
        await somebody.sees("Not run yet")
        for key, words in told.items():
            await somebody.press(key)
            await somebody.sees(words)
        for key, words in {"E": "# kept: this comment", "p": "baseline"}.items():
            await somebody.press(key)
            await somebody.sees(words)
            await somebody.back()
