"""Verifiers and commands that break a rule fail their kits, with the name of the rule."""

from __future__ import annotations

import random

import click
import pytest

from crystallize.testing import CommandConformance, VerifierConformance

VERIFIERS = {
    "result": lambda baseline, treatment: {"p_value": 1.5},
    "state": lambda baseline, treatment: {"p_value": random.random()},
    "data": lambda baseline, treatment: {"gone": baseline["total"].pop()},
    "errors": lambda baseline, treatment: {"third": baseline["total"][2]},
}


def messages_of(kit, thing):
    instance = kit()
    for name in sorted(name for name in dir(kit) if name.startswith("test_")):
        try:
            getattr(instance, name)(thing)
        except AssertionError as error:
            yield str(error)


@pytest.mark.parametrize("rule", VERIFIERS)
def test_a_bad_verifier_fails_with_its_rule(rule):
    assert any(message.startswith(f"[{rule}] ") for message in messages_of(VerifierConformance, VERIFIERS[rule]))


@click.command()
@click.option("--json", "as_json", is_flag=True)
def chatty(as_json):
    """Write more than JSON."""
    click.echo("here it comes")
    click.echo("{}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("rest", nargs=-1)
@click.option("--json", "as_json", is_flag=True)
def lenient(rest, as_json):
    """Take anything."""
    click.echo("{}")


@click.command()
def silent():
    click.echo("{}")


@pytest.mark.parametrize("command, said", [(chatty, "no JSON"), (lenient, "unknown option"), (silent, "no help")])
def test_a_bad_command_is_told_what_is_wrong(command, said):
    assert any(said in message for message in messages_of(CommandConformance, command))
