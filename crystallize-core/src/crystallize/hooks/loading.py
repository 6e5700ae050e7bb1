"""Importing what an entry point leads to, with an error that says what is missing and what to type."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

from crystallize.errors import MissingExtraError, PluginConflictError, PluginImportError
from crystallize.hooks.metadata import normalized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.hooks.metadata import PluginRecord

__all__ = ["check_required", "import_error", "load"]

_REQUIREMENT = re.compile(r"\s*(?P<name>[A-Za-z0-9][\w.-]*)[^;]*(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
# Modules whose distribution has another name, of those that plugins are likely to need.
_PROVIDED_BY = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow", "cv2": "opencv-python"}


def check_required(record: PluginRecord) -> None:
    """Refuse an entry point that cannot be used, before anything is imported.

    Raises
    ------
    PluginConflictError
        Its name is taken twice, or reserved.
    PluginImportError
        Its declaration cannot be read.
    MissingExtraError
        It declares extras of its distribution that are not installed.
    """
    if record.problem is not None:
        kind = PluginConflictError if record.module else PluginImportError
        advice = (
            "uninstall one of them"
            if " both " in record.problem
            else f"ask for another version of {record.distribution}"
        )
        raise kind(
            f"plugin {record.name!r} ({record.origin}) cannot be used: {record.problem}. {advice.capitalize()}",
            **_fields(record),
        )
    for extra in record.extras:
        for requirement, marker in _requirements(record):
            # A marker that asks for more than the extra may rule the requirement out on this machine.
            if _EXTRA.fullmatch(marker.strip()) and extra in _EXTRA.findall(marker) and not _is_installed(requirement):
                raise _missing_extra(record, extra, f"{requirement} is not installed")


def load(record: PluginRecord) -> Any:
    """Import what an entry point leads to.

    Raises
    ------
    PluginConflictError, PluginImportError, MissingExtraError
        It cannot be used or imported; the cause is attached.
    """
    check_required(record)
    try:
        found: Any = importlib.import_module(record.module)
    except (Exception, SystemExit) as exc:  # A stranger's module may raise anything while it is imported.
        raise import_error(record, exc) from exc
    for part in record.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise PluginImportError(
                f"plugin {record.name!r} ({record.origin}) cannot be loaded: {record.module} has no "
                f"{record.attribute}. Install another version of {record.distribution}",
                **_fields(record),
            ) from None
        except Exception as exc:
            raise import_error(record, exc) from exc
    return found


def import_error(record: PluginRecord, exc: BaseException) -> PluginImportError | MissingExtraError:
    """Say why a plugin could not be imported, and what to install if that is the reason."""
    if isinstance(exc, MissingExtraError):  # The plugin's own word on what to type.
        return MissingExtraError(f"plugin {record.name!r} ({record.origin}) cannot be used: {exc}", **_fields(record))
    what = f"{type(exc).__name__}: {exc}"
    module = exc.name if isinstance(exc, ModuleNotFoundError) and exc.name else None
    package = module.partition(".")[0] if module else ""
    if not package or package == record.module.partition(".")[0]:
        return PluginImportError(
            f"plugin {record.name!r} ({record.origin}) cannot be imported: {what}. "
            f"Install another version of {record.distribution}, or leave the plugin out",
            **_fields(record),
        )
    wanted = normalized(_PROVIDED_BY.get(package, package))
    markers = [marker for requirement, marker in _requirements(record) if normalized(requirement) == wanted]
    extras = [extra for marker in markers for extra in _EXTRA.findall(marker)]
    if extras and all(_EXTRA.search(marker) for marker in markers):
        return _missing_extra(record, min(extras, key=lambda extra: (extra == "all", extra)), what)
    known = f"pip install {wanted}" if markers else f"install what provides the module {package!r}"
    return PluginImportError(
        f"plugin {record.name!r} ({record.origin}) cannot be imported: {what}. It needs {package!r}: {known}",
        **_fields(record),
    )


def _missing_extra(record: PluginRecord, extra: str, why: str) -> MissingExtraError:
    return MissingExtraError(
        f"plugin {record.name!r} ({record.origin}) needs the extra {extra!r}: {why}. "
        f'Install it: pip install "{record.distribution}[{extra}]"',
        **_fields(record),
    )


def _requirements(record: PluginRecord) -> Iterator[tuple[str, str]]:
    """Give name and marker of everything that the distribution requires."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires(record.distribution) or []
    except PackageNotFoundError:
        return  # Uninstalled since the scan.
    for line in declared:
        match = _REQUIREMENT.fullmatch(line)
        if match is not None:
            yield match["name"], match["marker"] or ""


def _is_installed(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _fields(record: PluginRecord) -> dict[str, str | None]:
    return {"plugin": record.name, "distribution": record.distribution, "version": record.version}
