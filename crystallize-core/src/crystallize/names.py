"""Names that are safe as folders and files on every system, and words for names that are not.

A name is checked once, where it enters (`check_name`), and mapped to a folder where one is made
(`folder_name`). The map is the identity for ordinary names, and never gives two names one folder.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING

from crystallize.errors import ArgumentTypeError, DuplicateNameError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "check_distinct",
    "check_file_name",
    "check_name",
    "counted",
    "did_you_mean",
    "folder_name",
    "fresh_id",
    "nearest",
    "printable",
    "step_class_name",
]

# File systems allow 255 bytes; the difference is room for the suffixes of temporary files.
_MAX_BYTES = 200
_SHORTENED_BYTES = 150
_MUST_BE_ENCODED = re.compile(r'[<>:"|?*%]')
# Windows takes these for devices, in any case and with any extension.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)", re.IGNORECASE)
_UNPRINTABLE = {
    "Cc": "a control character",
    "Cs": "half of a surrogate pair",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
# Control characters, C1 among them; what turns the direction of text, or is not seen; line separators; halves of
# surrogate pairs. Joiners are left alone, which some scripts need.
_NOT_SHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_BREAKS = str.maketrans({"\t": "\\t", "\n": "\\n"})
_SHOWN = 80
_WORDS = re.compile(r"[^\W_]+")


def fresh_id() -> str:
    """Return an identifier that nothing else has: 128 random bits as 32 hexadecimal digits.

    It draws from the system, and leaves the state of ``random`` alone.
    """
    return os.urandom(16).hex()


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return text that cannot steer a terminal, or pretend to be other text: such characters as Python escapes them.

    Parameters
    ----------
    text : str
    lines : bool, default False
        Whether to leave tabs and ends of lines, which are escaped otherwise.

    Examples
    --------
    >>> printable("loss\x1b[2J"), printable("a\nb"), printable("a\nb", lines=True)
    ('loss\\x1b[2J', 'a\\nb', 'a\nb')
    """
    if text.isascii() and text.isprintable():
        return text
    escaped = _NOT_SHOWN.sub(lambda found: ascii(found[0])[1:-1], text)
    return escaped if lines else escaped.translate(_BREAKS)


def check_name(name: object, *, what: str) -> str:
    """Return `name` back if it is text that can name a folder, and refuse it otherwise.

    Parameters
    ----------
    name : object
        What was given as a name.
    what : str
        What it names, for the message: ``"experiment"``, ``"treatment"``, …

    Returns
    -------
    str
        `name` itself.

    Raises
    ------
    ArgumentTypeError
        `name` is no text.
    ValidationError
        `name` is empty, longer than 200 bytes of UTF-8, only dots, begins or ends with white space, ends with a
        dot, or holds a path separator or a control character.

    Examples
    --------
    >>> check_name("learning rate 0.1", what="treatment")
    'learning rate 0.1'
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"the name of the {what} must be text, not {type(name).__name__} ({name!r:.60})")
    fault = _fault(name)
    if fault:
        raise ValidationError(
            f"{_shown(name)} cannot be the name of the {what}: {fault}. "
            "Names become folders, so choose one that is plain text without slashes."
        )
    return name


def check_file_name(name: object, *, what: str = "artifact") -> str:
    """Return `name` back if it is one file name that cannot leave its folder, and refuse it otherwise.

    The rules are those of `check_name`.

    Parameters
    ----------
    name : object
        What was given as a file name.
    what : str, default "artifact"
        What it names, for the message.

    Raises
    ------
    ArgumentTypeError, ValidationError
        As `check_name`.

    Examples
    --------
    >>> check_file_name("model.json")
    'model.json'
    """
    return check_name(name, what=what)


def folder_name(name: str) -> str:
    """Map a name to the folder that stands for it on Linux, macOS and Windows alike.

    The map is injective, and the identity for names of ordinary characters. Characters that some system
    refuses are percent-encoded, as is the first letter of a device name; a name that grows beyond 200 bytes by
    that is cut and given a digest.

    Parameters
    ----------
    name : str
        A name; what `check_name` refuses is refused here too.

    Returns
    -------
    str
        One path component of at most 200 bytes of UTF-8.

    Examples
    --------
    >>> folder_name("delta: 50%"), folder_name("plain")
    ('delta%3A 50%25', 'plain')
    """
    check_name(name, what="folder")
    safe = _MUST_BE_ENCODED.sub(lambda found: f"%{ord(found[0]):02X}", name)
    if _DEVICE.match(safe):
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    encoded = safe.encode()
    if len(encoded) <= _MAX_BYTES:
        return safe
    import hashlib

    # "%~" is no percent-encoding, so no other name can give this one.
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{encoded[:_SHORTENED_BYTES].decode(errors='ignore')}%~{digest}"


def check_distinct(names: Iterable[str], *, what: str) -> None:
    """Refuse names that are the same, or that would share a folder on macOS or Windows.

    Parameters
    ----------
    names : iterable of str
        Names to compare.
    what : str
        What they name, in the singular: ``"treatment"``.

    Raises
    ------
    DuplicateNameError
        Two names are equal, or differ only in case or in the way accents are encoded.

    Examples
    --------
    >>> check_distinct(["small", "large"], what="treatment")
    """
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if key in seen:
            other = seen[key]
            why = "" if other == name else f" (beside {_shown(other)}: one folder on macOS and Windows)"
            several = f"{what[:-2]}es" if what.endswith("is") else f"{what}s"
            shown = f"{_shown(name)}{why}"
            raise DuplicateNameError(f"two {several} are named {shown}. Give each {what} a name of its own.")
        seen[key] = name


def counted(number: int, what: str) -> str:
    """Return a number with what it counts, in the singular or the plural.

    Parameters
    ----------
    number : int
    what : str
        A noun in the singular whose plural ends in an s.

    Examples
    --------
    >>> counted(1, "cell"), counted(0, "cell")
    ('1 cell', '0 cells')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return which known name is nearest to a mistaken one, as the end of a message.

    Parameters
    ----------
    name : object
        What was asked for.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str
        ``" Did you mean 'x'?"``, or nothing where no name is near.

    Examples
    --------
    >>> did_you_mean("artifcats", ["artifacts", "seed"])
    " Did you mean 'artifacts'?"
    """
    near = nearest(name, known)
    return "" if near is None else f" Did you mean {near!r}?"


def nearest(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that is nearest to a mistaken one, or None where no name is near."""
    if not isinstance(name, str):
        return None
    import difflib

    names = list(known)
    near = difflib.get_close_matches(name, names, n=1) or [each for each in names if each.lower() == name.lower()]
    return near[0] if near else None


def step_class_name(function_name: str) -> str:
    """Return the class name, and so the folder name, of the step made of a function.

    Parameters
    ----------
    function_name : str
        The function's ``__name__``.

    Returns
    -------
    str
        The words in CamelCase, then ``Step``.

    Examples
    --------
    >>> step_class_name("add_delta"), step_class_name("<lambda>")
    ('AddDeltaStep', 'LambdaStep')
    """
    return "".join(word[0].upper() + word[1:] for word in _WORDS.findall(function_name)) + "Step"


def _fault(name: str) -> str:
    """Return what is wrong with a name, or nothing."""
    if not name:
        return "it is empty"
    if not name.strip("."):
        return "it consists of dots, which mean a folder of their own"
    plain = name.isascii() and name.isprintable() and "/" not in name and "\\" not in name
    for char in "" if plain else name:
        kind = "a path separator" if char in "/\\" else _UNPRINTABLE.get(unicodedata.category(char))
        if kind:
            return f"it holds {kind} ({char!r})"
    if name != name.strip():
        return "it begins or ends with white space"
    if name.endswith("."):
        return "it ends with a dot, which Windows drops"
    size = len(name.encode())
    return f"it is {size} bytes long, and the limit is {_MAX_BYTES}" if size > _MAX_BYTES else ""


def _shown(name: str) -> str:
    shown = repr(name)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 20]}…{shown[-10:]}"
