"""The sections of config.yaml that name installed plugins: `plugins`, `execution` and `seed`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.errors import CrystallizeError, PluginError, PluginNotFoundError
from crystallize.hooks import build_plugin, find_plugin, find_plugins
from crystallize.names import did_you_mean
from crystallize.plugins.implementations import find_implementations
from crystallize.plugins.metadata import OFFICIAL, RESERVED, normalized
from crystallize_plugins.config.nodes import ScalarNode, value_of

if TYPE_CHECKING:
    from crystallize_plugins.config.document import Document
    from crystallize_plugins.config.problems import Place

__all__ = ["plugins_of"]

_SEED = "seed"
_LOOP = "run_experiment_loop"


def plugins_of(document: Document) -> tuple[list[Any], bool | list[str]]:
    """Make the plugins that config.yaml asks for.

    Returns
    -------
    plugins : list
        Instances, the executor last.
    defaults : bool or list of str
        What an experiment is told of the default plugins.
    """
    wanted: dict[str, tuple[dict[str, Any], Place]] = {}
    left_out: dict[str, Place] = {}
    for name, node in document.section("plugins"):
        if isinstance(node, ScalarNode) and node.value is False:
            if name.text in RESERVED:
                left_out[name.text] = node.place
            else:
                document.problems.add(
                    node.place,
                    f"the plugin {name.text!r} is active only where it is asked for, and cannot be left out",
                    f"{did_you_mean(name.text, RESERVED)} Remove the line: false is for the defaults "
                    f"{', '.join(RESERVED)}".strip(),
                )
        else:
            wanted[name.text] = (value_of(node, document.problems) or {}, name.place)
    _add_seed(document, wanted, left_out)
    plugins = [_built(document, name, settings, place, "plugin") for name, (settings, place) in wanted.items()]
    plugins.append(_executor(document))
    installed = {record.name for record in find_plugins() if normalized(record.distribution) == OFFICIAL}
    kept = [name for name in RESERVED if name in installed and name not in left_out]
    return [plugin for plugin in plugins if plugin is not None], kept if left_out else True


def _add_seed(document: Document, wanted: dict[str, tuple[dict[str, Any], Place]], left_out: dict[str, Place]) -> None:
    seed = document.value("seed")
    if seed is None:
        return
    place = document.place("seed")
    if _SEED in left_out:
        document.problems.add(
            place,
            f"a seed is given, and the plugin that seeds is left out in line {left_out[_SEED].line}",
            "Remove one of the two",
        )
        left_out.pop(_SEED)
    settings, at = wanted.get(_SEED, ({}, place))
    if settings.get("seed", seed) != seed:
        document.problems.add(
            place, f"the seed is {seed} here, and {settings['seed']} under plugins in line {at.line}", "Remove one"
        )
    wanted[_SEED] = ({**settings, "seed": seed}, at)


def _executor(document: Document) -> Any:
    node = document.root.get("execution")
    if node is None or not document.usable("execution"):
        return None
    named = document.named(node)
    plugin = _built(document, named.name, named.params, named.place, "executor")
    if plugin is not None and _LOOP not in _hooks_of(plugin):
        document.problems.add(
            named.place,
            f"the plugin {named.name!r} is no executor: it has no hook {_LOOP}",
            f"Put it under `plugins:`. Executors of crystallize-plugins: {', '.join(_official()) or 'not installed'}",
        )
        return None
    return plugin


def _hooks_of(plugin: Any) -> set[str]:
    return {found.hook for found in find_implementations(plugin)}


def _official() -> list[str]:
    """Name the executors of crystallize-plugins that are installed: of other plugins, names tell nothing."""
    known = ("serial", "parallel", "async")
    return [
        record.name for record in find_plugins() if record.name in known and normalized(record.distribution) == OFFICIAL
    ]


def _built(document: Document, name: str, settings: dict[str, Any], place: Place, what: str) -> Any:
    try:
        find_plugin(name)
        return build_plugin((name, settings))
    except PluginNotFoundError:
        names = [record.name for record in find_plugins()]
        document.problems.add(
            place,
            f"no installed {what} is called {name!r}",
            f"{did_you_mean(name, names)} Installed: {', '.join(names) or 'none'}".strip(),
        )
    except PluginError as error:
        document.problems.add(place, f"the {what} {name!r} cannot be used", str(error), cause=error)
    except CrystallizeError as error:
        document.problems.add(place, f"the {what} {name!r} does not take these settings: {error}", "Change them")
    except Exception as error:  # noqa: BLE001 - a plugin's constructor raises what it likes
        document.problems.add(
            place, f"the {what} {name!r} could not be built: {type(error).__name__}: {error}", "Change its settings"
        )
    return None
