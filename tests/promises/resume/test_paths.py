"""What lies below a path: cells run again once it has changed, wherever the path is met."""

from __future__ import annotations

from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step

PLACES = ("parameter", "context", "treatment", "closure", "source parameter", "list in a treatment")


@data_source
def read_texts(ctx, *, folder=None):
    return texts_below(folder)


def texts_below(path):
    if path is None:
        return []
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return [each.read_text() for each in files]


def experiment(path, place, *, cacheable=False):
    """Give an experiment that reads what lies below a path, and gets the path in a certain place."""
    held = path if place == "closure" else None

    @pipeline_step(cacheable=cacheable)
    def read(data, ctx, *, given=None):
        met = given or ctx.get("below") or (ctx.get("listed") or [None])[0] or held
        return [*data, *texts_below(met)]

    @pipeline_step()
    def record(data, ctx):
        return data, {"texts": "".join(data)}

    treatment = {"below": path} if place == "treatment" else {"listed": [path]} if "list" in place else {"other": 1}
    return Experiment(
        read_texts(folder=path if place == "source parameter" else None),
        Pipeline([read(given=path) if place == "parameter" else read(), record()]),
        treatments=[Treatment("treated", treatment)],
        initial_ctx={"below": path} if place == "context" else {},
        plugins=[SeedPlugin(seed=1), ArtifactPlugin()],
        name="paths",
        default_plugins=False,
    )


def texts(result):
    return result.metrics.treatments["treated"].metrics["texts"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_resumed_cell_runs_again_once_a_file_below_its_path_has_changed(place, kind):
    folder = Path("images", "deep")
    folder.mkdir(parents=True)
    file = folder / "a.txt"
    file.write_text("1")
    path = file if kind == "file" else Path("images")
    assert texts(experiment(path, place).run()) == ["1"]
    assert texts(experiment(path, place).run(strategy="resume")) == ["1"]
    file.write_text("2")
    assert texts(experiment(path, place).run(strategy="resume")) == ["2"]


@pytest.mark.parametrize("place", PLACES)
def test_a_cell_is_kept_as_long_as_nothing_below_its_path_has_changed(place):
    Path("images").mkdir()
    Path("images", "a.txt").write_text("1")
    experiment(Path("images"), place).run()
    assert experiment(Path("images"), place).plan(strategy="resume").to_run == ()


@pytest.mark.parametrize("place", ["parameter", "context", "treatment", "closure"])
def test_a_step_is_computed_again_once_a_file_came_to_its_folder(place):
    folder = Path("images")
    folder.mkdir()
    (folder / "a.txt").write_text("1")
    assert texts(experiment(folder, place, cacheable=True).run()) == ["1"]
    (folder / "b.txt").write_text("2")
    assert texts(experiment(folder, place, cacheable=True).run()) == ["12"]
    (folder / "b.txt").unlink()
    assert texts(experiment(folder, place, cacheable=True).run()) == ["1"]


def test_what_earlier_runs_stored_is_no_part_of_the_folder_that_the_program_runs_in():
    Path("a.txt").write_text("1")
    here = Path.cwd()
    step = experiment(here / "a.txt", "parameter")

    def made():
        return Experiment(
            read_texts(),
            step.pipeline,
            initial_ctx={"root": here},
            plugins=[SeedPlugin(seed=1), ArtifactPlugin()],
            name="rooted",
            default_plugins=False,
        )

    made().run()
    assert made().plan(strategy="resume").to_run == ()
    Path("a.txt").write_text("2")
    assert made().plan(strategy="resume").to_run != ()


def stored_beside_data(path):
    return Experiment(
        read_texts(),
        experiment(Path("nowhere"), "context").pipeline,
        initial_ctx={"root": path},
        plugins=[SeedPlugin(seed=1), ArtifactPlugin(root_dir="data")],
        name="beside",
        default_plugins=False,
    )


@pytest.mark.parametrize("before", ["with data", "empty", "absent"])
@pytest.mark.parametrize("path", ["data", "lab"])
def test_runs_that_are_stored_beside_data_are_no_part_of_it(before, path, monkeypatch):
    lab = Path("lab")
    (lab / "elsewhere").mkdir(parents=True)
    monkeypatch.chdir(lab / "elsewhere")
    root = Path("..", "..", "lab") if path == "lab" else Path("data")
    if before != "absent":
        Path("data").mkdir()
    if before == "with data":
        Path("data", "a.txt").write_text("1")
    stored_beside_data(root).run()
    if before == "empty" and path == "data":
        # A folder that was empty and one that holds runs alone are told apart once.
        stored_beside_data(root).run(strategy="resume")
    assert stored_beside_data(root).plan(strategy="resume").to_run == ()
    Path("data", "b.txt").write_text("2")
    assert stored_beside_data(root).plan(strategy="resume").to_run != ()


@pytest.mark.parametrize("path", ["data/other", "data/other/v0"])
def test_the_stored_runs_of_another_experiment_count_where_a_path_leads_to_them(path):
    other = Experiment(
        read_texts(),
        experiment(Path("nowhere"), "context").pipeline,
        plugins=[SeedPlugin(seed=1), ArtifactPlugin(root_dir="data")],
        name="other",
        default_plugins=False,
    )
    other.run()
    stored_beside_data(Path(path)).run()
    assert stored_beside_data(Path(path)).plan(strategy="resume").to_run == ()
    Path("data", "other", "v0", "baseline", "results.json").write_text("{}")
    assert stored_beside_data(Path(path)).plan(strategy="resume").to_run != ()
