"""Malformed configurations: each mistake is named with file, line and what to do."""

# ruff: noqa: E501 - with one mistake a line, the table can be read as a table

from __future__ import annotations

from typing import NamedTuple

import pytest

HEAD = "datasource: {data: numbers}\nsteps: [scale, total]\n"


class Case(NamedTuple):
    """One mistake: below HEAD (from line 3 on) or, where it begins with one of its keys, in place of it."""

    text: str
    line: int
    message: str
    advice: str
    file: str = "config.yaml"


CASES = {
    # -- no YAML, or not the YAML of an experiment
    "an empty file": Case("", 1, "the document must be a mapping of keys to values, not nothing", "datasource:"),
    "only comments": Case("# nothing yet\n", 1, "not nothing", "Write keys and values"),
    "a list": Case("- a\n- b\n", 1, "must be a mapping of keys to values, not a list", "Write keys and values"),
    "a text": Case("hello\n", 1, "not the text 'hello'", "Write keys and values"),
    "a tab": Case("datasource:\n\tdata: numbers\n", 2, "this is no YAML", "Indent with spaces"),
    "an open quote": Case('description: "never closed\n', 4, "quoted scalar", "Close the quotes"),
    "an open bracket": Case("plugins: {seed: {}\n", 4, "flow mapping", "Close the bracket"),
    "a colon in a text": Case("description: one: two\n", 3, "mapping values are not allowed", "in quotes"),
    "a key without a colon": Case("replicates 3\nseed: 1\n", 4, "this is no YAML", "Write"),
    "a second document": Case("---\nname: other\n", 3, "a second document begins", "remove the line ---"),
    "a key twice": Case("seed: 1\nreplicates: 2\nseed: 3\n", 5, "'seed' is there twice: the first is in line 3", "Remove"),
    "a treatment twice": Case("treatments:\n  a: {}\n  b: {}\n  a: {}\n", 6, "'a' is there twice", "another name"),
    "a parameter twice": Case("treatments: {a: {x: 1,\n  x: 2}}\n", 4, "'x' is there twice", "Remove one"),
    "a tag of Python": Case("seed: !!python/object/apply:os.getpid []\n", 3, "the tag !!python", "Remove it"),
    "a tag of one's own": Case("description: !secret hush\n", 3, "the tag !secret is refused", "Remove it"),
    "a tag for a type": Case('seed: !!int "7"\n', 3, "the tag !!int is refused", "Remove it"),
    "an unknown anchor": Case("treatments: {a: *absent}\n", 3, "*absent repeats something that has no name", "&absent"),
    "an anchor in itself": Case("treatments: &all\n  a: *all\n", 4, "*all stands inside", "Write the values out"),
    "a merge of a text": Case("treatments: {a: {<<: hello}}\n", 3, "<< merges mappings", "<<: *name"),
    "a mapping as a key": Case("treatments:\n  ? {a: 1}\n  : {}\n", 4, "stands where a key is expected", "in quotes"),
    "a control character": Case("description: a\x07b\n", 3, "'\\x07' cannot stand in YAML", "double quotes"),
    # -- unknown and missing keys
    "an unknown key": Case("replicats: 3\n", 3, "the key 'replicats' is unknown", "Did you mean 'replicates'?"),
    "a key that is far from all": Case("zzz: 3\n", 3, "the key 'zzz' is unknown", "The keys there are: name, "),
    "an unknown key in cli": Case("cli:\n  colour: red\n", 4, "'colour' is unknown in cli", "Did you mean 'color'?"),
    "an unknown key of an output": Case(
        "outputs:\n  t:\n    filename: t.json\n", 5, "'filename' is unknown in outputs.t", "Did you mean 'file_name'?"
    ),
    "an unknown key of a hypothesis": Case(
        "treatments: {a: {}}\nhypotheses:\n  - name: h\n    verifier: above\n    metric: total\n",
        7, "'metric' is unknown in hypotheses.0", "Did you mean 'metrics'?",
    ),
    "no datasource": Case("steps: [total]\n", 1, "the key 'datasource' is missing", "datasource: {data: load_measurements}"),
    "no steps": Case("datasource: {data: numbers}\n", 1, "the key 'steps' is missing", "steps: [clean,"),
    "a hypothesis without a name": Case(
        "treatments: {a: {}}\nhypotheses:\n  - verifier: above\n", 5, "'name' is missing in hypotheses.0", "name: faster"
    ),
    "a hypothesis with another correction": Case(
        "treatments: {a: {}}\nhypotheses:\n  - {name: h, correction: sidak}\n", 5, "correction", "bonferroni"
    ),
    # -- wrong types and values
    "datasource empty": Case("datasource:\nsteps: [total]\n", 1, "datasource must be a mapping", "datasource: {data:"),
    "datasource as text": Case("datasource: numbers\nsteps: [total]\n", 1, "not the text 'numbers'", "{data: load"),
    "datasource as list": Case("datasource:\n  - numbers\nsteps: [total]\n", 2, "must be a mapping of an alias", "{data:"),
    "datasource without one": Case("datasource: {}\nsteps: [total]\n", 1, "not an empty mapping", "{data: load"),
    "a source that is a number": Case("datasource: {data: 3}\nsteps: [total]\n", 1, "not the number 3", '"3"'),
    "steps empty": Case("datasource: {data: numbers}\nsteps:\n", 2, "steps must be a list of steps", "steps: [clean,"),
    "steps without one": Case("datasource: {data: numbers}\nsteps: []\n", 2, "not an empty list", "steps: [clean,"),
    "steps as mapping": Case(
        "datasource: {data: numbers}\nsteps:\n  scale: {factor: 2}\n", 3, "must be a list of steps of steps.py", "[clean,"
    ),
    "a step that is a number": Case("datasource: {data: numbers}\nsteps:\n  - 3\n", 3, "steps.0 must be", '"3"'),
    "a step that is nothing": Case("datasource: {data: numbers}\nsteps:\n  -\n", 3, "not nothing", "`- clean`"),
    "a step with text for parameters": Case(
        "datasource: {data: numbers}\nsteps:\n  - scale: twice\n", 3, "must be a mapping of parameters", "scale: {rate"
    ),
    "parameters beside the step": Case(
        "datasource: {data: numbers}\nsteps:\n  - scale:\n    factor: 2\n", 3, "steps.0 must be the name of a step",
        "Indent the parameters one level further",
    ),
    "replicates 0": Case("replicates: 0\n", 3, "at least 1, not the number 0", "replicates: 30"),
    "replicates -2": Case("replicates: -2\n", 3, "at least 1, not the number -2", "replicates: 30"),
    "replicates 2.7": Case("replicates: 2.7\n", 3, "a whole number of at least 1, not the number 2.7", "30"),
    "replicates 2.0": Case("replicates: 2.0\n", 3, "a whole number of at least 1, not the number 2.0", "Write 2"),
    "replicates 1e3": Case("replicates: 1e3\n", 3, "a whole number of at least 1, not the number 1e3", "Write 1000"),
    "replicates with an underscore": Case("replicates: 1_000\n", 3, "not the text '1_000'", "write 1000"),
    "replicates as text": Case('replicates: "3"\n', 3, "not the text '3'", "replicates: 30"),
    "replicates yes": Case("replicates: yes\n", 3, "not the text 'yes'", "yes is true to some readers"),
    "replicates true": Case("replicates: true\n", 3, "not the truth value true", "replicates: 30"),
    "a seed that is text": Case("seed: abc\n", 3, "seed must be a whole number, not the text 'abc'", "seed: 42"),
    "a seed that is a fraction": Case("seed: 1.5\n", 3, "seed must be a whole number, not the number 1.5", "seed: 42"),
    "an unknown strategy": Case("strategy: resumee\n", 3, "must be 'rerun' or 'resume'", "Did you mean 'resume'?"),
    "a name that is a number": Case("name: 2024\n", 3, "name must be a text, not the number 2024", 'quotes: "2024"'),
    "a name that is a truth value": Case("name: true\n", 3, "name must be a text, not the truth value", '"true"'),
    "a name that leaves its folder": Case("name: ../../x\n", 3, "cannot be the name of the experiment", "without slashes"),
    "a description that is a list": Case("description: [a]\n", 3, "must be a text, not a list", "description: Does"),
    "cli as text": Case("cli: Training\n", 3, "cli must be a mapping", "{group: Training"),
    "hidden as yes": Case("cli: {hidden: yes}\n", 3, "cli.hidden must be true or false", "write true"),
    "a priority that is text": Case("cli:\n  priority: first\n", 4, "must be a number, not the text 'first'", "priority: 1"),
    "retries below 0": Case("retries: -1\n", 3, "at least 0, not the number -1", "retries: 2"),
    "a timeout of 0": Case("timeout: 0\n", 3, "above 0, not the number 0", "timeout: 60"),
    "a timeout with a unit": Case("timeout: 5s\n", 3, "not the text '5s'", "timeout: 60"),
    "treatments as a list": Case("treatments:\n  - fast\n", 4, "must be a mapping of names", "{fast: {rate"),
    "a treatment as text": Case("treatments: {fast: very}\n", 3, "treatments.fast must be a mapping", "fast: {rate"),
    "a treatment of yes": Case(
        "treatments:\n  plain:\n    standardise: no\n", 5, "no is false to some readers of YAML", "Write false, or 'no'"
    ),
    "an octal number": Case("treatments: {a: {mode: 010}}\n", 3, "an octal number to some", "Write 10, or '010'"),
    "a number in groups": Case("treatments: {a: {rows: 1_000}}\n", 3, "a number to some readers", "Write 1000, or"),
    "a binary number": Case("treatments: {a: {mask: 0b11}}\n", 3, "a number to some readers", "Write 3, or '0b11'"),
    "a number as an inner key": Case("treatments: {a: {weights: {1: 2}}}\n", 3, "the key 1 is no text", '"1"'),
    "a reserved key": Case(
        "treatments:\n  a:\n    replicate: 3\n", 5, "the context key 'replicate' is reserved", "Use another name"
    ),
    "a treatment that leaves its folder": Case("treatments:\n  ../x: {}\n", 4, "name of the treatment", "without slashes"),
    "two treatments of one folder": Case("treatments: {Fast: {}, fast: {}}\n", 3, "two treatments are named", "own"),
    "hypotheses as text": Case("hypotheses: above\n", 3, "must be a list of hypotheses", "[{name: faster"),
    "a hypothesis as text": Case("treatments: {a: {}}\nhypotheses:\n  - above\n", 5, "hypotheses.0 must be", "name: faster"),
    "metrics as a number": Case(
        "treatments: {a: {}}\nhypotheses:\n  - {name: h, verifier: above, metrics: 3}\n", 5, "hypotheses.0.metrics", '"3"'
    ),
    "two hypotheses of one name": Case(
        "treatments: {a: {}}\nhypotheses:\n  - {name: h, verifier: above}\n  - {name: h, verifier: simple}\n",
        6, "two hypotheses are called 'h': the first is in line 5", "a name of its own",
    ),
    "hypotheses without treatments": Case(
        "hypotheses:\n  - {name: h, verifier: above}\n", 4, "there is no treatment", "Add the section `treatments:`"
    ),
    # -- names that mean nothing
    "an unknown source": Case("datasource: {data: numbrs}\nsteps: [total]\n", 1, "no data source 'numbrs'", "'numbers'?"),
    "a source that is a constant": Case("datasource: {data: LIMIT}\nsteps: [total]\n", 1, "is no data source", "@data_source"),
    "a source that is a plain function": Case(
        "datasource: {data: bare}\nsteps: [total]\n", 1, "'bare' of datasources.py is no data source", "@data_source"
    ),
    "an unknown parameter of a source": Case(
        "datasource:\n  data:\n    numbers: {up_to: 3}\nsteps: [total]\n", 3, "no parameter 'up_to'", "Did you mean 'upto'?"
    ),
    "a source without what it needs": Case("datasource: {data: needy}\nsteps: [total]\n", 1, "needs the parameter", "rows="),
    "an alias that is no name": Case("datasource: {my data: numbers}\nsteps: [total]\n", 1, "alias", "underscores"),
    "an unknown step": Case("datasource: {data: numbers}\nsteps:\n  - skale\n", 3, "no step 'skale'", "Did you mean 'scale'?"),
    "a step that is a constant": Case("datasource: {data: numbers}\nsteps: [RATE]\n", 2, "is no step but", "@pipeline_step"),
    "a step that is a module": Case("datasource: {data: numbers}\nsteps: [json]\n", 2, "is no step but", "@pipeline_step"),
    "a step with dots": Case("datasource: {data: numbers}\nsteps: [json.dumps]\n", 2, "no step 'json.dumps'", "steps.py has"),
    "a private name": Case("datasource: {data: numbers}\nsteps: [__import__]\n", 2, "no step '__import__'", "steps.py has"),
    "an unknown parameter of a step": Case(
        "datasource: {data: numbers}\nsteps:\n  - scale: {facter: 2}\n", 3, "no parameter 'facter'", "Did you mean 'factor'?"
    ),
    "a step class without what it needs": Case(
        "datasource: {data: numbers}\nsteps: [Shift]\n", 2, "'Shift' raised TypeError", "give the parameters"
    ),
    "an artifact that is no output": Case(
        "datasource: {data: numbers}\nsteps:\n  - publish\noutputs: {tables: {}}\n",
        3, "writes the artifact 'table', which is no output", "Did you mean 'tables'?",
    ),
    "an unknown writer": Case("outputs:\n  t: {writer: to_jsn}\n", 4, "no function 'to_jsn'", "Did you mean 'to_json'?"),
    "a writer that is a constant": Case("outputs:\n  t: {writer: SUFFIX}\n", 4, "is no function but", "writer(value)"),
    "an output that leaves its folder": Case("outputs:\n  t: {file_name: ../t}\n", 4, "path separator", "without slashes"),
    "an absolute output": Case("outputs:\n  t: {file_name: /etc/t}\n", 4, "name of the artifact", "without slashes"),
    "two outputs of one file": Case(
        "outputs:\n  a: {file_name: t.json}\n  b: {file_name: t.json}\n", 4, "two outputs are named", "file_name of its own"
    ),
    "an unknown verifier": Case(
        "treatments: {a: {}}\nhypotheses:\n  - {name: h, verifier: welch_test}\n",
        5, "there is no verifier 'welch_test'", "Did you mean 'welch'?",
    ),
    "an unknown parameter of a verifier": Case(
        "treatments: {a: {}}\nhypotheses:\n  - {name: h, verifier: {above: {margn: 1}}}\n",
        5, "no parameter 'margn'", "Did you mean 'margin'?",
    ),
    "parameters for a plain verifier": Case(
        "treatments: {a: {}}\nhypotheses:\n  - {name: h, verifier: {simple: {x: 1}}}\n", 5, "takes no parameters", "@verifier"
    ),
    "a verifier that is a constant": Case(
        "treatments: {a: {}}\nhypotheses:\n  - {name: h, verifier: LEVEL}\n", 5, "is no verifier but", "(baseline, treatment)"
    ),
    "an unknown ranker": Case(
        "treatments: {a: {}}\nhypotheses:\n  - {name: h, verifier: above, ranker: by_pvalue}\n",
        5, "no ranker 'by_pvalue'", "Did you mean 'by_p_value'?",
    ),
    # -- plugins
    "an unknown plugin": Case("plugins:\n  artifcats: {}\n", 4, "no installed plugin is called", "Did you mean 'artifacts'?"),
    "a plugin set to true": Case("plugins: {logging: true}\n", 3, "plugins.logging must be", "logging: "),
    "a plugin set to text": Case("plugins: {logging: loud}\n", 3, "plugins.logging must be", "logging: "),
    "a plugin that cannot be left out": Case("plugins: {parallel: false}\n", 3, "active only where it is asked", "Remove"),
    "an unknown setting": Case("plugins:\n  logging: {verbos: true}\n", 4, "'logging' cannot be used", "'verbose'?"),
    "a setting of a wrong type": Case("plugins:\n  logging:\n    log_level: INFO\n    verbose: 3\n", 6, "'logging' cannot be used", "'verbose' of plugin"),
    "a setting of an executor of a wrong type": Case("execution:\n  parallel:\n    max_workers: two\n", 5, "'parallel' cannot be used", "a whole number or None"),
    "a setting of a wrong value": Case("plugins:\n  logging: {log_level: LOUD}\n", 4, "log_level", "Change"),
    "an unknown executor": Case("execution: parralel\n", 3, "no installed executor", "Did you mean 'parallel'?"),
    "a plugin that is no executor": Case("execution: seed\n", 3, "'seed' is no executor", "under `plugins:`"),
    "two executors": Case(
        "execution: {serial: {}, parallel: {}}\n", 3, "execution must be the name of an executor", "Indent the parameters"
    ),
    "a setting of an executor": Case("execution:\n  parallel: {max_workers: 0}\n", 4, "at least 1", "Change"),
    "two seeds": Case("seed: 1\nplugins: {seed: {seed: 2}}\n", 3, "the seed is 1 here, and 2 under plugins", "Remove one"),
    "a seed without the plugin": Case("seed: 1\nplugins: {seed: false}\n", 3, "is left out in line 4", "Remove one"),
    # -- other experiments
    "no such experiment": Case("datasource: {t: other#t}\nsteps: [total]\n", 1, "no folder 'other'", "Folders there: none"),
    "an experiment outside": Case("datasource: {t: ../lab#t}\nsteps: [total]\n", 1, "no folder '../lab'", "Folders there"),
    "itself": Case("datasource: {t: lab#t}\nsteps: [total]\n", 1, "in a cycle: lab -> lab", "Remove one"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_mistake_is_named_with_its_place_and_what_to_do(case, write, problems_of):
    whole = case.line == 1 or case.text.startswith(("datasource:", "steps:", "- ", "#", "hello"))
    folder = write(case.text if whole else HEAD + case.text)
    found = problems_of(folder)
    assert len(found) == 1, [str(problem) for problem in found]
    (problem,) = found
    assert (problem.file, problem.line) == (str(folder / case.file), case.line)
    assert case.message in problem.message
    assert case.advice in problem.advice


def test_there_are_enough_of_them():
    assert len(CASES) >= 60
