"""`Preregistration`: what is claimed, and how it will be tested, fixed before the experiment runs."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crystallize.design.hypotheses import Hypothesis
from crystallize.design.treatments import Treatment
from crystallize.design.verifiers import BoundVerifier
from crystallize.errors import (
    ConfigurationMissingError,
    CrystallizeError,
    PreregistrationError,
    PreregistrationExistsError,
)
from crystallize.fingerprint import value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PlannedHypothesis", "PlannedTreatment", "Preregistration"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PlannedTreatment:
    """A treatment as a plan has it.

    Attributes
    ----------
    name : str
    own : bool
        Whether it was one of the experiment's own, so that the experiment's is the one that runs.
    values : dict or None
        What it sets, where JSON can hold that and none of it looks like a secret.
    """

    name: str
    own: bool
    values: Any = None

    @classmethod
    def of(cls, treatment: Treatment, *, own: bool, secret: bool) -> PlannedTreatment:
        """Write a treatment down."""
        values = None if treatment.is_callable or secret else _exact(dict(treatment.apply_map))
        return cls(treatment.name, own, values)

    def made(self) -> Treatment | None:
        """Return the treatment, as far as it is known from what was written down."""
        return None if self.values is None else Treatment(self.name, self.values)


@dataclass(frozen=True, slots=True)
class PlannedHypothesis:
    """A hypothesis as a plan has it.

    Attributes
    ----------
    name : str
    own : bool
        Whether it was one of the experiment's own, so that the experiment's is the one that is tested.
    verifier : str
        The verifier's name.
    settings : dict or None
        Its settings, where JSON can hold them.
    metrics : str, list of str, list of lists of str, or None
    correction : str
    ranker : str
        The ranker's name; empty where there is none.
    digest : str
        Of all this, and of the code of verifier and ranker: `Hypothesis.digest`.
    """

    name: str
    own: bool
    verifier: str
    settings: Any
    metrics: Any
    correction: str
    ranker: str
    digest: str

    @classmethod
    def of(cls, hypothesis: Hypothesis, *, own: bool) -> PlannedHypothesis:
        """Write a hypothesis down."""
        verifier, metrics, ranker = hypothesis.verifier, hypothesis.metrics, hypothesis.ranker
        listed = metrics if metrics is None or isinstance(metrics, str) else [*map(_listed, metrics)]
        return cls(
            hypothesis.name,
            own,
            _name_of(verifier),
            _plain(verifier.params) if isinstance(verifier, BoundVerifier) else None,
            listed,
            hypothesis.correction,
            "" if ranker is None else _name_of(ranker),
            hypothesis.digest,
        )

    def made(self) -> Hypothesis | None:
        """Return the hypothesis, where an installed verifier with these settings is the same; else None."""
        if self.settings is None or self.ranker:
            return None
        for settings in (self.settings, {name: _as_tuple(value) for name, value in self.settings.items()}):
            try:
                found = Hypothesis((self.verifier, settings), self.metrics, None, self.name, correction=self.correction)
            except CrystallizeError:
                return None  # none of that name is installed
            if found.digest == self.digest:
                return found
        return None

    def differences(self, hypothesis: Hypothesis) -> str:
        """Say in what a hypothesis is another one than was planned."""
        now = PlannedHypothesis.of(hypothesis, own=self.own)
        names = ("verifier", "settings", "metrics", "correction", "ranker")
        return ", ".join(name for name in names if getattr(self, name) != getattr(now, name)) or "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preregistration:
    """A plan: everything that decides what a run will show, fixed before the run.

    `Experiment.preregister` makes one, and ``Experiment.run(preregistration=...)`` carries it out.

    Attributes
    ----------
    experiment : str
        The experiment's name, or its identity where it has none.
    created : str
        When, in UTC, by ISO 8601.
    seed : int
        The base seed of the run, drawn for it.
    replicates : int
        How many there will be; with `until` the budget.
    until : str or None
        The hypothesis by which the run stops.
    batch : int or None
        The number of replicates between two looks at it.
    hypotheses : tuple of PlannedHypothesis
    treatments : tuple of PlannedTreatment
    identities : mapping of str to mapping of str to str
        What the cells of each condition are made of, by name: digests of code, data and parameters.
    untracked : tuple of str
        What of that cannot be compared.
    given : tuple
        The treatments and hypotheses themselves that were given to `Experiment.preregister`, in the process that did
        so; they are in no file.
    digest : str
        Of everything else in the file: the SHA-256 of that as JSON, keys sorted, nothing between the tokens; 64
        hexadecimal digits.

    Examples
    --------
    >>> plan = experiment.preregister("plan.json", replicates=30)  # doctest: +SKIP
    >>> experiment.run(preregistration=plan).get_hypothesis("faster").state  # doctest: +SKIP
    'valid'
    """

    experiment: str
    created: str
    seed: int
    replicates: int
    until: str | None
    batch: int | None
    hypotheses: tuple[PlannedHypothesis, ...]
    treatments: tuple[PlannedTreatment, ...]
    identities: Mapping[str, Mapping[str, str]]
    untracked: tuple[str, ...] = ()
    given: tuple[Treatment | Hypothesis, ...] = field(default=(), repr=False, compare=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        frozen = {name: MappingProxyType(dict(parts)) for name, parts in self.identities.items()}
        object.__setattr__(self, "identities", MappingProxyType(frozen))
        object.__setattr__(self, "digest", _digest(self._entries()))

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_entries, (self._entries(),)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Preregistration:
        """Read a plan.

        Parameters
        ----------
        path : path
            The file that `Experiment.preregister` wrote.

        Returns
        -------
        Preregistration

        Raises
        ------
        PreregistrationError
            The file is no plan, or was changed since it was written; a `ValueError` too.
        ConfigurationMissingError
            There is no such file; a `FileNotFoundError` too.
        """
        try:
            entries = dict(json.loads(Path(path).read_text(encoding="utf-8")))
            told = entries.pop("digest")
            if entries.pop("format") > _FORMAT:
                raise PreregistrationError(f"{path} was written by a later version of Crystallize: install that")
            plan = _from_entries(entries)
        except FileNotFoundError:
            raise ConfigurationMissingError(f"there is no plan {path}: write one with Experiment.preregister") from None
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            if isinstance(error, PreregistrationError):
                raise
            raise PreregistrationError(
                f"{path} is no plan: {type(error).__name__}: {error}. Write one with Experiment.preregister"
            ) from error
        if told != plan.digest:
            raise PreregistrationError(
                f"{path} was changed since it was written: its digest does not fit what it says. A plan cannot be "
                "changed; make a new one with Experiment.preregister"
            )
        return plan

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the plan as JSON; the file appears whole, and never in place of another.

        Parameters
        ----------
        path : path

        Returns
        -------
        Path

        Raises
        ------
        PreregistrationExistsError
            There is a file of that name already; a `FileExistsError` too.
        """
        target = Path(path)
        text = json.dumps({"format": _FORMAT, **self._entries(), "digest": self.digest}, indent=2) + "\n"
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
        try:
            with temporary.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def _entries(self) -> dict[str, Any]:
        entries = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("given", "digest")}
        entries |= {name: [asdict(each) for each in entries[name]] for name in ("hypotheses", "treatments")}
        entries["identities"] = {name: dict(parts) for name, parts in self.identities.items()}
        entries["untracked"] = list(self.untracked)
        return entries


def _publish(temporary: Path, target: Path) -> None:
    """Give a file its name, unless there is one of that name."""
    try:
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without links: the name is taken first
            target.open("x").close()
            temporary.replace(target)
    except FileExistsError:
        raise PreregistrationExistsError(
            f"{target} exists, and a plan never takes the place of a file: give another path, or move that file away"
        ) from None


def _from_entries(entries: Mapping[str, Any]) -> Preregistration:
    known = dict(entries)
    known["hypotheses"] = tuple(PlannedHypothesis(**each) for each in known["hypotheses"])
    known["treatments"] = tuple(PlannedTreatment(**each) for each in known["treatments"])
    known["untracked"] = tuple(known["untracked"])
    return Preregistration(**known)


def _digest(entries: Mapping[str, Any]) -> str:
    text = json.dumps({"format": _FORMAT, **entries}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _name_of(fn: Any) -> str:
    name: str = getattr(fn, "__name__", type(fn).__name__)
    return name


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back, None where JSON cannot hold it."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return None


def _exact(value: Any) -> Any:
    """Return a value as JSON gives it back, None where that would be another value."""
    plain = _plain(value)
    return plain if plain is not None and value_of(plain) == value_of(value) else None


def _listed(each: Any) -> Any:
    return each if isinstance(each, str) else list(each)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
