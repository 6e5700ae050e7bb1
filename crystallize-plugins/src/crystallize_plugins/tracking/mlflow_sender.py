"""What goes to MLflow, in the helper process: a parent run, a child run a condition, nothing twice, all read back."""

from __future__ import annotations

import hashlib
import json
import math
import os
import posixpath
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import DeliveryError
from crystallize_plugins.tracking.records import (
    CellRecord,
    ConditionParams,
    RunRecord,
    cell_record,
    read_spool,
    treatment_params,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crystallize_plugins.tracking.helper import EndOfRun

__all__ = ["Sender", "follow_run", "send_stored", "valid_name"]

_LONGEST_NAME = 250
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_METRICS_AT_ONCE = 1000
_PARAMS_AT_ONCE = 100
_CELLS_AT_ONCE = 5000
_POLL = 0.1
_RETRY = 2.0
_OWN_PARAMS = frozenset({"seed", "replicates"})
_PARENT = "mlflow.parentRunId"
_RUN = "crystallize.run_id"
_CONDITION = "crystallize.condition"
_MOST_NAMED = 20
_QUIET = {
    # Somebody waits for the end of the run: what is not reached is tried again by ourselves.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def valid_name(name: str, taken: frozenset[str] = frozenset()) -> str:
    """Return a name that MLflow takes, another one for every name.

    Parameters
    ----------
    name : str
        Of a metric or a parameter.
    taken : frozenset of str
        Names that are ours.

    Examples
    --------
    >>> valid_name("test/loss"), valid_name("loss (%)")
    ('test/loss', 'loss ___-d4b77b72')
    """
    cleaned = re.sub(r"[^/\w.\- ]", "_", name)
    is_path = posixpath.normpath(name) == name and not name.startswith(("/", "."))
    if cleaned == name and is_path and len(name) <= _LONGEST_NAME and name not in taken:
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{cleaned.replace('/', '_').lstrip('.')[: _LONGEST_NAME - 9]}-{digest}"


class Sender:
    """One run on its way to MLflow.

    Parameters
    ----------
    uri : str or None
        Of the tracking server.
    run : RunRecord
    tags : mapping of str to str
        For the parent run.
    files : bool
        Whether files are sent.
    """

    def __init__(self, uri: str | None, run: RunRecord, tags: Mapping[str, str], *, files: bool) -> None:
        os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        self._run = run
        self._tags = tags
        self._with_files = files
        self._experiment = ""
        self._parent = ""
        self._children: dict[str, _Child] = {}
        self._found: dict[str, str] = {}
        self._known: set[tuple[str, int]] = set()
        self.sent = 0

    def add(self, record: Any) -> None:
        """Take a record in, to be sent by `flush`; of a cell only the first one."""
        if isinstance(record, ConditionParams):
            self._child(record.name).params.update(record.params)
        elif record[:2] not in self._known:
            self._known.add(record[:2])
            self._child(record.condition).add(record, self._run)

    def add_stored(self, folder: str) -> str | None:
        """Take in all cells of a stored run, and return the status that it has; None while it is being written.

        Parameters
        ----------
        folder : str
        """
        from crystallize_plugins.artifacts.reading.stored import StoredRun

        stored = StoredRun(folder)
        for params in _stored_conditions(stored):
            self.add(params)
        for outcome in stored.lazy_outcomes().values():
            files = outcome.artifacts if self._with_files else ()
            self.add(cell_record(outcome, [(file.step, file.name, str(file.path)) for file in files]))
        return {"complete": "FINISHED", "interrupted": "KILLED"}.get(stored.status)

    def flush(self) -> None:
        """Send what has been taken in; what could not be sent stays, and whatever MLflow raises passes through."""
        if not self._parent:
            self._open()
        for name, child in self._children.items():
            if not child.id:
                child.id, child.existed = self._child_run(name)
            child.send(self._client)
        self.sent = sum(child.sent for child in self._children.values())

    def end(self, status: str | None) -> int:
        """Read back what was sent, mark the runs as ended, and return how many values and files were sent.

        Parameters
        ----------
        status : str or None
            Of the run; None where it goes on.

        Raises
        ------
        DeliveryError
            Something did not arrive.
        """
        self.flush()
        gone = sum(child.waiting for child in self._children.values())
        if gone:
            raise DeliveryError(f"{gone} files of the run are not where they were stored")
        lost = {name: count for name, child in self._children.items() if (count := child.missing(self._client))}
        if lost:
            named = ", ".join(f"{count} of {name!r}" for name, count in lost.items())
            raise DeliveryError(f"MLflow took values or files that are not there when they are read back: {named}")
        if status is not None:
            for child in self._children.values():
                failed = status == "FINISHED" and child.cells > 0 and child.cells == len(child.failed)
                self._client.set_terminated(child.id, "FAILED" if failed else status)
            self._client.set_terminated(self._parent, status)
        return self.sent

    def _child(self, name: str) -> _Child:
        return self._children.setdefault(name, _Child())

    def _open(self) -> None:
        """Find the experiment and the runs, or make them."""
        client = self._client
        found = client.get_experiment_by_name(self._run.experiment)
        if found is None:
            try:
                self._experiment = client.create_experiment(self._run.experiment)
            except Exception:
                found = client.get_experiment_by_name(self._run.experiment)
                if found is None:
                    raise  # nobody else has made it meanwhile
        if found is not None:
            self._experiment = found.experiment_id
        for run in self._runs():
            condition = run.data.tags.get(_CONDITION)
            self._found["" if condition is None else f"={condition}"] = run.info.run_id
        self._parent = self._found.get("") or self._create(self._run.name, dict(self._tags))
        self._log_params(self._parent, {})
        for key, value in {**self._tags, "crystallize.replicates": str(self._run.replicates)}.items():
            client.set_tag(self._parent, key, value)

    def _runs(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{_RUN}` = '{self._run.id}'", max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, name: str, tags: dict[str, str]) -> str:
        started = int(self._run.started * 1000)
        run = self._client.create_run(self._experiment, started, {**tags, _RUN: self._run.id}, name)
        return str(run.info.run_id)

    def _child_run(self, name: str) -> tuple[str, bool]:
        found = self._found.get(f"={name}")
        run = found or self._create(name, {_PARENT: self._parent, _CONDITION: name})
        self._log_params(run, self._children[name].params)
        return run, found is not None

    def _log_params(self, run: str, treatment: Mapping[str, Any]) -> None:
        """Log parameters that are not there yet: MLflow changes none."""
        from mlflow.entities import Param

        params = {valid_name(key, _OWN_PARAMS): value for key, value in treatment.items()}
        params["replicates"] = self._run.replicates
        if self._run.seed is not None:
            params["seed"] = self._run.seed
        there = self._client.get_run(run).data.params
        missing = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in params.items() if key not in there]
        for several in _parts(missing, _PARAMS_AT_ONCE):
            self._client.log_batch(run, params=several)


class _Child:
    """A condition's run: what of it is to be sent, and what was."""

    def __init__(self) -> None:
        self.id = ""
        self.existed = False
        self.params: dict[str, Any] = {}
        self.cells = self.sent = 0
        self.failed: list[int] = []
        self._metrics: list[tuple[str, float, int, int]] = []
        self._files: list[tuple[str, str, str | bytes]] = []
        self._not_logged: dict[str, list[int]] = {}
        self._sent: dict[str, Counter[tuple[int, Any]]] = {}
        self._told: dict[str, str] = {}

    def add(self, cell: CellRecord, run: RunRecord) -> None:
        self.cells += 1
        if cell.failed:
            self.failed.append(cell.replicate)
            return
        moment = int((cell.started or run.started) * 1000)
        for name, values in cell.metrics.items():
            key = valid_name(name)
            for index, value in enumerate(values):
                if value is None or math.isinf(value):
                    if cell.replicate not in (listed := self._not_logged.setdefault(name, [])):
                        listed.append(cell.replicate)
                else:
                    # A moment of its own: MLflow takes equal values of one moment for one.
                    self._metrics.append((key, value, moment + index, cell.replicate))
        for step, name, content in cell.files:
            self._files.append((f"replicate_{cell.replicate}/{step}", name, content))

    def send(self, client: Any) -> None:
        from mlflow.entities import Metric

        try:
            if self.existed and self._metrics:
                self._leave_out_what_is_there(client)
            while self._metrics:
                several = self._metrics[:_METRICS_AT_ONCE]
                client.log_batch(self.id, metrics=[Metric(*each) for each in several])
                for key, value, _, step in several:
                    self._sent.setdefault(key, Counter())[step, _comparable(value)] += 1
                del self._metrics[: len(several)]
                self.sent += len(several)
            self._send_files(client)
            tags = {
                "crystallize.not_logged": _listed(self._not_logged),
                "crystallize.failed": ", ".join(map(str, sorted(self.failed)))[:_LONGEST_TAG],
            }
            for key, text in tags.items():
                if text and self._told.get(key) != text:
                    client.set_tag(self.id, key, text)
                    self._told[key] = text
        except Exception:
            self.existed = True  # what was sent last may have arrived, or not
            raise

    def missing(self, client: Any) -> int:
        """Count the values that were sent and are not there."""
        return sum(sum((sent - self._history(client, key)).values()) for key, sent in self._sent.items())

    def _leave_out_what_is_there(self, client: Any) -> None:
        there = {
            key: self._history(client, key) - self._sent.get(key, Counter()) for key in {m[0] for m in self._metrics}
        }
        left = []
        for each in self._metrics:
            point = (each[3], _comparable(each[1]))
            if there[each[0]][point] > 0:
                there[each[0]][point] -= 1
                self._sent.setdefault(each[0], Counter())[point] += 1
            else:
                left.append(each)
        self._metrics = left
        self.existed = any(there.values())

    def _history(self, client: Any, key: str) -> Counter[tuple[int, Any]]:
        return Counter((each.step, _comparable(each.value)) for each in client.get_metric_history(self.id, key))

    def _send_files(self, client: Any) -> None:
        """Send the files that are there, folder by folder, and look whether they have arrived."""
        waiting: list[tuple[str, str, str | bytes]] = []
        folders: dict[str, list[tuple[str, str | bytes]]] = {}
        for folder, name, content in self._files:
            if isinstance(content, str) and not Path(content).is_file():
                waiting.append((folder, name, content))  # the store has it still to write
            else:
                folders.setdefault(folder, []).append((name, content))
        for folder, files in folders.items():
            there = _sizes(client, self.id, folder) if self.existed else {}
            wanted = {}
            with tempfile.TemporaryDirectory(prefix="crystallize-") as scratch:
                for name, content in files:
                    path = Path(content) if isinstance(content, str) else Path(scratch) / name
                    if not isinstance(content, str):
                        path.write_bytes(content)
                    wanted[f"{folder}/{path.name}"] = path.stat().st_size
                    if there.get(f"{folder}/{path.name}") != path.stat().st_size:
                        client.log_artifact(self.id, str(path), folder)
                        self.sent += 1
            arrived = _sizes(client, self.id, folder)
            lost = [name for name, size in wanted.items() if arrived.get(name) != size]
            if lost:
                raise DeliveryError(f"MLflow took files that are not there when they are looked for: {lost[0]}")
            self._files = [each for each in self._files if each[0] != folder or each in waiting]

    @property
    def waiting(self) -> int:
        """How many files are not there to be sent."""
        return len(self._files)


def follow_run(end: EndOfRun, spool: str, uri: str | None, run: RunRecord, tags: Mapping[str, str], files: bool) -> int:
    """Send what comes through a spool until the run ends; what fails is tried again.

    Parameters
    ----------
    end : EndOfRun
    spool : str
        The last record of it is ``(status, folder)``: how the run ended, and the folder of a stored one whose cells
        are all to be there, those that were stored before too.
    uri : str or None
    run : RunRecord
    tags : mapping of str to str
    files : bool

    Returns
    -------
    int
        How many values and files were sent.
    """
    records = read_spool(spool)
    sender = None
    last: tuple[str, str | None] | None = None
    ended = False
    while True:
        try:
            sender = sender or Sender(uri, run, tags, files=files)
            for record in records:
                if record is None:
                    break
                if type(record) is tuple:
                    last = record
                    break
                sender.add(record)
            sender.flush()
            if last is not None:
                status, folder = last
                if folder is not None:
                    sender.add_stored(folder)
                return sender.end(status)
        except Exception:
            if ended:
                raise
            ended = end.wait(_RETRY)
        else:
            ended = end.wait(_POLL)


def send_stored(
    end: EndOfRun, folder: str, uri: str | None, run: RunRecord, tags: Mapping[str, str], files: bool
) -> int:
    """Send what is missing of a stored run; the arguments are those of `follow_run`."""
    del end
    sender = Sender(uri, run, tags, files=files)
    return sender.end(sender.add_stored(folder))


def _stored_conditions(stored: Any) -> Iterator[ConditionParams]:
    from crystallize_plugins.artifacts.recorded import recorded_treatments

    treatments = recorded_treatments(stored._documents)
    conditions = list(stored.result().conditions)
    for record in conditions:
        treatment = treatments.get(record.name)
        known = treatment is not None and not treatment.is_callable
        keys: Sequence[str] | None = [*treatment.values, *treatment.inexact] if known and treatment else None
        yield ConditionParams(record.name, treatment_params(record, conditions[0], keys))


def _sizes(client: Any, run: str, folder: str) -> dict[str, int]:
    return {each.path: each.file_size for each in client.list_artifacts(run, folder)}


def _comparable(value: float) -> Any:
    return "nan" if math.isnan(value) else value


def _listed(not_logged: Mapping[str, Sequence[int]]) -> str:
    """Name what is not logged, and where, as JSON; of many replicates the first ones."""
    if not not_logged:
        return ""
    named: dict[str, list[Any]] = {}
    for name in sorted(not_logged):
        replicates = sorted(not_logged[name])
        named[name] = [*replicates[:_MOST_NAMED], *(["…"] if len(replicates) > _MOST_NAMED else [])]
        if len(json.dumps(named)) > _LONGEST_TAG:
            del named[name]
            break
    return json.dumps(named, ensure_ascii=False)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
