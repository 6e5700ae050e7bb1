"""Parts of the reference that are generated from the code, so that they cannot fall behind it.

Three directives, for use inside ``{eval-rst}``:

``public-names:: module``
    Everything in the module's ``__all__``, documented from its docstrings.
``hook-table::``
    One row for each hook of ``HookSpecs``: its arguments, and the first line of its docstring.
``config-keys::``
    Every key of config.yaml, from its JSON Schema.
``command-help:: [name ...]``
    What ``crystallize [name ...] --help`` prints.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from pygments.lexers.special import TextLexer
from sphinx.pycode import ModuleAnalyzer

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

PUBLIC_MODULES = (
    "crystallize", "crystallize_plugins.config", "crystallize.errors", "crystallize.hooks",
    "crystallize.hooks.declarations", "crystallize.hooks.tools", "crystallize.results", "crystallize.testing",
)  # fmt: skip
# What the hooks offer, too, and pages about optimisers and stores describe.
ELSEWHERE = frozenset({"OptimizationResult", "Report", "StoredRun", "TrialResult"})


class _Generated(Directive):
    """A directive that writes reStructuredText and has it parsed."""

    def parse(self, lines: list[str]) -> list[nodes.Node]:
        """Parse generated lines where the directive stands."""
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, source="generated"), self.content_offset, container)
        return container.children


class PublicNames(_Generated):
    """Document every name in a module's ``__all__``."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"without": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Give the documentation of each name."""
        module_name = self.arguments[0]
        module = importlib.import_module(module_name)
        without = self.options.get("without", "").split()
        lines: list[str] = []
        for name in module.__all__:
            if name not in without:
                lines += [*entry(module_name, name, getattr(module, name)), ""]
        return self.parse(lines)


def entry(module: str, name: str, value: object) -> list[str]:
    """Give the directive that documents one object."""
    if module.startswith("crystallize.hooks") and (name in ELSEWHERE or name in public_names("crystallize.results")):
        return [f"``{name}`` is described on a page of its own subject."]
    if inspect.isclass(value):
        option = "   :show-inheritance:" if issubclass(value, BaseException) else "   :members:"
        return [f".. autoclass:: {module}.{name}", option]
    if inspect.isroutine(value):
        return [f".. autofunction:: {module}.{name}"]
    # Autodoc looks for the text below a constant only in the module that it is told, not where it is defined.
    text = constant_doc(module, name, value)
    return [f".. py:data:: {module}.{name}", "", *(f"   {line}" for line in text)]


def constant_doc(package: str, name: str, value: object) -> list[str]:
    """Find the text that stands below a constant, in whichever module of a package defines it."""
    for module_name, module in sorted(sys.modules.items()):
        if module_name.startswith(package.partition(".")[0]) and vars(module).get(name) is value:
            text = ModuleAnalyzer.for_module(module_name).find_attr_docs().get(("", name))
            if text is not None:
                return text
    message = f"{package}.{name} has no text below its definition"
    raise LookupError(message)


@cache
def public_names(*modules: str) -> frozenset[str]:
    """Everything that the reference has to describe, or what these modules offer."""
    return frozenset(name for module in modules or PUBLIC_MODULES for name in importlib.import_module(module).__all__)


def forgive(
    _app: Sphinx, _env: BuildEnvironment, node: nodes.Element, content: nodes.TextElement
) -> nodes.TextElement | None:
    """Let references to what is not ours, or not public, stand as text; all others must be found.

    Other projects' pages cannot be asked without network, and signatures name types that nobody has to know.
    """
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    ours = target.startswith("crystallize") and target.rpartition(".")[2] in public_names()
    return None if ours else content


class HookTable(_Generated):
    """List the hooks with their arguments."""

    def run(self) -> list[nodes.Node]:
        """Give a table with one row a hook."""
        specs = importlib.import_module("crystallize.hooks").HookSpecs
        lines = [".. list-table::", "   :header-rows: 1", "", "   * - Hook", "     - Arguments", "     - Purpose"]
        for name, function in vars(specs).items():
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            arguments = list(inspect.signature(function).parameters)[1:]
            summary = (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
            lines += [
                f"   * - :py:meth:`~crystallize.hooks.HookSpecs.{name}`",
                "     - " + ", ".join(f"``{argument}``" for argument in arguments),
                f"     - {summary}",
            ]
        return self.parse(lines)


class ConfigKeys(_Generated):
    """List the keys of config.yaml with what they take."""

    def run(self) -> list[nodes.Node]:
        """Give a table for the top, and one for each section with keys of its own."""
        top = importlib.import_module("crystallize_plugins.config").schema()
        lines = self._table(top)
        for title, rule in (
            ("``cli``", top["properties"]["cli"]),
            ("Each output", top["properties"]["outputs"]["additionalProperties"]),
            ("Each hypothesis", top["properties"]["hypotheses"]["items"]),
        ):
            lines += ["", f"{title} is {rule['x-expected']}:", "", *self._table(rule)]
        return self.parse(lines)

    @staticmethod
    def _table(rule: dict[str, Any]) -> list[str]:
        lines = [".. list-table::", "   :header-rows: 1", "", "   * - Key", "     - Takes", "     - Meaning"]
        for name, key in rule["properties"].items():
            required = " (required)" if name in rule.get("required", ()) else ""
            meaning = key["description"].replace("`", "``")
            lines += [
                f"   * - ``{name}``{required}",
                f"     - {key['x-expected'].replace('`', '``')}",
                f"     - {meaning}",
            ]
        return lines


class CommandHelp(Directive):
    """Show a command's help as a terminal does."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Give the help text as a literal block."""
        command = importlib.import_module("crystallize_cli.main").cli
        settings = {"resilient_parsing": True, "terminal_width": 88}
        context = command.make_context("crystallize", [], **settings)
        for name in " ".join(self.arguments).split():
            command = command.get_command(context, name)
            context = command.make_context(name, [], parent=context, **settings)
        text = command.get_help(context)
        return [nodes.literal_block(text, text, language="text")]


def keep_whole(_app: Sphinx, what: str, _name: str, _value: object, _options: object, lines: list[str]) -> None:
    """Keep Napoleon from taking what stands before a colon, in a property's first line, for its type."""
    if what in {"property", "attribute"}:
        lines[:0] = ["..", ""]


def skip_aliases(_app: Sphinx, _what: str, _name: str, value: object, _skip: object, _options: object) -> bool | None:
    """Leave out the fields of a named tuple that have no text of their own: its signature has them."""
    return True if str(getattr(value, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("public-names", PublicNames)
    app.add_directive("hook-table", HookTable)
    app.add_directive("config-keys", ConfigKeys)
    app.add_directive("command-help", CommandHelp)
    app.connect("missing-reference", forgive)
    app.connect("autodoc-skip-member", skip_aliases)
    app.connect("autodoc-process-docstring", keep_whole, priority=400)  # before Napoleon
    # The block in which a page shows what the code above it printed; tests/docs compares it.
    app.add_lexer("output", TextLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
