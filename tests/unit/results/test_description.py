"""Short descriptions of values, and secrets that stay out of them."""

from __future__ import annotations

import datetime as dt
import functools
import json
import threading
from collections import OrderedDict
from enum import IntEnum
from fractions import Fraction
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.hooks.tools import describe, looks_secret, mask_secrets


class Colour(IntEnum):
    RED = 1


def some_function():
    """Nothing."""


@pytest.mark.parametrize("value", [None, True, 3, 0.5, "text", [], [1, [2]], {"a": {"b": 1}}], ids=repr)
def test_small_plain_values_are_described_by_themselves(value):
    assert describe(value) == value


@pytest.mark.parametrize(
    "value, described",
    [
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        ({(1, 2): "x"}, {"tuple of 2": "x"}),
        (OrderedDict(a=1), {"a": 1}),
        (Colour.RED, 1),
        (b"abc", "bytes of 3"),
        (PurePosixPath("a/b"), "a/b"),
        (dt.date(2024, 5, 1), "2024-05-01"),
        (Fraction(1, 3), "1/3"),
        pytest.param(some_function, "function some_function", id="function"),
        (len, "function len"),
        (Colour, "class Colour"),
        pytest.param(functools.partial(some_function), "partial", id="partial"),
        pytest.param(threading.Event(), "Event", id="event"),
        (np.ones((3, 4)), "ndarray(shape=(3, 4), dtype=float64)"),
        (np.ones(3, dtype="int8"), "ndarray(shape=(3,), dtype=int8)"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(1), True),
        (np.datetime64("2024-05-01"), "2024-05-01"),
        (np.array(3.0), "ndarray(shape=(), dtype=float64)"),
        (list(range(1000)), "list of 1000"),
        (dict.fromkeys(range(1000), 0), "dict of 1000"),
    ],
    ids=str,
)
def test_other_values_are_described_by_what_they_are(value, described):
    assert describe(value) == described
    assert type(describe(value)) is type(described)


def test_long_text_is_cut_and_says_how_long_it_was():
    text = describe("x" * 5000)
    assert len(text) < 300
    assert "5000 characters" in text


def test_deep_nesting_ends():
    nested: list = []
    for _ in range(10_000):
        nested = [nested]
    assert "list of 1" in repr(describe(nested))


def test_a_container_that_holds_itself_can_be_described():
    loop: list = []
    loop.append(loop)
    assert "list of 1" in repr(describe(loop))


def test_nothing_of_a_stranger_is_called():
    class Remote:
        def __getattr__(self, name):
            raise AssertionError(f"asked for {name}")

        def __repr__(self):
            raise AssertionError("asked for its text")

        def __len__(self):
            raise AssertionError("asked for its length")

    assert describe(Remote()) == "Remote"


def test_a_shape_that_cannot_be_had_is_left_out():
    class Lazy:
        @property
        def shape(self):
            raise RuntimeError("not computed yet")

    assert describe(Lazy()) == "Lazy"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.complex_numbers()
    | st.sampled_from([some_function, Colour, np.ones(3), np.float64(1)]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
)


@given(anything)
def test_every_description_can_be_written_down(value):
    json.dumps(describe(value))


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    "key",
    [
        "api_key",
        "apiKey",
        "API_KEY",
        "OPENAI_API_KEY",
        "apikey",
        "token",
        "HF_TOKEN",
        "authToken",
        "db-password",
        "passwd",
        "client_secret",
        "secretKey",
        "aws_secret_access_key",
        "credentials",
        "private_key",
        "passphrase",
    ],
)
def test_names_of_secrets_are_known(key):
    assert looks_secret(key)


@pytest.mark.parametrize(
    "key",
    ["max_tokens", "tokenizer", "n_tokens", "key", "keys", "author", "keyboard", "secretary", "compass", "", "rate"],
)
def test_ordinary_names_are_no_secrets(key):
    assert not looks_secret(key)


@pytest.mark.parametrize("key", [None, 3, ("api_key",)], ids=repr)
def test_only_text_names_a_secret(key):
    assert not looks_secret(key)


def test_a_secret_is_masked_wherever_it_stands():
    assert describe("hunter2", key="password") == "***"
    assert describe({"client": {"api_key": "sk-1", "retries": 3}}) == {"client": {"api_key": "***", "retries": 3}}
    assert describe([{"token": ["a"]}]) == [{"token": "***"}]


def test_whether_a_secret_is_set_at_all_may_be_seen():
    assert describe(None, key="password") is None
    assert describe(value=True, key="use_token") is True


def test_a_password_in_an_address_is_masked():
    assert describe("postgres://me:hunter2@host:5432/db") == "postgres://me:***@host:5432/db"
    assert mask_secrets({"url": "https://me:pw@host/x"}) == {"url": "https://me:***@host/x"}
    assert describe("https://host/a@b") == "https://host/a@b"


def test_masking_keeps_everything_else_and_changes_nothing():
    facts = {"plugins": [{"settings": {"token": "t", "rate": 0.5}}], "pair": (1, {"secret": "s"}), 3: None}
    assert mask_secrets(facts) == {
        "plugins": [{"settings": {"token": "***", "rate": 0.5}}],
        "pair": [1, {"secret": "***"}],
        3: None,
    }
    assert facts["plugins"][0]["settings"]["token"] == "t"
