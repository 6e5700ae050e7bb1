"""Plugins that are appended between building an experiment and running it."""

from __future__ import annotations

import pytest

from crystallize import BasePlugin, Experiment, Pipeline, data_source
from crystallize.errors import ArgumentTypeError, PluginOrderError


class Ground(BasePlugin):
    neutral = True


class Upper(BasePlugin):
    neutral = True
    requires = (Ground,)


@data_source
def one(ctx):
    return 1


def _experiment(**settings):
    return Experiment(one(), Pipeline([abs]), **{"default_plugins": False, **settings})


def test_what_a_plugin_requires_may_be_appended_until_the_run():
    experiment = _experiment(plugins=[Upper()])
    experiment.plugins.append(Ground())
    assert not experiment.run().errors
    assert experiment.plugin_order() == ["Ground", "Upper"]


def test_what_a_plugin_requires_must_be_there_at_the_run():
    with pytest.raises(PluginOrderError, match=r"Upper.*requires the plugin 'Ground'"):
        _experiment(plugins=[Upper()]).run()


def test_the_defaults_to_keep_are_a_list():
    with pytest.raises(ArgumentTypeError, match="default_plugins"):
        _experiment(default_plugins="seed")
