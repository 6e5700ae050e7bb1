"""One mistake in each class."""

from __future__ import annotations

from crystallize import BasePlugin, hookimpl


class Misspelt(BasePlugin):
    """A letter too much."""

    def before_replicates(self, ctx):
        ctx.add("never", "reached")


class UnknownArgument(BasePlugin):
    """An argument that the hook does not have."""

    def after_step(self, step, payload):
        print(step, payload)


class First:
    """An order that is asked for in pluggy's way."""

    @hookimpl(tryfirst=True)
    def before_run(self, experiment):
        print(experiment)


def gives_class():
    """Give the class where an instance is meant."""
    return Misspelt


class Awaits(BasePlugin):
    """A hook that nobody would await."""

    async def before_run(self, experiment):
        print(experiment)


class Future(BasePlugin):
    """Made for a contract that does not exist yet."""

    contract = ">=9"


class Lonely(BasePlugin):
    """Requires a plugin that is not there."""

    requires = ("acme-friend",)


class NoPlugin:
    """Has no hooks."""
