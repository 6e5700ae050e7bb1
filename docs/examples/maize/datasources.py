"""Darwin's maize: heights in inches of 15 pairs of plants, one of each crossed and one self-fertilised (1876)."""

from __future__ import annotations

import csv
from pathlib import Path

from crystallize import data_source

HEIGHTS = Path(__file__).with_name("heights.csv")


@data_source(depends_on=[HEIGHTS])
def maize(ctx):
    with HEIGHTS.open(newline="", encoding="utf-8") as file:
        return [float(row["crossed"]) - float(row["selfed"]) for row in csv.DictReader(file)]
