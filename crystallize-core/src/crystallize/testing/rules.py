"""The rules that a plugin keeps, in one vocabulary for the conformance kit and for the commands that check plugins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["RULES", "Finding"]

RULES: dict[str, str] = {
    # -- what importing its module does
    "import-fails": "Its module can be imported.",
    "import-slow": "Importing it takes less than 0.3 seconds beyond the core; what is heavy is imported in functions.",
    "import-random": "Importing it seeds no global random generator, and draws from none.",
    "import-environ": "Importing it changes no environment variable.",
    "import-cwd": "Importing it does not change the working folder.",
    "import-logging": "Importing it configures neither the root logger nor the logger `crystallize`.",
    "import-warnings": "Importing it changes no filter of warnings.",
    "import-path": "Importing it does not change `sys.path`.",
    "import-thread": "Importing it starts no thread.",
    "import-output": "Importing it prints nothing.",
    # -- what it declares
    "entry-point": "Its entry point leads to what its group is for.",
    "name-taken": "No other installed distribution uses its name.",
    "name-reserved": "Its name is none of those that are reserved to crystallize-plugins.",
    "hook-unknown": "Each method that is meant to be a hook has the name of one.",
    "hook-argument": "Each hook names arguments that its specification has, and only those that it uses.",
    "hook-kind": "Each hook is a plain method: no coroutine, no generator where nothing iterates, no wrapper.",
    "hook-annotation": "The annotations of a hook are true of what it is handed.",
    "declaration": "What it declares about itself is understood: neutral, on_error, relations, events.",
    "contract": "It says with `contract` which versions of the hook contract it works with; this is one of them.",
    "deprecated": "It uses nothing of the contract that is deprecated.",
    "settings": "Its constructor's arguments are its settings: recorded as given, and the same after a run.",
    # -- what it does in a run
    "pickle": "It pickles, and the copy has the same hooks and settings.",
    "random": "A neutral plugin leaves the global random states alone.",
    "data": "A neutral plugin leaves the data between the steps alone.",
    "outcome": "It leaves outcomes as they are: numbers, errors and which cells there are.",
    "result": "It leaves the result as it is.",
    "view": "It leaves the experiment as it is: treatments, hypotheses, replicates, context and plugins.",
    "step": "It leaves the pipeline's steps and their parameters as they are.",
    "state": "It works in a second run, in `apply` and beside failed cells, and gives the same results each time.",
    "order": "It works with other plugins before and after it.",
    "executor": "It works under every executor; an executor runs each cell once and hands out what that gave.",
    "errors": "It raises nothing in an ordinary run, and what it raises is dealt with as it declares.",
    "facts": "What it adds to provenance is JSON under names of its own, of less than a megabyte.",
    # -- what it leaves behind
    "leak-thread": "It ends the threads that it starts.",
    "leak-file": "It closes the files that it opens, and writes nothing outside the folder that it is given.",
    "leak-process": "It ends the processes that it starts.",
    "leak-cwd": "It leaves the working folder as it was.",
    "leak-environ": "It leaves the environment variables as they were.",
    # -- its distribution
    "core-bound": "Its distribution requires crystallize-core, in a range that ends before the next major version.",
    "py-typed": "Its package has a file py.typed, so that type checkers see its annotations.",
}
"""What each rule asks for, by its name. Messages of the conformance kit have the name in square brackets."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a plugin breaks.

    Attributes
    ----------
    rule : str
        A name in `RULES`.
    state : {"problem", "note"}
        A note is about something that works, and should be better.
    text : str
        What is wrong, and what to do about it.
    where : str or None
        The place in the plugin's code, ``"file:line"``, where there is one.
    """

    rule: str
    state: Literal["problem", "note"]
    text: str
    where: str | None = None

    def __str__(self) -> str:
        return f"[{self.rule}] {self.text}" + (f" ({self.where})" if self.where else "")
