"""Plain data and strict JSON of anything that a metric or a record may hold."""

from __future__ import annotations

import contextlib
import enum
import math
import os
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.results.secrets import mask_secrets, mask_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.results.metrics import ExperimentMetrics, HypothesisResult

__all__ = ["dump_json", "result_to_dict", "to_plain", "write_atomically", "write_json", "written_atomically"]

_DEEPEST = 100
# Beyond this many bits Python refuses to write an integer in decimal digits.
_LONGEST_INTEGER = 14_000
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def to_plain(value: Any) -> Any:
    """Return what stands for `value` in JSON.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    object
        NaN and infinities as None, NumPy numbers as numbers, arrays (and whatever else has a ``dtype`` and a
        ``tolist``) as nested lists, mappings with text as keys, sequences as lists; anything else as text, which for
        equal sets is equal.

    Examples
    --------
    >>> to_plain({"a": float("nan"), (1, 2): {3}})
    {'a': None, '(1, 2)': '{3}'}
    """
    return _plain(value, ())


def dump_json(value: Any, *, indent: int | None = 2) -> str:
    """Return `value` as JSON by the letter of the standard, whatever it is.

    Parameters
    ----------
    value : object
        Anything; see `to_plain`.
    indent : int or None, default 2
        Spaces per level; None for a single line.
    """
    import json

    return json.dumps(to_plain(value), indent=indent, allow_nan=False)


def write_json(value: Any, path: str | os.PathLike[str] | None = None, *, indent: int | None = 2) -> str:
    """Return `value` as JSON, and write it to `path` if there is one."""
    text = dump_json(value, indent=indent)
    if path is not None:
        write_atomically(path, text + "\n")
    return text


def write_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file that appears whole or not at all; folders on the way are made."""
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextlib.contextmanager
def written_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a file to write, which takes its place at `path` at the end of the block, whole or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def result_to_dict(
    metrics: ExperimentMetrics, errors: Mapping[str, BaseException], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a result's parts as plain data."""
    return {
        "metrics": {
            "baseline": to_plain(metrics.baseline.metrics),
            "treatments": {name: to_plain(condition.metrics) for name, condition in metrics.treatments.items()},
        },
        "hypotheses": [_hypothesis_entry(tested) for tested in metrics.hypotheses],
        "errors": {key: mask_text(str(error)) or type(error).__name__ for key, error in errors.items()},
        "provenance": {name: _fact(name, value) for name, value in provenance.items()},
    }


def _fact(name: str, value: Any) -> Any:
    # What cells and plugins raised is masked where it leaves the process; all other facts were masked before.
    plain = to_plain(value)
    return mask_secrets(plain) if name in {"attempts", "plugin_failures"} else plain


def _hypothesis_entry(tested: HypothesisResult) -> dict[str, Any]:
    return {
        "name": tested.name,
        "metrics": to_plain(tested.metrics),
        "results": to_plain(tested.results),
        "ranking": to_plain(tested.ranking),
        "verdicts": to_plain([dict(verdict) for verdict in tested.verdicts]),
        "comparisons": tested.comparisons,
        "correction": tested.correction,
        "state": tested.state,
        "reason": tested.reason,
        "errors": {
            treatment: mask_text(f"{type(error).__name__}: {error}") for treatment, error in tested.errors.items()
        },
    }


def _plain(value: Any, above: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return _plain_scalar(value)
    if id(value) in above or len(above) >= _DEEPEST:
        # A container that holds itself has no end, and a deep one overflows the writer's stack.
        return f"<{type(value).__name__}>"
    return _plain_compound(value, (*above, id(value)))


def _plain_scalar(value: bool | float | str | None) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # The text itself, also of a member of an enumeration.
        return str.__str__(value.value if isinstance(value, enum.Enum) else value)
    if isinstance(value, int):
        number = int(value)
        return hex(number) if number.bit_length() > _LONGEST_INTEGER else number
    return float(value) if math.isfinite(value) else None


def _plain_compound(value: Any, above: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        return _plain_mapping(value, above)
    if isinstance(value, AbstractSet):
        return f"{{{', '.join(sorted(map(_text, value)))}}}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview, range)):
        return [_plain(item, above) for item in value]
    kind = type(value)
    if hasattr(kind, "dtype") and hasattr(kind, "tolist"):
        try:
            listed = value.tolist()
        except Exception:  # noqa: BLE001 - another library's array may refuse; its text is still something
            return _text(value)
        # A number that Python has no type for, such as a long double, gives itself.
        return _text(value) if type(listed) is kind else _plain(listed, above)
    return _text(value)


def _plain_mapping(value: Mapping[Any, Any], above: tuple[int, ...]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    items = list(value.items())
    texts = {str.__str__(key) for key, _ in items if isinstance(key, str)}
    for key, item in items:
        name = str.__str__(key) if isinstance(key, str) else _text(key)
        while name in plain or (not isinstance(key, str) and name in texts):
            # 1 and "1" are two keys here, and must not become one.
            name += f" ({type(key).__name__})"
        plain[name] = _plain(item, above)
    return plain


def _text(value: Any) -> str:
    """Return text that has no memory address in it and never fails."""
    if isinstance(value, (str, bytes, bytearray)):
        return repr(value)
    try:
        return _ADDRESS.sub("", str(value))
    except Exception:  # noqa: BLE001 - a stranger's __str__ may do anything, and a record must not fail
        return f"<{type(value).__name__}>"
