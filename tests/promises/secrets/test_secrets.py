"""What must not be written down is in no file of a run, wherever it came from."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap

import pytest
from tests import programs

from crystallize import ArtifactPlugin, Experiment, Pipeline, data_source, pipeline_step
from crystallize.hooks.tools import describe, looks_secret, mask_secrets, mask_text

# Put together here, so that no scanner takes this file for one that holds any.
PARTS = {
    "GitHub": ("ghp_", "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2"),
    "GitHub, fine-grained": ("github_pat_", "11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789abcdefghijklmnopqrstuvw"),
    "GitLab": ("glpat-", "aBcDeFgHiJ1234567890"),
    "Amazon": ("AKIA", "Q3EGRTY7UIOP2ZXC"),
    "Google": ("AIza", "SyA1bC2dE3fG4hI5jK6lM7nO8pQ9rS0tU1v"),
    "Slack": ("xoxb-", "123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx"),
    "OpenAI": ("sk-", "proj-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"),
    "Anthropic": ("sk-", "ant-api03-AbCdEfGhIjKlMnOpQrStUvWxYz"),
    "Stripe": ("sk_", "live_AbCdEfGhIjKlMnOpQrStUvWx"),
    "Hugging Face": ("hf_", "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"),
    "npm": ("npm_", "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"),
    "PyPI": ("pypi-", "AgEIcHlwaS5vcmcCJDAwMDAwMDAwLTAwMDA"),
    "SendGrid": ("SG.", "aBcDeFgHiJkLmNoP.qRsTuVwXyZ0123456789aBcDeFgH"),
    "JWT": ("eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"),
    "Vault": ("hvs.", "CAESIJ1234567890abcdefghijklmnop"),
    "Databricks": ("dapi", "0123456789abcdef0123456789abcdef"),
    "Weights & Biases": ("wandb_v1_", "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"),
    "Perplexity": ("pplx-", "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"),
    "xAI": ("xai-", "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"),
    "Tailscale": ("tskey-", "auth-kAbCdEfGhIjK-LmNoPqRsTuVwXyZ01234"),
    "Grafana": ("glc_", "eyJvIjoiMTIzNDU2Nzg5MCIsIm4iOiJ4In0="),
    "Pulumi": ("pul-", "0123456789abcdef0123456789abcdef01234567"),
    "PlanetScale": ("pscale_", "tkn_AbCdEfGhIjKlMnOpQrStUvWxYz012345"),
    "Supabase": ("sbp_", "0123456789abcdef0123456789abcdef01234567"),
    "Netlify": ("nfp_", "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"),
    "Fly": ("fo1_", "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"),
    "Terraform": ("AbCdEfGhIjKlMn.", "atlasv1.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"),
}
TOKENS = {name: "".join(parts) for name, parts in PARTS.items()}
WORD = "Tr0ub4dor-and-3"
"""A secret without a shape of its own: only what stands beside it tells."""

PHRASES = {
    "URL": f"postgresql://ada:{WORD}@db.example.org:5432/lab",
    "URL with a token for a user": f"https://{WORD}-{WORD}@example.org/x.git",
    "signed URL": f"https://example.org/blob?sv=2024&sig={WORD}&se=5",
    "connection string": f"Server=db;User Id=ada;Password={WORD};Encrypt=yes",
    "storage": f"AccountName=lab;AccountKey={WORD}==;EndpointSuffix=x",
    "header": f"Authorization: Bearer {WORD}",
    "basic header": f"Proxy-Authorization: Basic {WORD}",
    "header of a mapping": f"{{'Authorization': 'token {WORD}', 'Accept': '*'}}",
    "cookie": f"Set-Cookie: session={WORD}; Path=/",
    "bearer in prose": f"refused with bearer {WORD}",
    "keyword": f"connect(user='ada', passphrase='{WORD}')",
    "environment": f"export DB_PASSWORD={WORD}",
    "JSON": f'{{"client_secret": "{WORD}"}}',
    "JSON in JSON": f'"{{\\"api_key\\": \\"{WORD}\\"}}"',
    "YAML": f"password: {WORD}",
    "option": f"tool --ssh-key {WORD} --rate 3",
    "default": f'os.environ.get("API_TOKEN", "{WORD}")',
    "private key": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{WORD}\n-----END OPENSSH PRIVATE KEY-----",
    "PGP key": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{WORD}",
    "annotated": f"PASSWORD: str = '{WORD}'",
    "annotated with a generic type": f"password: Final[str | None] = '{WORD}'",
    "annotated with a union": f'def connect(user: str = "ada", password: str | None = "{WORD}"):',
    "after an annotated name": f"def connect(user: str, password='{WORD}', port=5)",
    "after the name of an error": f"ValueError: password = '{WORD}'",
    "in parentheses": f"password = ('{WORD}')",
    "escaped quote": f'password="a\\"{WORD}"',
    "three quotes": f'password = r"""{WORD}"""',
    "never closed": f"password = '{WORD}",
    "HMAC key": f"hmac_key='{WORD}'",
    "short for credentials": f"creds='{WORD}'",
    "Discord hook": f"https://discord.com/api/webhooks/123456789012345678/{WORD}",
    "Slack hook": f"https://hooks.slack.com/services/T0/B0/{WORD}",
    **{f"token of {name}": f"it said {token}" for name, token in TOKENS.items()},
}  # fmt: skip
NAMES = (
    "api_key", "apikey", "OPENAI_API_KEY", "accessToken", "auth_token", "bearer", "client_secret", "connection_string",
    "cookie", "credentials", "db_password", "dbpassword", "github_pat", "jwt", "passphrase", "passwd", "private_key",
    "pwd", "session_id", "signing_key", "ssh_key", "sshKey", "X-Api-Key", "authorization",
)  # fmt: skip
HARMLESS = (
    "max_tokens", "tokenizer", "n_tokens", "passes", "path", "pattern", "keyboard", "monkey", "author", "key", "keys",
    "primary_key", "authority", "pass_rate", "compass", "options", "session",
)  # fmt: skip
PROSE = (
    "unexpected token 'else' at line 5", "KeyError: 'password'", "token: the", "max_tokens=5, patience: 3",
    "http://localhost:4873/@scope/package", "ssh://git@example.org/x", "basic research", "the key is: sorted",
    "def read(path: str, tokens: list[str]) -> None:", "pattern = re.compile('x')",
    "def read(path: str = 'x', sizes: list[int] = []) -> None:", "password: str", "patch = pattern.match('pat')",
    "task-specific settings of disk-based runs",
    "password = None", "for key, value in items:",
)  # fmt: skip


def is_gone(text):
    return WORD not in text and not any(token in text for token in TOKENS.values())


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_secret_is_masked_in_any_text(phrase):
    masked = mask_text(PHRASES[phrase])
    assert is_gone(masked)
    assert "***" in masked
    assert mask_text(masked) == masked, "what is masked stays as it is"
    assert is_gone(mask_text(f"first line\n  {PHRASES[phrase]}\nlast line"))
    assert is_gone(mask_text(repr(PHRASES[phrase])))


@pytest.mark.parametrize("name", NAMES)
def test_a_value_under_the_name_of_a_secret_is_masked(name):
    assert looks_secret(name)
    assert describe(WORD, key=name) == "***"
    assert mask_secrets({"outer": [{name: WORD}]}) == {"outer": [{name: "***"}]}
    for text in (f"{name}={WORD}", f"{name} = '{WORD}'", f'"{name}": "{WORD}"'):
        assert is_gone(mask_text(text)), text


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_name_is_left_alone(name):
    assert not looks_secret(name)


@pytest.mark.parametrize("text", PROSE)
def test_prose_and_code_without_secrets_are_left_alone(text):
    assert mask_text(text) == text


def test_to_mask_a_text_takes_time_in_proportion_to_it():
    import time

    def seconds(size):
        text = ("a." * size + "key='" * size + "://a:" * size + "password: '" * size) + "\n"
        started = time.process_time()
        mask_text(text)
        return time.process_time() - started

    seconds(100)
    assert seconds(8000) < 40 * max(seconds(1000), 0.001)


PROGRAM = """
    import logging, sys
    from crystallize import (
        ArtifactPlugin, BasePlugin, Experiment, Hypothesis, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step,
    )

    PHRASES = open("phrases.txt").read().split("\\0")
    DEFAULT_PASSWORD = "@@"

    class Client(BasePlugin):
        neutral = True
        on_error = "record"
        def __init__(self, url="", ssh_key="", options=None):
            self.url, self.ssh_key, self.options = url, ssh_key, options
        def after_step(self, step):
            raise RuntimeError(PHRASES[0])
        def collect_provenance(self, experiment):
            return {"client": {"phrases": PHRASES, "cookie": "@@"}}

    @data_source
    def source(ctx, *, connection="postgresql://ada:@@@db/x", api_key="@@"):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx, *, passphrase="@@", settings=None):
        headers = {"Authorization": "Bearer @@"}
        ctx.get("auth_token"), ctx.get("url"), ctx.get("phrase")
        ctx.add("session_id", "@@")
        ctx.add("note", PHRASES[data % len(PHRASES)])
        print(PHRASES[data])
        logging.getLogger("x").warning(PHRASES[data])
        raise ValueError(PHRASES[data])

    @pipeline_step()
    def never(data, ctx):
        return data

    def judge(baseline, treatment):
        raise RuntimeError(PHRASES[1])

    experiment = Experiment(
        source(), Pipeline([work(settings={"db_password": "@@", "rate": 1}), never()]),
        [SeedPlugin(seed=1), ArtifactPlugin("data"), Client(PHRASES[0], "@@", {"jwt": "@@", "list": PHRASES})],
        name="secrets", description=PHRASES[0], replicates=len(PHRASES),
        initial_ctx={"auth_token": "@@", "url": PHRASES[0], "nested": {"pwd": "@@", "texts": PHRASES}},
        treatments=[Treatment("t", {
            "phrase": PHRASES[0], "inner": {"private_key": "@@", "n": 1}, "client_secret": "@@",
        })],
        hypotheses=[Hypothesis(judge, "x", name="h")],
    )
    if __name__ == "__main__":
        experiment.run()
"""


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run with secrets of every kind in every place that is recorded, in a repository with changes."""
    folder = tmp_path_factory.mktemp("secrets")

    def git(*arguments):
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)

    files = ("settings.yaml", ".env", "deep/.env.local", "server.pem", "notes.txt")
    git("init", "-q")
    (folder / "deep").mkdir()
    for name in files:
        (folder / name).write_text("before\n")
    (folder / "phrases.txt").write_text("\0".join(PHRASES.values()))
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM).replace("@@", WORD))
    git("add", "-A")
    git("commit", "-q", "-m", "all")
    (folder / ".env").write_text(f"UNSUSPICIOUS={WORD}\n")
    (folder / "deep" / ".env.local").write_text(f"UNSUSPICIOUS={WORD}\n")
    (folder / "server.pem").write_text(f"{WORD}\n")
    (folder / "settings.yaml").write_text(f"password: {WORD}\nrate: 5\n")
    # Of a key that has no end, all that follows is masked.
    (folder / "notes.txt").write_text("\n".join(text for name, text in PHRASES.items() if name != "PGP key"))
    arguments = ["--api-key", WORD, f"--url={PHRASES['URL']}", f"db.password={WORD}", "-H", PHRASES["header"]]
    done = programs.run([sys.executable, "program.py", *arguments, *TOKENS.values()], cwd=folder, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return folder / "data" / "secrets" / "v0"


def test_no_file_of_a_run_holds_a_secret(run):
    found = {}
    for path in run.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for name, secret in {"word": WORD, **TOKENS}.items():
                place = content.find(secret.encode())
                if place >= 0:
                    found[path.name, name] = content[max(place - 120, 0) : place + 60]
    assert not found


def test_what_is_no_secret_is_still_recorded(run):
    from crystallize_plugins.artifacts import StoredRun

    stored = StoredRun(run)
    result = stored.result()
    facts = result.provenance
    assert len(result.errors) >= 2 * len(PHRASES)
    assert "rate: 5" in facts["git"]["diff"]
    assert ".env" in facts["git"]["changed"], "that it has changed is no secret"
    assert not facts["git"]["diff_complete"]
    assert facts["command"]["argv"][:3] == ["program.py", "--api-key", "***"]
    assert any("def work(" in text for text in facts["code"]["sources"].values())
    assert facts["client"]["cookie"] == "***"


def test_a_masked_run_is_whole_and_can_be_shown(run):
    from crystallize_plugins.runs import diff, verify

    assert verify(run).ok
    assert diff(run, run).of("parameters", "code", "data", "plugins", "packages", "environment", "results") == ()
    assert json.loads((run / "run.json").read_text())["errors"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o027], ids=oct)
def test_files_of_a_run_follow_the_umask(mask, tmp_path):
    @data_source
    def source(ctx):
        return b"1"

    @pipeline_step()
    def write(data, ctx):
        ctx.artifacts.add("a.bin", data)
        return data, {"x": 1}

    before = os.umask(mask)
    try:
        experiment = Experiment(
            source(), Pipeline([write()]), [ArtifactPlugin(tmp_path / "data")], name="e", replicates=2
        )
        experiment.run()
    finally:
        os.umask(before)
    paths = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert {"a.bin", "run.db", "run.json", "results.json"} <= {path.name for path in paths}
    for path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == ((0o777 if path.is_dir() else 0o666) & ~mask), path.name
