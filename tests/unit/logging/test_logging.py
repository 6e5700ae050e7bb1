"""`LoggingPlugin`: what is said, where it goes, and that nothing else is touched."""

from __future__ import annotations

import contextlib
import logging
import pickle
import re
import sys

import pytest

from crystallize import (
    Experiment,
    Hypothesis,
    LoggingPlugin,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.errors import ArgumentTypeError, ValidationError

LOGGER = logging.getLogger("crystallize")


@data_source
def one(ctx):
    return 1


@pipeline_step()
def add_delta(data, ctx, *, delta=0):
    ctx.record("sum", data + delta)
    return data + delta


@pipeline_step()
def finish(data, ctx):
    return data


@pipeline_step()
def fail(data, ctx, *, delta=0):
    if delta:
        raise LookupError("no such thing")
    return data


@pytest.fixture(autouse=True)
def _pristine():
    """Give back the logger as it was: its level and its handlers belong to the process."""
    level, handlers = LOGGER.level, list(LOGGER.handlers)
    yield
    LOGGER.setLevel(level)
    LOGGER.handlers[:] = handlers


class Sink(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def lines(self):
        return [record.getMessage() for record in self.records]


@pytest.fixture
def sink():
    made = Sink()
    LOGGER.addHandler(made)
    return made


@contextlib.contextmanager
def bare_root():
    """Be a program that has configured no logging: pytest's own handlers are off the root logger meanwhile."""
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers.clear()
    try:
        yield root
    finally:
        root.handlers[:] = before


def experiment(*plugins, steps=None, name="demo"):
    return Experiment(
        one(), Pipeline(steps or [add_delta(), finish()]), plugins=list(plugins), name=name, default_plugins=False
    )


TREATMENT = Treatment("t", {"delta": 1})


# -- what is said -------------------------------------------------------------------------------------


def test_one_line_at_the_start_and_one_at_the_end(sink):
    hypothesis = Hypothesis(lambda baseline, treatment: {"p_value": 0.5}, "sum", name="h")
    experiment(SeedPlugin(seed=31), LoggingPlugin()).run(replicates=2, treatments=[TREATMENT], hypotheses=[hypothesis])
    start, end = sink.lines
    assert start == "Run demo: 2 replicates, 1 treatment, 1 hypothesis, seed 31"
    assert re.fullmatch(r"Run demo ended after [0-9.e-]+ m?s, 0 errors", end)
    assert {record.levelname for record in sink.records} == {"INFO"}
    assert {record.name for record in sink.records} == {"crystallize"}


@pytest.mark.parametrize(
    "replicates, treatments, says",
    [
        (1, [], "1 replicate, 0 treatments, 0 hypotheses, no seed"),
        (3, [TREATMENT, Treatment("u", {})], "3 replicates, 2 treatments, 0 hypotheses, no seed"),
    ],
)
def test_numbers_agree_with_their_nouns(sink, replicates, treatments, says):
    experiment(LoggingPlugin()).run(replicates=replicates, treatments=treatments)
    assert sink.lines[0] == f"Run demo: {says}"


def test_a_debug_run_is_said_to_be_of_one_replicate(sink):
    experiment(LoggingPlugin()).debug(TREATMENT, replicate=2)
    assert sink.lines[0] == "Debug run demo: replicate 2, 1 treatment, 0 hypotheses, no seed"


def test_a_seed_that_was_drawn_is_in_the_line(sink):
    result = experiment(LoggingPlugin(), SeedPlugin()).run()
    start = next(line for line in sink.lines if line.startswith("Run demo:"))
    assert start.endswith(f"seed {result.provenance['run']['seed']}")


def test_the_end_counts_errors_and_each_failed_cell_is_logged_once_with_its_cause(sink):
    result = experiment(LoggingPlugin(), steps=[fail()]).run(replicates=2, treatments=[TREATMENT])
    assert len(result.errors) == 2
    assert sink.lines[-1].endswith("2 errors")
    failures = [record for record in sink.records if record.levelno >= logging.WARNING]
    assert len(failures) == 2
    for replicate, record in enumerate(failures):
        text = record.getMessage()
        assert all(part in text for part in ("FailStep", "no such thing", "t", str(replicate)))


def test_verbose_tells_of_every_finished_step_with_its_cell_and_duration(sink):
    experiment(LoggingPlugin(verbose=True)).run(replicates=2, treatments=[TREATMENT])
    steps = sink.lines[1:-1]
    assert len(steps) == 8
    assert re.fullmatch(r"baseline, replicate 0: AddDeltaStep finished in [0-9.e-]+ m?s", steps[0])
    assert re.fullmatch(r"t, replicate 1: FinishStep finished in [0-9.e-]+ m?s", steps[-1])


def test_verbose_does_not_tell_of_a_step_that_failed_and_forgets_it(sink):
    plugin = LoggingPlugin(verbose=True)
    experiment(plugin, steps=[fail()]).run(treatments=[TREATMENT])
    assert [line for line in sink.lines if "finished in" in line and line.startswith("t,")] == []
    assert plugin._begun == {}


def test_verbose_lines_come_from_worker_processes_too(sink):
    experiment(LoggingPlugin(verbose=True), ParallelExecution(2, "process")).run(replicates=3)
    steps = {line.partition(" finished")[0] for line in sink.lines if "finished in" in line}
    assert steps == {f"baseline, replicate {r}: {step}" for r in range(3) for step in ("AddDeltaStep", "FinishStep")}


def test_unless_verbose_it_sits_out_the_step_loop():
    assert set(LoggingPlugin().silent_hooks) == {"before_step", "after_step", "after_replicate"}
    assert not LoggingPlugin(verbose=True).silent_hooks


def test_apply_is_quiet_unless_everything_is_asked_for(sink):
    experiment(LoggingPlugin()).apply()
    assert sink.lines == []
    experiment(LoggingPlugin(log_level="DEBUG")).apply()
    assert len(sink.lines) == 2


# -- the level ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["DEBUG", "info", "Warning", "ERROR", "critical", 10, 15])
def test_levels_go_by_name_in_any_case_or_by_number(level):
    experiment(LoggingPlugin(log_level=level)).run()
    assert LOGGER.level == (level if isinstance(level, int) else getattr(logging, level.upper()))


@pytest.mark.parametrize("plugins", [[], [LoggingPlugin()], ["logging"], [LoggingPlugin(verbose=True)]])
@pytest.mark.parametrize("level", [logging.ERROR, logging.DEBUG, 15, logging.CRITICAL])
def test_a_level_that_the_program_has_set_is_left_alone(level, plugins):
    LOGGER.setLevel(logging.NOTSET)
    experiment(LoggingPlugin()).run()
    LOGGER.setLevel(level)
    made = Experiment(one(), Pipeline([finish()]), plugins=plugins, name="levels")
    made.run()
    made.run()
    assert LOGGER.level == level


def test_a_level_that_no_one_has_set_is_info(sink):
    LOGGER.setLevel(logging.NOTSET)
    experiment(LoggingPlugin()).run()
    assert LOGGER.level == logging.INFO
    assert sink.lines


def test_a_level_that_another_run_was_given_does_not_stay_for_the_next():
    LOGGER.setLevel(logging.NOTSET)
    experiment(LoggingPlugin(log_level="DEBUG")).run()
    experiment(LoggingPlugin()).run()
    assert LOGGER.level == logging.INFO


def test_a_level_that_is_asked_for_wins_over_the_programs():
    LOGGER.setLevel(logging.ERROR)
    experiment(LoggingPlugin(log_level="INFO")).run()
    assert LOGGER.level == logging.INFO


def test_workers_keep_silent_where_the_program_wants_that(capfd):
    LOGGER.setLevel(logging.ERROR)
    experiment(LoggingPlugin(verbose=True), ParallelExecution(2, "process")).run()
    assert "finished in" not in capfd.readouterr().err


def test_a_higher_level_silences_the_lines(sink):
    experiment(LoggingPlugin(log_level="WARNING", verbose=True)).run()
    assert sink.lines == []


@pytest.mark.parametrize("level", ["LOUD", "", "INF0", -1])
def test_an_unknown_level_is_a_value_error_when_the_plugin_is_made(level):
    with pytest.raises(ValidationError, match="log_level"):
        LoggingPlugin(log_level=level)


def test_an_unknown_level_is_answered_with_the_names_that_exist():
    with pytest.raises(ValueError, match=r"'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'.*Did you mean 'WARNING'\?"):
        LoggingPlugin(log_level="WARNNG")


@pytest.mark.parametrize("level", [None, 1.5, True, b"INFO"])
def test_a_level_of_another_type_is_a_type_error(level):
    with pytest.raises(ArgumentTypeError, match="log_level"):
        LoggingPlugin(log_level=level)


def test_verbose_is_true_or_false():
    with pytest.raises(ArgumentTypeError, match="verbose must be True or False"):
        LoggingPlugin(verbose="yes")


# -- where it goes ------------------------------------------------------------------------------------


def test_the_root_logger_is_never_touched():
    with bare_root() as root:
        before = (root.level, logging.root.manager.disable)
        experiment(LoggingPlugin(verbose=True, log_level="DEBUG")).run()
        assert root.handlers == []
        assert (root.level, logging.root.manager.disable) == before


def test_where_nobody_listens_one_handler_writes_to_stderr_however_often_it_runs(capsys):
    made = experiment(LoggingPlugin())
    with bare_root():
        for _ in range(3):
            made.run()
            experiment(LoggingPlugin(verbose=True)).run()
    assert len(LOGGER.handlers) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("Run demo: 1 replicate") == 6


def test_no_handler_is_added_where_somebody_listens_already(sink):
    before = list(LOGGER.handlers)
    for _ in range(3):
        experiment(LoggingPlugin()).run()
    assert LOGGER.handlers == before


def test_its_handler_keeps_silent_once_the_program_configures_logging(capsys):
    with bare_root() as root:
        experiment(LoggingPlugin()).run()
        assert "Run demo" in capsys.readouterr().err
        configured = Sink()
        root.addHandler(configured)
        experiment(LoggingPlugin()).run()
        assert len(configured.lines) == 2
        assert capsys.readouterr().err == ""
        root.removeHandler(configured)
        experiment(LoggingPlugin()).run()
        assert "Run demo" in capsys.readouterr().err


def test_its_handler_writes_to_the_stderr_of_the_moment(capsys, monkeypatch, tmp_path):
    with bare_root(), (tmp_path / "err.txt").open("w+") as elsewhere:
        experiment(LoggingPlugin()).run()
        capsys.readouterr()
        monkeypatch.setattr(sys, "stderr", elsewhere)
        experiment(LoggingPlugin()).run()
        elsewhere.seek(0)
        assert "Run demo" in elsewhere.read()


def test_a_program_without_any_logging_of_its_own_sees_the_lines_once(run_script):
    finished = run_script(
        """
        from crystallize import Experiment, LoggingPlugin, Pipeline, data_source, pipeline_step

        @data_source
        def one(ctx):
            return 1

        @pipeline_step()
        def same(data, ctx):
            ctx.logger.warning("from a step")
            return data, {"m": 1}

        Experiment(one(), Pipeline([same()]), plugins=[LoggingPlugin()], name="x", default_plugins=False).run()
        """
    )
    lines = [line.partition(" ")[2].strip() for line in finished.stderr.splitlines()]
    assert [line.split()[0] for line in lines] == ["INFO", "WARNING", "INFO"], finished.stderr
    assert finished.stdout == ""


# -- as a plugin --------------------------------------------------------------------------------------


def test_it_is_neutral_records_its_own_errors_and_pickles():
    assert LoggingPlugin.neutral is True
    assert LoggingPlugin.on_error == "record"
    plugin = LoggingPlugin(verbose=True, log_level="debug")
    plugin._begun["run", "t", 0] = 1.0
    again = pickle.loads(pickle.dumps(plugin))
    assert (again.verbose, again.log_level, again._begun) == (True, "DEBUG", {})


def test_it_says_the_seed_wherever_it_stands_in_the_list(sink):
    experiment(LoggingPlugin(), SeedPlugin(seed=9)).run()
    assert "seed 9" in sink.lines[0]
