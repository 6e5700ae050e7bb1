"""Small helpers for plugins: checks of arguments, names, plain data, identities, statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize._lazy import facade

if TYPE_CHECKING:
    from crystallize.checks import (
        check_callable,
        check_choice,
        check_count,
        check_flag,
        check_integer,
        check_mapping,
        check_seconds,
    )
    from crystallize.context.isolation import isolate
    from crystallize.design.verdicts import adjust, shown_probability
    from crystallize.engine.streams import occupy_standard_descriptors
    from crystallize.fingerprint import Identity, code_of, combine, identify, value_of
    from crystallize.hooks.declared_settings import settings_schema
    from crystallize.hooks.settings import arguments_of
    from crystallize.names import (
        check_distinct,
        check_file_name,
        check_name,
        counted,
        did_you_mean,
        folder_name,
        fresh_id,
        printable,
    )
    from crystallize.results.comparison import ComparisonRow, compare
    from crystallize.results.description import describe
    from crystallize.results.export import dump_json, to_plain, write_atomically
    from crystallize.results.samples import as_number
    from crystallize.results.secrets import MASK, looks_secret, mask_secrets, mask_text
    from crystallize.results.statistics import confidence_interval, mean, standard_error
    from crystallize.results.summary import comparison_table, still_allowed
    from crystallize.results.tables import metric_parts
    from crystallize.results.text_table import aligned, one_line

__all__ = [
    "MASK",
    "ComparisonRow",
    "Identity",
    "adjust",
    "aligned",
    "arguments_of",
    "as_number",
    "check_callable",
    "check_choice",
    "check_count",
    "check_distinct",
    "check_file_name",
    "check_flag",
    "check_integer",
    "check_mapping",
    "check_name",
    "check_seconds",
    "code_of",
    "combine",
    "compare",
    "comparison_table",
    "confidence_interval",
    "counted",
    "describe",
    "did_you_mean",
    "dump_json",
    "folder_name",
    "fresh_id",
    "identify",
    "isolate",
    "looks_secret",
    "mask_secrets",
    "mask_text",
    "mean",
    "metric_parts",
    "occupy_standard_descriptors",
    "one_line",
    "printable",
    "settings_schema",
    "shown_probability",
    "standard_error",
    "still_allowed",
    "to_plain",
    "value_of",
    "write_atomically",
]

if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for one that exists
    __getattr__, __dir__ = facade(
        globals(),
        {
            "checks": "check_callable check_choice check_count check_flag check_integer check_mapping check_seconds",
            "context.isolation": "isolate",
            "design.verdicts": "adjust shown_probability",
            "engine.streams": "occupy_standard_descriptors",
            "fingerprint": "Identity code_of combine identify value_of",
            "hooks.declared_settings": "settings_schema",
            "hooks.settings": "arguments_of",
            "names": "check_distinct check_file_name check_name counted did_you_mean folder_name fresh_id printable",
            "results.comparison": "ComparisonRow compare",
            "results.description": "describe",
            "results.export": "dump_json to_plain write_atomically",
            "results.secrets": "MASK looks_secret mask_secrets mask_text",
            "results.samples": "as_number",
            "results.statistics": "confidence_interval mean standard_error",
            "results.summary": "comparison_table still_allowed",
            "results.tables": "metric_parts",
            "results.text_table": "aligned one_line",
        },
    )
