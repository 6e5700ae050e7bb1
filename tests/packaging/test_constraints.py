"""The releases that the gate installs: known-good ones of everything, and the oldest that the metadata allow."""

from __future__ import annotations

import sys
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

DISTRIBUTIONS = ("crystallize-core", "crystallize-plugins", "crystallize-cli")
# Tried with known-good releases alone: they ask for newer releases of what others share.
ONLY_KNOWN_GOOD = {
    *("distributed", "ray", "mlflow-skinny", "opentelemetry-api", "fsspec"),
    *("textual", "textual-plot", "textual-serve"),
}


def pinned(path):
    """Read the pins of this interpreter."""
    lines = [Requirement(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        canonicalize_name(each.name): Version(next(iter(each.specifier)).version)
        for each in lines
        if each.marker is None or each.marker.evaluate()
    }


def declared(repository):
    """Give the requirements of the three distributions, extras included, without each other."""
    for name in DISTRIBUTIONS:
        project = tomllib.loads((repository / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for text in chain(project["dependencies"], *project.get("optional-dependencies", {}).values()):
            requirement = Requirement(text)
            here = requirement.marker is None or requirement.marker.evaluate()
            if here and not requirement.name.startswith("crystallize"):
                yield requirement


@pytest.mark.parametrize("file", ["constraints.txt", "oldest.txt"])
def test_the_releases_that_the_gate_installs_are_names_and_versions_alone(repository, file):
    for line in (repository / ".ci" / file).read_text(encoding="utf-8").splitlines():
        requirement = Requirement(line)
        assert requirement.url is None
        assert [each.operator for each in requirement.specifier] == ["=="]


def test_the_known_good_releases_are_such_as_the_metadata_allow(repository):
    good = pinned(repository / ".ci" / "constraints.txt")
    for requirement in declared(repository):
        assert good[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_oldest_releases_are_those_at_which_the_metadata_begin(repository):
    oldest = pinned(repository / ".ci" / "oldest.txt")
    for requirement in declared(repository):
        if requirement.name in ONLY_KNOWN_GOOD:
            continue
        (floor,) = (each.version for each in requirement.specifier if each.operator == ">=")
        found = oldest[canonicalize_name(requirement.name)]
        # A floor such as 1.11 may mean 1.11.1, where no 1.11.0 can be had.
        assert found.release[: len(Version(floor).release)] == Version(floor).release
