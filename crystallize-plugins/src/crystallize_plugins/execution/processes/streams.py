"""The standard streams of a worker: ordinary text streams whose content goes to the coordinator, line by line."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize_plugins.execution.processes.messages import Messages

__all__ = ["StreamSettings", "Streams", "stream_settings"]

_NAMES = ("stdout", "stderr")


class StreamSettings(NamedTuple):
    """How a standard stream encodes text, and whether it is the one that the program was started with."""

    encoding: str
    errors: str
    original: bool


def stream_settings() -> dict[str, StreamSettings]:
    """Return those of this process."""
    return {name: _settings(getattr(sys, name), getattr(sys, f"__{name}__")) for name in _NAMES}


def _settings(stream: Any, original: Any) -> StreamSettings:
    encoding, errors = getattr(stream, "encoding", None), getattr(stream, "errors", None)
    if not isinstance(encoding, str) or not isinstance(errors, str):
        # One that keeps text as it is: no text is refused, surrogates neither.
        return StreamSettings("utf-8", "surrogatepass", stream is original)
    return StreamSettings(encoding, errors, stream is original)


class Streams:
    """Puts streams that send on what is written in the places of standard output and error.

    Parameters
    ----------
    messages : Messages
        Where to send it.
    settings : mapping of str to StreamSettings
        Those of the coordinator.
    """

    def __init__(self, messages: Messages, settings: Mapping[str, StreamSettings]) -> None:
        self._senders = [_Sender(messages, name, fd, settings[name]) for fd, name in enumerate(_NAMES, 1)]
        self._ours = [_opened(sender, settings[name]) for sender, name in zip(self._senders, _NAMES, strict=True)]
        sys.stdout, sys.stderr = self._ours
        # The original ones stay what they are, unless they are the same: then what goes to both stays in order.
        self._originals = [
            stream if settings[name].original else _direct(fd)
            for fd, (name, stream) in enumerate(zip(_NAMES, self._ours, strict=True), 1)
        ]
        sys.__stdout__, sys.__stderr__ = self._originals  # type: ignore[misc]  # nobody else would set them

    def disconnect(self) -> None:
        """Have what is written go to the descriptors from now on: this is a process that a step has forked."""
        for sender in self._senders:
            sender.disconnect()

    def flush(self) -> None:
        """Send on what was left unfinished, whatever steps have put in the places of the streams."""
        output, error = self._ours
        if sys.stdout is output and sys.stderr is error and output.write_through and error.write_through:
            if self._senders[0].rest or self._senders[1].rest:
                output.flush()
                error.flush()
            return
        for stream in (sys.stdout, sys.stderr, *self._originals, *self._senders):
            with contextlib.suppress(ValueError, AttributeError, OSError):  # it is closed, or something else
                stream.flush()  # type: ignore[union-attr]  # see above


def _opened(sender: _Sender, settings: StreamSettings) -> io.TextIOWrapper:
    # Text goes to the bytes at once, so that both come in the order in which they were written.
    stream = io.TextIOWrapper(
        sender,  # as under `python -u`, where the buffer is a raw file, too
        encoding=settings.encoding,
        errors=settings.errors,
        newline="\n",
        write_through=True,
    )
    stream.mode = "w"  # type: ignore[misc]  # as that of the interpreter's own
    return stream


def _direct(fd: int) -> io.TextIOWrapper | None:
    # Not the inherited one: what the coordinator has not written yet is not to be written twice.
    try:
        raw = io.FileIO(fd, "w", closefd=False)
    except OSError:  # the program has none
        return None
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


class _Sender(io.RawIOBase):
    """Takes the bytes of a standard stream and sends them on as text, in the coordinator's encoding."""

    def __init__(self, messages: Messages, stream: str, fd: int, settings: StreamSettings) -> None:
        self._messages: Messages | None = messages
        self._stream = stream
        self._fd = fd
        # Bytes that are no text in it, a picture for instance, are told apart there, and stay bytes.
        errors = "surrogatepass" if settings.errors == "surrogatepass" else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(settings.encoding)(errors)
        self.name = f"<{stream}>"
        self.mode = "wb"
        self.rest = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def disconnect(self) -> None:
        self._messages = None
        self.rest = ""  # the worker writes it

    def write(self, data: Any, /) -> int:
        content = bytes(data)
        if self._messages is None:
            return os.write(self._fd, content)
        self.rest += self._decoder.decode(content)
        done, newline, rest = self.rest.rpartition("\n")
        if newline:
            self.rest = rest
            self._messages.tell("text", self._stream, done + newline)
        return len(content)

    def flush(self) -> None:
        text, self.rest = self.rest, ""
        if text and self._messages is not None:
            self._messages.tell("text", self._stream, text)
