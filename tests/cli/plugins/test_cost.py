"""`run --account` and `plugins cost`: what the plugins of a run have cost it."""

from __future__ import annotations


def test_the_account_of_a_run_is_shown_with_the_dearest_first(call, file, install):
    source = (
        "import time\nfrom crystallize import BasePlugin\n\n\nclass Slow(BasePlugin):\n    neutral = True\n\n"
        "    def after_step(self, step, data, ctx):\n        time.sleep(0.2)\n"
    )
    install("acme-slow", plugins={"slow": "acme_slow:Slow"}, modules={"acme_slow.py": source})
    done = call("run", "file.py", "-p", "slow", "--account", "--replicates", "2", "--json")
    assert done.code == 0, done.stderr
    assert "plugins that only look took" in done.stderr
    account = done.json["provenance"]["plugin_cost"]
    assert account["slow"].keys() == {"import_ms", "seconds", "share", "hooks"}
    assert account["slow"]["hooks"]["after_step"]["calls"] == 2
    rows = call("plugins", "cost", "totals", "--json").json
    assert [row["name"] for row in rows] == sorted(account, key=lambda name: -account[name]["seconds"])
    assert {"name": "slow", **account["slow"]} in rows
    assert "after_step 2 x" in call("plugins", "cost", "totals").stdout


def test_without_an_account_there_is_nothing_to_show(call, file):
    call("run", "file.py", "--quiet")
    done = call("plugins", "cost", "totals")
    assert (done.code, done.stdout) == (5, "")
    assert "--account" in done.stderr
