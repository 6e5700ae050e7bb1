"""What surrounds a run and may change its numbers: machine, interpreter, packages, git, command line.

| module | its job |
| --- | --- |
| `machine`, `cores` | interpreter, machine, variables of the environment, BLAS and OpenMP |
| `packages` | installed distributions |
| `git` | commit, branch, changes |
| `command` | how the program was started |
| `code` | the code and the data of an experiment |
| `background` | asking for what takes its time without holding up a run |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.environment.command import command_facts
    from crystallize_plugins.environment.git import git_state
    from crystallize_plugins.environment.machine import environment_facts, library_threads
    from crystallize_plugins.environment.packages import installed_packages

__all__ = ["command_facts", "environment_facts", "git_state", "installed_packages", "library_threads"]

__getattr__ = lazily(
    __name__,
    {
        "command_facts": "command",
        "environment_facts": "machine",
        "git_state": "git",
        "installed_packages": "packages",
        "library_threads": "machine",
    },
)
