"""`SeedPlugin`: a seed for every replicate, the same under every executor and for every condition."""

from __future__ import annotations

import functools
import inspect
import logging
import random
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, RandomnessError
from crystallize.hooks import SeederPlugin
from crystallize.hooks.tools import check_callable, check_flag, check_integer
from crystallize_plugins.seeders import Seeders, installed_seeders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from crystallize import FrozenContext
    from crystallize.hooks import ExperimentView

__all__ = ["SeedPlugin", "seed_global_state"]

# A prime far from any power of two: neighbouring replicates get seeds that have little in common.
_STRIDE = 31337
# NumPy's legacy generator takes 32 bits.
_MODULUS = 2**32

_LOGGER = logging.getLogger("crystallize")


class SeedPlugin(SeederPlugin):
    """Seed every cell before its data is fetched.

    Replicate ``r`` gets ``(seed + r * 31337) % 2**32``, under every executor and for the baseline and all
    treatments alike, so that comparisons can be paired. The seed is in the context as ``seed_used``, and ``ctx.rng``
    is a NumPy generator derived from it, fresh for every step.

    Parameters
    ----------
    seed : int, optional
        The base seed: any integer, of any size and sign. With none, a seed is drawn for each run, logged, and
        recorded with the run, so that it can be repeated.
    auto_seed : bool, default True
        False gives every replicate the base seed itself.
    seed_fn : callable, optional
        ``seed_fn(seed)`` is called with the computed seed in place of the default, which seeds Python's ``random``,
        NumPy's global generator, and those of PyTorch and other libraries where the program has imported them: what the
        entry-point group ``crystallize.seeders`` has a function for.

    Attributes
    ----------
    seeds_global_state : bool
        True: threads and overlapping coroutines share that state, so their draws from it can't be repeated. `ctx.rng`
        is not concerned.
    seen_by_cache : bool
        Whether the step cache sees by itself whatever this plugin does to a step: not where a `seed_fn`, or another
        distribution's seeder, may seed any generator. Then the seed is in the key of every cacheable step.

    Raises
    ------
    ArgumentTypeError
        `seed` is no integer (``True``, ``1.5`` and ``"7"`` are none), or `seed_fn` cannot be called or is an async
        function.

    Examples
    --------
    >>> from crystallize import SeedPlugin
    >>> SeedPlugin(seed=7).seed_for(1)
    31344
    >>> SeedPlugin(seed=7, auto_seed=False).seed_for(1)
    7
    """

    seeds_global_state = True

    def __init__(
        self,
        seed: int | None = None,
        auto_seed: bool = True,
        seed_fn: Callable[[int], Any] | None = None,
    ) -> None:
        self.seed = None if seed is None else check_integer(seed, what="seed")
        self.auto_seed = check_flag(auto_seed, what="auto_seed")
        self.seed_fn = None if seed_fn is None else check_callable(seed_fn, what="seed_fn")
        if inspect.iscoroutinefunction(seed_fn):
            raise ArgumentTypeError(
                f"seed_fn is an async function, {seed_fn.__qualname__}: nobody would await it; seed in a plain function"
            )
        self._found: Seeders | None = None

    @property
    def seen_by_cache(self) -> bool:  # type: ignore[override]
        """Whether this plugin shows only in the context, in ``ctx.rng`` and in the global states that are watched."""
        return self.seed_fn is None and not self._strangers()

    def seed_for(self, replicate: int, base: int | None = None) -> int:
        """Return the seed of a replicate.

        Parameters
        ----------
        replicate : int
            Counted from 0.
        base : int, optional
            The base seed; by default the plugin's own.

        Returns
        -------
        int
            From 0 to ``2**32 - 1``.

        Raises
        ------
        RandomnessError
            There is no base seed.
        """
        base = self.seed if base is None else base
        if base is None:
            raise RandomnessError(
                "no seed has been drawn yet: before_run draws one; give SeedPlugin(seed=...) to have one now"
            )
        return (base + replicate * _STRIDE if self.auto_seed else base) % _MODULUS

    @property
    def _seeders(self) -> Seeders:
        # Looked for in the coordinator: every worker has the same ones, and none has to look.
        if self._found is None:
            self._found = Seeders(installed_seeders())
        return self._found

    def _strangers(self) -> list[str]:
        """Name the seeders of other distributions."""
        return [f"{record.name} of {record.distribution}" for record in self._seeders.records if not record.is_official]

    def before_run(self, experiment: ExperimentView) -> None:
        """Look for the seeders of other libraries."""
        del experiment
        if self.seed_fn is None:
            self._found = Seeders(installed_seeders())

    def base_seed(self, experiment: ExperimentView) -> int | None:
        """Return the plugin's own base seed, else the one that the run adopts."""
        return super().base_seed(experiment) if self.seed is None else self.seed

    def draw_seed(self, experiment: ExperimentView) -> int:
        """Draw a base seed, and say how to repeat the run. It is not kept here: runs may share the plugin."""
        seed = super().draw_seed(experiment)
        _LOGGER.info("no seed was given, %d was drawn: SeedPlugin(seed=%d) repeats this run", seed, seed)
        return seed

    def before_replicate(self, experiment: ExperimentView, ctx: FrozenContext) -> None:
        """Seed one cell."""
        run = experiment.run
        if run.seed_override is not None:
            seed = run.seed_override % _MODULUS
        else:
            seed = self.seed_for(ctx.get("replicate", 0), run.seed)
        if self.seed_fn is None:
            seed_global_state(seed, self._seeders)
        else:
            self._call_seed_fn(self.seed_fn, seed)
        ctx.add("seed_used", seed)
        ctx.set_rng_factory(functools.partial(_generator, seed))

    def __fingerprint__(self) -> object:
        """Return what of the settings makes cells what they are, beside the base seed, given or drawn."""
        strangers = [] if self.seed_fn is not None else self._strangers()
        return (self.auto_seed, self.seed_fn, *strangers)

    def collect_provenance(self, experiment: ExperimentView) -> Mapping[str, Any]:
        """Record what seeds other libraries, where they are imported."""
        del experiment
        return {} if self.seed_fn is not None else {"seeders": self._seeders.described()}

    @staticmethod
    def _call_seed_fn(seed_fn: Callable[[int], Any], seed: int) -> None:
        try:
            seed_fn(seed)
        except Exception as error:
            name = getattr(seed_fn, "__qualname__", None) or type(seed_fn).__qualname__
            raise RandomnessError(
                f"the seed_fn of SeedPlugin, {name}, failed for seed {seed}: {type(error).__name__}: {error}"
            ) from error


def seed_global_state(seed: int, seeders: Seeders | None = None) -> None:
    """Seed ``random``, NumPy and the libraries that have a seeder; what `SeedPlugin` does without a ``seed_fn``.

    Parameters
    ----------
    seed : int
        From 0 to ``2**32 - 1``.
    seeders : Seeders, optional
        By default those that are installed.

    Examples
    --------
    >>> import random
    >>> seed_global_state(1)
    >>> first = random.random()
    >>> seed_global_state(1)
    >>> random.random() == first
    True
    """
    # Before anything is seeded: a step that imported NumPy first would find its cell half seeded.
    seed_numpy = _numpy_seed()
    random.seed(seed)
    seed_numpy(seed)
    (Seeders(installed_seeders()) if seeders is None else seeders).seed(seed)


@functools.cache
def _numpy_seed() -> Callable[[int], None]:
    """Return what seeds NumPy's global generator; an import statement in every cell would take longer than the call."""
    import numpy as np

    return np.random.seed


def _generator(seed: int, position: int) -> np.random.Generator:
    """Make the generator of one place in a cell: position 0 is the data source, then come the steps."""
    import numpy as np

    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(position,)))
