"""The terminal UI in a browser of this machine: for whoever has the address, and nobody else."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import shlex
from importlib import import_module
from typing import Any

import click

from crystallize_cli.exits import Failure
from crystallize_cli.tui.asking import program

__all__ = ["serve"]

_HOST = "127.0.0.1"
_COOKIE = "crystallize"
_ELSEWHERE = re.compile(r"<link\b[^>]*https?://(?!127\.0\.0\.1|localhost)[^>]*>")
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self' ws://127.0.0.1:{port} ws://localhost:{port}"
)


def serve(port: int) -> None:
    """Serve the terminal UI of the current folder until Ctrl-C.

    Only this machine is listened to. The address has a token, without which nothing is answered; so is nothing that
    was meant for another host, or that another site's page asks for.

    Parameters
    ----------
    port : int

    Raises
    ------
    Failure
        textual-serve is not installed, or the port is taken.
    """
    try:
        web, server = import_module("aiohttp.web"), import_module("textual_serve.server")
    except ImportError as error:
        raise Failure(
            f"the terminal UI in a browser needs textual-serve ({error}). "
            'Install it: pip install "crystallize-cli[web]"'
        ) from error
    token = secrets.token_urlsafe(24)

    base: Any = server.Server

    class Guarded(base):  # type: ignore[misc] # it is imported when somebody asks for it
        """A server that answers whoever has the token."""

        async def _make_app(self) -> Any:
            app = await super()._make_app()
            app.middlewares.append(_guard(web, port, token))
            return app

        async def on_startup(self, app: Any) -> None:  # noqa: ARG002 - the signature of the library
            click.echo(f"http://{_HOST}:{port}/?token={token}")
            click.echo("Ctrl-C ends it; runs go on", err=True)

        def initialize_logging(self) -> None:
            """Log nothing: the addresses have the token."""

    command = shlex.join(program(["ui"])) if os.name != "nt" else " ".join(program(["ui"]))
    try:
        Guarded(command, host=_HOST, port=port, title="Crystallize").serve()
    except OSError as error:
        raise Failure(f"port {port} cannot be listened to: {error.strerror}. --port takes another") from error


def _guard(web: Any, port: int, token: str) -> Any:
    """Return what refuses whoever has no token, other hosts, and pages of other sites."""
    hosts = {f"{name}:{port}" for name in (_HOST, "localhost")}
    origins = {f"http://{host}" for host in hosts}

    def known(told: str | None) -> bool:
        return told is not None and hmac.compare_digest(told.encode(), token.encode())

    async def guard(request: Any, handler: Any) -> Any:
        if request.host not in hosts or request.headers.get("Origin", f"http://{request.host}") not in origins:
            raise web.HTTPForbidden(text="this address is not served here")
        if not known(request.query.get("token")) and not known(request.cookies.get(_COOKIE)):
            raise web.HTTPForbidden(text="the token is missing: take the address that was printed")
        answer = await handler(request)
        if isinstance(answer, web.Response) and answer.content_type == "text/html":
            # Its own page asks a site elsewhere for a font, and calls this host by one of its names alone.
            answer.text = _ELSEWHERE.sub("", answer.text or "").replace(f"{_HOST}:{port}", request.host)
            answer.headers["Content-Security-Policy"] = _POLICY.format(port=port)
            answer.headers["Referrer-Policy"] = "no-referrer"
            answer.set_cookie(_COOKIE, token, httponly=True, samesite="Strict")
        return answer

    return web.middleware(guard)
