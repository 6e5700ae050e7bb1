"""What must not be written down: found by the names that values go by, and by the shapes that tokens have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

__all__ = ["MASK", "is_secret", "looks_secret", "mask_secrets", "mask_text"]

MASK = "***"
"""What stands for the value of a secret."""

_HARMLESS = frozenset({type(None), bool, int, float})
_SHORT = 256
"""Characters of a text that is worth remembering: the same ones are recorded in every run."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_WORDS = frozenset({
    "authorization", "bearer", "cookie", "cookies", "credential", "credentials", "creds", "jwt", "otp", "passcode",
    "passphrase", "passwd", "password", "passwords", "pat", "pwd", "secret", "secrets", "token",
})  # fmt: skip
_PAIRS = frozenset(
    tuple(pair.split())
    for pair in (
        "access key", "account key", "api key", "auth key", "client key", "connection string", "conn str", "db pass",
        "encryption key", "hmac key", "licence key", "license key", "master key", "openai key", "private key",
        "secret key", "service key", "session id", "session key", "shared key", "signing key", "ssh key",
        "storage key", "user pass", "wandb key",
    )
)  # fmt: skip
_RUN_TOGETHER = re.compile(
    "accesskey|accesstoken|apikey|authtoken|clientsecret|connectionstring|credential|passphrase|passwd|password|"
    "privatekey|refreshtoken|secretkey|sessionid|signingkey|sshkey"
)

# Published formats, of those who give tokens out: a prefix of their own, and how long the rest is at least.
_TOKENS = re.compile(
    r"""
    (?<![A-Za-z0-9])(?:
          gh[opusr]_[A-Za-z0-9]{16,} | github_pat_\w{16,}                     # GitHub
        | gl(?:pat|oas|dt|rt|cbt|ptt|ft|imt|agent|soat)-[\w.-]{16,}           # GitLab
        | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}                                # Amazon
        | AIza[\w-]{30,} | ya29\.[\w-]{16,} | GOCSPX-[\w-]{16,}               # Google
        | xox[a-z]-[\w-]{8,} | xapp-[\w-]{8,}                                 # Slack
        | (?:sk|pk|rk)[-_](?:live|test|proj|ant|or|admin|svcacct)[-_][\w-]{8,}
        | sk-[A-Za-z0-9][\w-]{15,} | whsec_\w{16,}
        | eyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)*                                # JSON Web Tokens
        | hf_[A-Za-z0-9]{16,} | gsk_\w{16,} | r8_\w{16,} | nvapi-[\w-]{16,}   # models
        | npm_[A-Za-z0-9]{16,} | pypi-[\w-]{16,} | dckr_pat_[\w-]{16,} | rubygems_\w{16,}
        | SG\.[\w-]{8,}\.[\w-]{8,} | key-[0-9a-f]{32} | [0-9a-f]{32}-us\d{1,2} | (?:SK|AC)[0-9a-f]{32}
        | do[opr]_v1_[0-9a-f]{16,} | dapi[0-9a-f]{32} | hv[sbr]\.[\w-]{16,} | dp\.pt\.\w{16,} | AGE-SECRET-KEY-1\w{16,}
        | shp(?:at|ca|pa|ss)_\w{16,} | sq0[a-z]{3}-[\w-]{16,} | lin_api_\w{16,} | ntn_\w{16,} | glsa_\w{16,}
        | ATATT3[\w=-]{16,} | PMAK-[\w-]{16,} | NRAK-\w{16,} | sntr[ysu]{2}_[\w=-]{16,} | figd_[\w-]{16,}
        | wandb_v1_\w{16,} | pplx-\w{16,} | xai-\w{16,} | tskey-[\w-]{16,} | glc_[\w=]{16,} | pul-[0-9a-f]{40}
        | pscale_(?:tkn|pw|oauth)_[\w.-]{16,} | sbp_[0-9a-f]{16,} | nfp_\w{16,} | fo1_[\w-]{16,}
        | [A-Za-z0-9]{14}\.atlasv1\.[\w=-]{16,}
        | \d{8,10}:AA[\w-]{30,}                                              # Telegram
      )
    """,
    re.VERBOSE,
)
_BEGINNINGS = re.compile("|".join(map(re.escape, (
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat", "gloas", "gldt", "glrt", "glcbt", "glptt", "glft",
    "glimt", "glagent", "glsoat", "AKIA", "ASIA", "ABIA", "ACCA", "AIza", "ya29.", "GOCSPX", "xox", "xapp-",
    "sk-", "sk_", "pk_", "pk-", "rk_", "rk-", "whsec_", "eyJ", "hf_", "gsk_", "r8_", "nvapi-", "npm_", "pypi-", "dckr_",
    "rubygems_",
    "SG.", "key-", "-us", "SK", "AC", "do", "dapi", "hvs.", "hvb.", "hvr.", "dp.pt.", "AGE-", "shp", "sq0", "lin_api",
    "ntn_", "glsa_", "ATATT3", "PMAK-", "NRAK-", "sntr", "figd_", ":AA",
    "wandb_v1_", "pplx-", "xai-", "tskey-", "glc_", "pul-", "pscale_", "sbp_", "nfp_", "fo1_", ".atlasv1.",
))))  # fmt: skip
"""What one of these is in every such token: a line without is passed over in no time."""
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\Z)", re.DOTALL
)
_HOOK = re.compile(r"(hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/\d+/)[\w/-]+")

# Of a URL the password; where there is none, what is too long for a name of a user; and what is signed in its query.
_PASSWORD = re.compile(r"(?<=://)([^/\s:@'\"]*):[^/\s'\"]+(?=@)")
_ONLY_USER = re.compile(r"(?<=https://)[^/\s:@'\"*]{12,}(?=@)|(?<=http://)[^/\s:@'\"*]{12,}(?=@)")
_SIGNED = re.compile(
    r"(?i)([?&;](?:[\w.-]*(?:sig|signature|key|token|secret|password|passwd|pwd|auth|code))=)[^&\s'\"]+"
)

_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie2?)(\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!\s)[^\r\n\"'\\]+"
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)(?=[\w.~+/=-]*\d|[\w.~+/=-]{20})[\w.~+/=-]{6,}")
_NAMED = re.compile(
    r"""
    (?<!\w)(?P<name>[A-Za-z_][\w.-]{0,100})
    (?P<between>
        (?:
            \s{0,5}:\s{0,5}[A-Za-z_][\w.]{0,40}(?:\[[\w., |\[\]]{0,60}\])?(?:\s?\|\s?[\w.]{1,40})?\s{0,5}=  # its type
          | \\{0,8}["']?\]?\s{0,20}(?::=|=>|==|=|:)
        )
        \s{0,20}(?:\((?=[rbfuRBFU]{0,2}\\{0,8}["']))?
      | \\{0,8}["']\s{0,20},\s{0,20}(?=\\{0,8}["'])
    )
    """,
    re.VERBOSE,
)
# A text ends at its quote, unless that is escaped, or with the line.
_VALUE = re.compile(
    r"""
    (?P<prefix>[rbfuRBFU]{0,2})(?P<quote>\\{0,8}(?:\"{3}|\'{3}|["']))
        (?P<quoted>[^\r\n]{0,4096}?)(?:(?<!\\)(?P=quote)|(?=[\r\n]|\Z))
    | (?P<bare>[^\s,;&"'(){}\[\]<>\\]+)(?![\w(\[.])
    """,
    re.VERBOSE,
)
_OPTION = re.compile(r"(?<!\S)(--?(?P<name>[A-Za-z][\w-]{0,100})\s+)(?![-\s])[^\s'\"]+")
_NO_VALUE = frozenset(
    {"", "None", "True", "False", "null", "none", "true", "false", "str", "bytes", "int", "Any", MASK, "..."}
)
_WEAK = frozenset({"token", "pat", "otp", "cookie", "cookies", "secret", "secrets", "credential", "credentials"})
"""Words that prose has too: there, what follows them has to look like a value."""

_STEMS = (
    "pass", "pwd", "secret", "token", "cred", "cookie", "auth", "bearer", "jwt", "otp", "pat=", "pat:", "pat ",
    "pat'", 'pat"', "pat\\", "key", "conn", "session",
)  # fmt: skip
"""One of these is in every name that sounds like a secret, in small letters."""
_BEFORE_KEY = re.compile("|".join(first for first, second in sorted(_PAIRS) if second == "key"))


def looks_secret(key: object) -> bool:
    """Return whether a key's name says that its value is a secret.

    Parameters
    ----------
    key : object
        Only text can be the name of a secret.

    Examples
    --------
    >>> looks_secret("openai_api_key"), looks_secret("authToken"), looks_secret("max_tokens")
    (True, True, False)
    """
    return isinstance(key, str) and _sounds_secret(str.__str__(key))


@lru_cache(maxsize=16384)
def _sounds_secret(key: str) -> bool:
    words = [word.lower() for word in _WORD.findall(key)]
    return (
        not _WORDS.isdisjoint(words)
        or any(pair in _PAIRS for pair in pairwise(words))
        or (len(key) <= _SHORT and _RUN_TOGETHER.search("".join(words)) is not None)
    )


def is_secret(key: object, value: object) -> bool:
    """Whether a value is to be masked: of a key that says so, unless nothing is there, or no more than yes or no."""
    if not (_sounds_secret(key) if key.__class__ is str else looks_secret(key)):
        return False
    return not (value is None or isinstance(value, bool) or (isinstance(value, str) and not value))


def mask_text(text: str) -> str:
    """Return text in which secrets are masked.

    Parameters
    ----------
    text : str
        A message, a traceback, code, a difference, an argument of a command line.

    Returns
    -------
    str
        Without passwords and signatures in URLs, headers that authorise, values beside names that sound like a secret
        (see `looks_secret`), private keys, and tokens whose shape is known.

    Examples
    --------
    >>> mask_text("postgres://ada:hunter2@db/x failed; api_key='k1', Authorization: Bearer abc123")
    "postgres://ada:***@db/x failed; api_key='***', Authorization: ***"
    """
    return _remembered(text) if len(text) <= _SHORT else _masked(text)


def mask_secrets(value: Any) -> Any:
    """Return a copy of nested mappings and lists in which secrets are masked.

    Parameters
    ----------
    value : object
        Of mappings the values under secret keys are masked, and texts as `mask_text` does. What is no mapping, list,
        tuple or text is given back as it is.

    Examples
    --------
    >>> mask_secrets({"client": {"api_key": "sk-1", "retries": 3}})
    {'client': {'api_key': '***', 'retries': 3}}
    """
    kind = type(value)
    # What most values are comes first: to ask whether something is a mapping of any kind takes longer than all else.
    if kind is str:
        return _remembered(value) if len(value) <= _SHORT else _masked(value)
    if kind in _HARMLESS:
        return value
    if kind is list or kind is tuple:
        return [mask_secrets(item) for item in value]
    if kind is dict or isinstance(value, Mapping):
        return {key: MASK if is_secret(key, item) else mask_secrets(item) for key, item in value.items()}
    return mask_text(str.__str__(value)) if isinstance(value, str) else value


def _masked(text: str) -> str:
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    return "".join(map(_masked_line, text.splitlines(keepends=True)))


def _masked_line(line: str) -> str:
    if _BEGINNINGS.search(line):
        line = _TOKENS.sub(MASK, line)
    if "://" in line:
        line = _PASSWORD.sub(rf"\1:{MASK}", line)
        line = _ONLY_USER.sub(MASK, line)
        line = _SIGNED.sub(rf"\1{MASK}", line)
        line = _HOOK.sub(rf"\1{MASK}", line)
    small = line.lower()
    stems = [stem for stem in _STEMS if stem in small]
    if not stems or (stems == ["key"] and not _BEFORE_KEY.search(small)):
        return line
    if "bearer" in stems:
        line = _BEARER.sub(rf"\1{MASK}", line)
    if "auth" in stems or "cookie" in stems:
        line = _HEADER.sub(rf"\1\2{MASK}", line)
    if "-" in line:
        line = _OPTION.sub(lambda found: found[1] + MASK if _sounds_secret(found["name"]) else found[0], line)
    return _without_values(line)


_remembered = lru_cache(maxsize=16384)(_masked)


def _without_values(line: str) -> str:
    """Mask the values that stand beside names of secrets."""
    parts, kept, place = [], 0, 0
    while (named := _NAMED.search(line, place)) is not None:
        # What follows a harmless name may be the next one, as in "ValueError: password: ...".
        place = named.end("name")
        value = _VALUE.match(line, named.end()) if _sounds_secret(named["name"]) else None
        if value is not None and _is_worth_masking(named, value):
            start, place = value.span("bare" if value["quoted"] is None else "quoted")
            parts += [line[kept:start], MASK]
            kept = place
    return "".join([*parts, line[kept:]])


def _is_worth_masking(named: re.Match[str], value: re.Match[str]) -> bool:
    bare = value["bare"]
    if (value["quoted"] if bare is None else bare) in _NO_VALUE:
        return False
    is_prose = bare is not None and ":" in named["between"] and named["name"].lower() in _WEAK
    return not is_prose or (len(bare) >= 8 and any(map(str.isdigit, bare)))  # noqa: PLR2004 - as passwords have
