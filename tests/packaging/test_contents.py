"""What the wheels and the source distributions hold."""

from __future__ import annotations

import email
import tarfile
import zipfile

import pytest

PACKAGES = {
    "crystallize-core": "crystallize",
    "crystallize-plugins": "crystallize_plugins",
    "crystallize-cli": "crystallize_cli",
}


@pytest.fixture(params=sorted(PACKAGES))
def distribution(request):
    return request.param


def wheel_of(built, distribution):
    (path,) = built.glob(distribution.replace("-", "_") + "-*.whl")
    return zipfile.ZipFile(path)


def metadata_of(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_a_wheel_holds_its_package_and_nothing_else(built, distribution):
    with wheel_of(built, distribution) as wheel:
        tops = {name.split("/")[0] for name in wheel.namelist()}
    package = PACKAGES[distribution]
    assert package in tops
    assert all(top == package or top.endswith(".dist-info") for top in tops)


def test_a_wheel_holds_every_module_of_the_source_tree(built, distribution, repository):
    source = repository / distribution / "src"
    expected = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    with wheel_of(built, distribution) as wheel:
        assert expected - set(wheel.namelist()) == set()


def test_the_plugins_bring_the_schema_of_config_yaml(built):
    with wheel_of(built, "crystallize-plugins") as wheel:
        assert b"2020-12" in wheel.read("crystallize_plugins/config/schema.json")


def test_a_wheel_is_typed_and_licensed(built, distribution):
    with wheel_of(built, distribution) as wheel:
        names = wheel.namelist()
        assert f"{PACKAGES[distribution]}/py.typed" in names
        (text,) = (wheel.read(name) for name in names if name.endswith("/licenses/LICENSE"))
        assert text.startswith(b"MIT License")
        assert metadata_of(wheel)["License-Expression"] == "MIT"


def test_a_wheel_is_pure_python(built, distribution):
    (path,) = built.glob(distribution.replace("-", "_") + "-*.whl")
    assert path.name.endswith("-py3-none-any.whl")


def test_the_metadata_says_what_it_is(built, distribution):
    with wheel_of(built, distribution) as wheel:
        metadata = metadata_of(wheel)
    assert metadata["Name"] == distribution
    assert metadata["Summary"]
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().lstrip().startswith(f"# {distribution}")


def test_a_source_distribution_holds_what_a_wheel_is_built_from(built, distribution):
    (path,) = built.glob(distribution.replace("-", "_") + "-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= names
    package = f"src/{PACKAGES[distribution]}/"
    others = {name for name in names if "/" in name and not name.startswith(package)}
    assert others == set()


def test_the_three_have_one_version_and_pin_each_other_exactly(built):
    needs = {}
    for distribution in PACKAGES:
        with wheel_of(built, distribution) as wheel:
            needs[distribution] = metadata_of(wheel)
    versions = {metadata["Version"] for metadata in needs.values()}
    assert len(versions) == 1
    (version,) = versions
    core, with_yaml = f"crystallize-core=={version}", f"crystallize-plugins[yaml]=={version}"
    assert core in needs["crystallize-plugins"].get_all("Requires-Dist")
    assert {core, with_yaml} <= set(needs["crystallize-cli"].get_all("Requires-Dist"))


def test_the_core_needs_two_distributions(built):
    with wheel_of(built, "crystallize-core") as wheel:
        needs = metadata_of(wheel).get_all("Requires-Dist")
    needed = {need.split(";")[0].strip("<>=!~,. 0123456789") for need in needs if "extra ==" not in need}
    assert needed == {"pluggy", "importlib-metadata"}


def test_the_licence_is_the_same_everywhere(repository):
    texts = {(repository / folder / "LICENSE").read_text(encoding="utf-8") for folder in (".", *PACKAGES)}
    assert len(texts) == 1
