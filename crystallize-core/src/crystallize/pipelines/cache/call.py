"""A step's call that looks for the output before it runs the step.

What an entry is for has three parts. What is known beforehand: the step (code, what that refers to, parameters,
version), the parameters that the context supplies, and the input, which goes by its own identity where the step right
before gave it from the cache, or the source said what it depends on, and by content otherwise. What the step then
reads from its context, keys that are not there included. And the values of that. A step is a function of all this, or
it is not kept: what moves the global random state, or changes what it refers to, is not.
"""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.context import process
from crystallize.errors import PrunedError
from crystallize.fingerprint import combine, identify
from crystallize.folders import folder_of, in_folder
from crystallize.pipelines.cache.recording import ABSENT, Lineage, Recording, digest_of_read
from crystallize.pipelines.cache.session import identity_as_seen, unsaid
from crystallize.pipelines.cache.store import Address
from crystallize.pipelines.injection import find_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from crystallize.context.frozen import FrozenContext
    from crystallize.datasources.artifact import Artifact
    from crystallize.datasources.base import DataSource
    from crystallize.fingerprint import Identity
    from crystallize.pipelines.cache.session import CacheSession
    from crystallize.pipelines.injection import Binding
    from crystallize.pipelines.step import PipelineStep

__all__ = ["CachedCall", "Output", "watched_fetch"]

_LOGGER = logging.getLogger("crystallize")
_ANYWHERE = nullcontext()


class Output(NamedTuple):
    """What an entry keeps of a step's run."""

    result: Any
    """What the step returned: data, or data and metrics."""
    reads: tuple[str, ...]
    metrics: tuple[tuple[str, Any, Any], ...]
    """Name, value and tags of each."""
    artifacts: tuple[tuple[str, bytes], ...]
    writes: tuple[tuple[str, Any], ...]
    events: tuple[tuple[str, dict[str, Any]], ...]


class _Known(NamedTuple):
    """What is known before a step runs."""

    step: str
    digest: str


class CachedCall:
    """The call of a cacheable step in one condition; it takes data and context.

    Parameters
    ----------
    session : CacheSession
    step : PipelineStep
    label : str
        Its name in the pipeline.
    position : int
        Counted from 1.
    binding : Binding
        The call that it stands for.
    outputs : mapping
        Declared artifacts, for parameters annotated `Artifact`.
    """

    def __init__(
        self,
        session: CacheSession,
        step: PipelineStep,
        label: str,
        position: int,
        binding: Binding,
        outputs: Mapping[str, Artifact],
    ) -> None:
        self._session = session
        self._step = step
        self._label = label
        self._position = position
        self._binding = binding
        self._artifacts: dict[str, Artifact] = {}
        self._folder = folder_of(step._work_function())
        for parameter in step._open_parameters():
            declared = find_output(parameter.name, outputs) if parameter.is_artifact else None
            if declared is not None:
                self._artifacts[parameter.name] = declared

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        """Return the output from the cache, or run the step and keep what it gives."""
        session = self._session
        lineage, ctx._lineage = ctx._lineage, None
        if session.store is None or ctx._observer is not None or _has_changed_copies(ctx):
            return self._run(data, ctx)
        known = self._known(data, ctx, lineage)
        found = self._find(known, ctx)
        still_holds = None if lineage is None else lineage.still_holds
        if found is None and still_holds is not None and not still_holds():
            still_holds = None
            known = self._known(data, ctx, None)
            found = self._find(known, ctx)
        if known is None:
            return self._run(data, ctx)
        # A plugin may draw from the step's generator after the step, which on a hit would stand where it began.
        if found is not None and (session.chained or "rng" not in found[0].names):
            address, output = found
            self._repeat(output, ctx)
            ctx._lineage = Lineage(self._position, address.text)
            return output.result
        attempt = _Attempt(self, known, ctx, still_holds)
        return _recorded(attempt.recording, lambda: self._run(data, ctx), attempt.keep)

    def _run(self, data: Any, ctx: FrozenContext) -> Any:
        binding = self._binding
        if binding.late is not None and any(name in ctx._own for name in binding.late_names):
            return binding.late(data, ctx)
        return binding.call(data, ctx) if binding.wants_ctx else binding.call(data)

    # -- what an entry is for ---------------------------------------------------------------------

    def _known(self, data: Any, ctx: FrozenContext, lineage: Lineage | None) -> _Known | None:
        """Return what is known beforehand; None where that is not enough to tell two calls apart."""
        try:
            return self._hashed(data, ctx, lineage)
        except Exception:
            _LOGGER.debug("%s is not cached: what it depends on cannot be hashed", self._label, exc_info=True)
            return None

    def _hashed(self, data: Any, ctx: FrozenContext, lineage: Lineage | None) -> _Known | None:
        if lineage is not None and lineage.position == self._position - 1 and self._session.chained:
            origin = f"from {lineage.identity}"
        else:
            found = self._content(data)
            if found.untracked:
                _LOGGER.debug("%s is not cached: its input cannot be compared: %s", self._label, found.untracked)
                return None
            origin = found.digest
        step = self._identity(ctx)
        if step is None:
            return None
        parts = [self._label, step, origin]
        if self._session.plugins:
            parts += [self._session.plugins, *self._read_so_far(ctx)]
        return _Known(step, combine(*parts))

    def _content(self, data: Any) -> Identity:
        return identity_as_seen(data)

    def _identity(self, ctx: FrozenContext) -> str | None:
        """Digest the step with what the context gives for its parameters, as both are now.

        None where it was given something that has no content, so that another one of its kind would look the same.
        """
        step, session = self._step, self._session
        code, params = step._identity_parts()
        added = session.added
        if added is not None:
            untracked = (*code.untracked, *added.untracked)
            code = code._replace(digest=combine(code.digest, added.digest), untracked=untracked)
        found = [params, *step._visible_identities(unsaid)]
        digests = [code.digest, *(part.digest for part in found)]
        for name, artifact in self._artifacts.items():
            digests += [name, identify(artifact).digest]
        for name, keys in self._binding.keys:
            key = ctx._first_held(keys)
            if key is None:
                digests += [name, ABSENT]
            else:
                found.append(session.value(ctx, key, ctx._own.get(key, ctx._base.get(key))))
                digests += [name, found[-1].digest]
        if code.untracked:
            session.tell(
                self._label,
                "the cacheable step %s is not cached: its code refers to what cannot be compared, so a change of it "
                "would not be seen: %s; give the step a version=..., and another one whenever that changes",
                ", ".join(code.untracked),
            )
            return None
        return (
            None if self.has_untracked_input(text for part in found for text in part.untracked) else combine(*digests)
        )

    def has_untracked_input(self, untracked: Iterable[str]) -> bool:
        """Return whether something that the step is given, or looks up, could be another one of its kind; said once."""
        told = dict.fromkeys(untracked)
        if told:
            self._session.tell(
                self._label,
                "the cacheable step %s is not cached: what it is given cannot be compared, so another one would look "
                "the same: %s; let resource_factory make it, give it a method __fingerprint__, or give the step what "
                "it is made from",
                ", ".join(told),
            )
        return bool(told)

    def _read_so_far(self, ctx: FrozenContext) -> list[str]:
        """Digest whatever was read in this cell: what plugins did before the step may go by any of it."""
        names = dict.fromkeys(mark for mark in ctx._journal[1::2] if isinstance(mark, str))
        return [f"{name}={digest_of_read(ctx, f'key {name}', 0, self._session.value)}" for name in names]

    def _find(self, known: _Known | None, ctx: FrozenContext) -> tuple[Address, Output] | None:
        store = self._session.store
        if store is None or known is None:
            return None
        seen: dict[str, str] = {}

        def digest(name: str) -> str:
            if name not in seen:
                seen[name] = digest_of_read(ctx, name, self._position, self._session.value)
            return seen[name]

        try:
            with self._in_folder():
                found = store.find(known.digest, digest, self._label)
            return None if found is None else (found[0], Output(*found[1]))
        except Exception:
            _LOGGER.debug("%s is computed: its entries cannot be looked through", self._label, exc_info=True)
            return None

    def _in_folder(self) -> AbstractContextManager[None]:
        """Have what is pickled name the modules of the step's own folder, where it is of one."""
        return _ANYWHERE if self._folder is None else in_folder(self._folder)

    # -- hits -------------------------------------------------------------------------------------

    def _repeat(self, output: Output, ctx: FrozenContext) -> None:
        """Do what the step did beside giving its output."""
        journal, position = ctx._journal, self._position
        for name in (*self._late(ctx), *output.reads):
            journal.extend((position, name))
        journal.extend((position, True))
        for name, value, tags in output.metrics:
            ctx.metrics.add(name, value, tags)
        for name, data in output.artifacts:
            ctx.artifacts.add(name, data)
        for key, value in output.writes:
            ctx.add(key, value)
        for name, fields in output.events:
            if ctx._send(name, fields) and name == "report":
                raise PrunedError(
                    f"stopped by the optimiser after {fields['name']} = {fields['value']!r} at step {fields['step']}"
                )

    def _late(self, ctx: FrozenContext) -> list[str]:
        """Return the name of the keys that are looked up at the call."""
        held = (ctx._first_held(keys) for _, keys in self._binding.keys)
        return [key for key in held if key is not None and key not in self._binding.reads]


def _recorded(recording: Recording, call: Callable[[], Any], take: Callable[[Any], None]) -> Any:
    """Make a call while it is recorded, and hand what it gives on, at once or once it was awaited."""
    with recording:
        result = call()
    if hasattr(type(result), "__await__"):
        return _awaited(recording, result, take)
    take(result)
    return result


async def _awaited(recording: Recording, result: Any, take: Callable[[Any], None]) -> Any:
    with recording:
        while hasattr(type(result), "__await__"):
            result = await result
    take(result)
    return result


def _has_changed_copies(ctx: FrozenContext) -> bool:
    """Return whether the cell has changed its copy of an object: the context tells of the original alone."""
    for original, own in ctx._copies.objects.values():
        found = identify(own)
        if own is not original and (found.untracked or found.digest != identify(original).digest):
            return True
    return False


class _Attempt:
    """One run of a step whose output may be kept."""

    def __init__(
        self, call: CachedCall, known: _Known, ctx: FrozenContext, still_holds: Callable[[], bool] | None
    ) -> None:
        self.recording = Recording(ctx, call._position, call._session.value)
        self._forks = process.forks
        self._ctx = ctx
        # Of an input that is made while it is used, such as a generator's, this says more once the step has run.
        self._still_holds = still_holds
        self._call = call
        self._known = known
        self._late = len(call._late(ctx))
        self._journal = len(ctx._journal)
        self._order = len(ctx.metrics._order)
        self._files = {} if ctx._artifacts is None else dict(ctx._artifacts._files)

    def keep(self, result: Any) -> None:
        """Store what came out, unless the step says that it would not be the same again."""
        process.leave_if_forked(self._forks)
        call, ctx, session = self._call, self._ctx, self._call._session
        try:
            if not self._may_be_kept():
                return
            reads = self.recording.reads
            names = tuple(sorted(reads))
            address = Address(self._known.digest, names, combine(*(reads[name] for name in names)))
            output = self._output(result)
            if session.store is not None:
                with call._in_folder():
                    session.store.put(address, tuple(output))
                ctx._lineage = Lineage(call._position, address.text)
        except OSError as problem:
            text = f"{problem.strerror or problem} ({problem.filename or 'the cache folder'})"
            session.tell(call._label, "the output of %s cannot be kept in the step cache: %s", text)
        except Exception:
            _LOGGER.debug("the output of %s is not kept: it cannot be stored", call._label, exc_info=True)

    def _may_be_kept(self) -> bool:
        call, session = self._call, self._call._session
        if self.recording.refused:
            _LOGGER.debug("the output of %s is not kept: %s", call._label, self.recording.refused)
            return False
        if self.recording.moved:
            by = "it" if threading.current_thread() is threading.main_thread() else "it, or another thread meanwhile,"
            session.tell(
                call._label,
                "the cacheable step %s is not cached: %s moved the global random state, which a stored output would "
                "leave where it was; draw from ctx.rng instead",
                by,
            )
            return False
        if self._still_holds is not None and not self._still_holds():
            _LOGGER.debug("the output of %s is not kept: its data source changes what it goes by", call._label)
            return False
        changed = self.recording.changed()
        if changed is None and _has_changed_copies(self._ctx):
            changed = "its cell's copy of an object (a generator of random numbers, an estimator)"
        if changed is None and call._identity(self._ctx) != self._known.step:
            changed = "what it refers to (a global, a closure value, an attribute or a parameter)"
        if changed is not None:
            session.tell(
                call._label,
                "the cacheable step %s is not cached: it changes %s, which a stored output would not",
                changed,
            )
            return False
        return not call.has_untracked_input(self.recording.untracked)

    def _output(self, result: Any) -> Output:
        ctx = self._ctx
        marks = ctx._journal[self._journal + 1 :: 2]
        reads = [mark for mark in marks if isinstance(mark, str)]
        files = {} if ctx._artifacts is None else ctx._artifacts._files
        return Output(
            result,
            tuple(dict.fromkeys(reads[self._late :])),
            self._metrics(),
            tuple((file.name, file.data) for key, file in files.items() if self._files.get(key) is not file),
            tuple((mark[0], ctx._own[mark[0]]) for mark in marks if isinstance(mark, tuple)),
            tuple(self.recording.events),
        )

    def _metrics(self) -> tuple[tuple[str, Any, Any], ...]:
        metrics = self._ctx.metrics
        counts: dict[Any, int] = {}
        for name in metrics._order[1 : self._order : 2]:
            counts[name] = counts.get(name, 0) + 1
        found = []
        for name in metrics._order[self._order + 1 :: 2]:
            index = counts[name] = counts.get(name, 0) + 1
            tags = metrics._tags.get(str(name), {}).get(index - 1)
            found.append((str(name), metrics._values[str(name)][index - 1], tags))
        return tuple(found)


def watched_fetch(
    session: CacheSession, source: DataSource, fetch: Callable[[FrozenContext], Any]
) -> Callable[..., Any]:
    """Return a `fetch` that notes the identity of what it gives, where the source says what that depends on.

    Parameters
    ----------
    session : CacheSession
    source : DataSource
    fetch : callable of FrozenContext
        The source's own, or one that stands for it.
    """

    def fetched(ctx: FrozenContext) -> Any:
        if ctx._observer is not None or session.store is None:
            return fetch(ctx)
        attempt = _Fetch(session, source, ctx)
        return _recorded(attempt.recording, lambda: fetch(ctx), attempt.note)

    return fetched


class _Fetch:
    """One fetch of a source that says what its data depends on."""

    def __init__(self, session: CacheSession, source: DataSource, ctx: FrozenContext) -> None:
        self.recording = Recording(ctx, 0, session.value)
        self._session = session
        self._source = source
        self._before = self._identity()

    def note(self, _: Any) -> None:
        recording = self.recording
        recording.ctx._lineage = None
        if self._before is None or recording.moved or recording.refused or recording.untracked:
            return
        reads = [f"{name}={recording.reads[name]}" for name in sorted(recording.reads)]
        recording.ctx._lineage = Lineage(0, combine("source", self._before, *reads), self._still_holds)

    def _still_holds(self) -> bool:
        """Return whether the fetch has changed nothing of what it goes by."""
        return self.recording.changed() is None and self._identity() == self._before

    def _identity(self) -> str | None:
        try:
            return self._session.source_identity(self._source)
        except Exception:
            _LOGGER.debug("what %r depends on cannot be hashed, so its data is", self._source, exc_info=True)
            return None
