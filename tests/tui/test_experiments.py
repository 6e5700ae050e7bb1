"""The first screen: what is listed, what is wrong, what is made anew."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.asyncio


async def test_an_empty_folder_says_what_to_do(person):
    async with person() as somebody:
        await somebody.sees("No experiments here. n makes one that runs.", "1 Experiments", "2 Run", "3 Runs")


async def test_experiments_are_grouped_ordered_and_hidden_as_they_ask(experiment, person):
    experiment("zebra", more="cli: {group: Models, priority: 1}")
    experiment("ant", more="cli: {group: Models, priority: 2}")
    experiment("ghost", more="cli: {hidden: true}")
    experiment("[red]x", config="name: '[red]x'\ndatasource: {numbers: numbers}\nsteps: [prepare]\n")
    async with person() as somebody:
        text = await somebody.sees("zebra", "ant", "[red]x", "never run")
        assert "ghost" not in text
        rows = [line.split("│")[0].split() for line in text.splitlines()]
        names = [row[1] if row[0] in "▾▸" else row[0] for row in rows if row and row[0] != "Crystallize"][:5]
        assert names == ["Models", "zebra", "ant", "Experiments", "[red]x"]


async def test_a_broken_configuration_is_named_with_its_place_and_stops_nothing(experiment, person):
    experiment("walrus")
    gecko = experiment("gecko", config="name: gecko\ndatasource: {numbers: numbers}\nsteps: [prepare]\nreplicats: 3\n")
    experiment("heron", config="name: [heron\n")
    async with person((120, 30)) as somebody:
        await somebody.sees("walrus", "2 problems: e shows them")
        await somebody.press("e")
        await somebody.sees("gecko", "heron", "line 4", "Did you mean 'replicates'")
        await somebody.back()
        (gecko / "config.yaml").write_text((gecko / "config.yaml").read_text().replace("replicats", "replicates"))
        await somebody.press("r")
        await somebody.sees("1 problem: e shows it")
        assert "problem" not in somebody.line("gecko")


async def test_n_makes_an_experiment_that_is_opened(folder, person):
    async with person() as somebody:
        await somebody.press("n")
        await somebody.sees("New experiment")
        await somebody.press("enter")
        await somebody.sees("it needs a name")
        await somebody.press(*"otter", "enter")
        await somebody.sees("Live", "crystallize run experiments/otter")
        assert (folder / "experiments" / "otter" / "config.yaml").is_file()


async def test_headings_fold_and_the_keys_of_vi_move(experiment, person):
    experiment("ant")
    experiment("bee")
    async with person() as somebody:
        await somebody.sees("ant", "bee")
        outline = somebody.application.screen.outline
        assert outline.key[-1] == "ant"
        await somebody.press("G")
        assert outline.key[-1] == "bee"
        await somebody.press("k", "j", "h")
        await somebody.sees("▸ Experiments")
        assert "bee" not in somebody.text().split("│")[0]
        await somebody.press("right", "down")
        assert outline.key[-1] == "ant"


async def test_where_there_is_no_room_it_says_so(person):
    async with person() as somebody:
        await somebody.sees("1 Experiments")
        await somebody.pilot.resize_terminal(50, 12)
        await somebody.sees("too small")
        await somebody.pilot.resize_terminal(60, 16)
        await somebody.sees("1 Experiments")


async def test_help_shows_the_keys_and_the_palette_every_action(person):
    async with person() as somebody:
        await somebody.press("question_mark")
        await somebody.sees("Keys", "New", "One condition in one replicate is a cell")
        await somebody.back()
        await somebody.press("ctrl+p")
        await somebody.press(*"help")
        await somebody.sees("Help  (?)")
        await somebody.back()
        await somebody.press("ctrl+c")
        await somebody.sees("q quits")


async def test_experiments_that_are_marked_run_in_turn(folder, experiment, person):
    experiment("ant")
    experiment("bee")
    async with person() as somebody:
        await somebody.sees("ant", "bee")
        await somebody.press("space", "j", "space")
        await somebody.sees("● ant", "● bee")
        await somebody.press("R")
        await somebody.sees("bee@v0", "complete", seconds=60)
        assert (folder / "data" / "ant" / "v0" / "plus" / "results.json").is_file()
