"""A Ray of this process, one for the session, as a user's program has it."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(scope="session")
def ray():
    import ray

    ray.init(address="local", num_cpus=2, resources={"gadget": 1}, include_dashboard=False, logging_level=logging.ERROR)
    yield ray
    ray.shutdown()
