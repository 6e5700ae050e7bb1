"""Numbers as text, and back."""

import json


def to_json(value):
    """Give a value as the bytes of a JSON file."""
    return json.dumps(value).encode()


def from_json(path):
    """Give what a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))
