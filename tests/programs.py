"""Programs that start at once: a process that has imported what they import forks for each of them.

A program under test is a process of its own, with its own streams, folder, environment and exit code, but it does not
spend half a second on imports. What a test says about imports, hash seeds, options of the interpreter, or addresses in
memory, needs an interpreter that is started anew: `subprocess`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import types
import warnings
from contextlib import suppress
from pathlib import Path

PACKAGES = ("crystallize", "crystallize_plugins", "crystallize_cli")
# What few programs import, at a price, and what must not be forked once it is imported.
LEFT_OUT = ("crystallize_plugins.execution.dask", "crystallize_plugins.execution.ray", "crystallize_cli.tui")


# -- in the process of the tests ------------------------------------------------------------------


class Server:
    """The fork server of a test process."""

    def __init__(self):
        self._socket, theirs = socket.socketpair()
        self._heard = b""
        self._started = []
        self._ended = {}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self.options = _options(os.environ)

    def start(self, job, descriptors):
        """Start a program; give its process id."""
        message = json.dumps(job).encode()
        socket.send_fds(self._socket, [len(message).to_bytes(4, "big")], descriptors)
        self._socket.sendall(message)
        while not self._started:
            self._hear()
        return self._started.pop()

    def status(self, pid, seconds):
        """Give the status with which a program ended, or None where it has not ended in time."""
        while pid not in self._ended:
            if not select.select([self._socket], [], [], seconds)[0]:
                return None
            self._hear()
        return self._ended.pop(pid)

    def _hear(self):
        received = self._socket.recv(4096)
        assert received, "the fork server has ended"
        *lines, self._heard = (self._heard + received).split(b"\n")
        for line in lines:
            pid, status = json.loads(line)
            if status is None:
                self._started.append(pid)
            else:
                self._ended[pid] = status

    def stop(self):
        """End the server."""
        self._socket.close()
        self._process.wait()


servers: list[Server] = []


def stop():
    """End the server, if there is one."""
    while servers:
        servers.pop().stop()


class Forked(subprocess.Popen):
    """What `subprocess.Popen` is, of a program that the server has forked."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *others):
        pipes = others[3:9]
        reads, _, _, writes, _, complains = pipes
        job = {
            "program": [os.fspath(each) for each in args],
            "folder": os.fspath(Path.cwd() if cwd is None else cwd),
            "environment": dict(os.environ if env is None else env),
            "session": others[14],
        }
        streams = [at if given == -1 else given for at, given in enumerate((reads, writes, complains))]
        if not servers:
            servers.append(Server())
        self._server = servers[0]
        self.pid = self._server.start(job, streams)
        self._child_created = True
        self._close_pipe_fds(*pipes)

    def _internal_poll(self, _deadstate=None):
        if self.returncode is None and servers and (status := self._server.status(self.pid, 0)) is not None:
            self._handle_exitstatus(status)
        return self.returncode

    def _wait(self, timeout):
        if self.returncode is None:
            status = self._server.status(self.pid, timeout)
            if status is None:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self._handle_exitstatus(status)
        return self.returncode


def _options(environment):
    """Give what an interpreter and its libraries read from the environment once, when they start."""
    return {
        name: value
        for name, value in environment.items()
        if (name.startswith("PYTHON") and name != "PYTHONDONTWRITEBYTECODE") or name.endswith("_NUM_THREADS")
    }


def popen(command, **options):
    """Start ``[python, *options, script, *arguments]`` or ``[crystallize, *arguments]`` as `subprocess.Popen` does.

    What only a new interpreter can do is left to one: options other than ``-u`` and ``-W``, variables that it reads.
    """
    command = [os.fspath(each) for each in command]
    if not servers:
        servers.append(Server())
    there = servers[0].options == _options(options.get("env") or os.environ)
    if there and hasattr(os, "pipe2") and _parsed(command) is not None:
        return Forked(command, **options)
    return subprocess.Popen(command, **options)


def run(command, *, timeout=120, **options):
    """Run such a program as `subprocess.run` does, what it writes captured as text."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with popen(command, text=True, **options) as program:
        try:
            out, err = program.communicate(timeout=timeout)
        except BaseException:
            program.kill()
            raise
    return subprocess.CompletedProcess(program.args, program.returncode, out, err)


def _parsed(command):
    """Give the options, the script and the arguments of a command, or None where only a new interpreter can run it."""
    words, options = list(command), []
    if words[0] == sys.executable:
        words.pop(0)
        while words and words[0].startswith("-"):
            options.append(words.pop(0))
            if options[-1] == "-W":
                options.append(words.pop(0))
            elif options[-1] != "-u":
                return None
    elif Path(words[0]).parent != Path(sys.executable).parent:
        return None
    return (options, words[0], words[1:]) if words else None


# -- in the server --------------------------------------------------------------------------------


def _import_all():
    for package in PACKAGES:
        try:
            found = importlib.import_module(package)
        except ImportError:
            continue
        for module in pkgutil.walk_packages(found.__path__, f"{package}.", onerror=lambda name: None):
            if not module.name.startswith(LEFT_OUT):
                with suppress(ImportError):
                    importlib.import_module(module.name)


def _prepare():
    """Import, and do what each program would do first and find done: it checks that nothing has changed since."""
    _import_all()
    with suppress(ImportError):
        from crystallize.fingerprint.added import added_to_libraries

        added_to_libraries()
    gc.freeze()


def _keep_modules(names):
    """Have the interpreter take apart at its end what the program has imported, and not what the server had."""
    kept = [sys.modules.pop(name, None) for name in names]
    kept.append(kept)  # which is never collected, once it is frozen
    gc.freeze()


def _serve(connection):
    """Fork for each job; return it in the process that is to do it."""
    imported = []
    atexit.register(_keep_modules, imported)  # called last, since it is the first
    _prepare()
    imported += sys.modules.keys() - {"__main__", "builtins", "sys"}
    noticed, notices = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(notices, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([connection, noticed], [], [])
        if noticed in ready:
            os.read(noticed, 4096)
            with suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    connection.sendall(json.dumps(ended).encode() + b"\n")
        if connection in ready:
            job, streams = _received(connection)
            if not (pid := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for each in (noticed, notices):
                    os.close(each)
                connection.close()
                return job, streams
            for each in streams:
                os.close(each)
            connection.sendall(json.dumps([pid, None]).encode() + b"\n")


def _received(connection):
    """Wait for a job and its streams; end with the process of the tests."""
    with suppress(ConnectionError):
        size, streams, _, _ = socket.recv_fds(connection, 4, 3)
        message = b""
        while len(message) < int.from_bytes(size, "big"):
            message += connection.recv(int.from_bytes(size, "big") - len(message))
        if message:
            return json.loads(message), streams
    os._exit(0)


def _become(job, streams):
    """Make of this process what an interpreter is that was started for the job; give the code of its script."""
    if job["session"]:
        os.setsid()
    for at, each in enumerate(streams):
        os.dup2(each, at)
    for each in set(streams) - {0, 1, 2}:
        os.close(each)
    options, script, arguments = _parsed(job["program"])
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
    sys.argv[:] = [script, *arguments]
    sys.orig_argv[:] = job["program"] if job["program"][0] == sys.executable else [sys.executable, *job["program"]]
    sys.path[0] = str(Path(script).resolve().parent)
    for option in options:
        if option == "-u":
            sys.stdout.reconfigure(write_through=True)
        elif option != "-W":
            sys.warnoptions.append(option)
            warnings._processoptions([option])
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    main = types.ModuleType("__main__")
    file = os.path.abspath(script)  # noqa: PTH100 - as the interpreter makes it: no link is followed
    main.__dict__.update(__file__=file, __builtins__=__builtins__, __cached__=None, __annotations__={})
    sys.modules["__main__"] = main
    return compile(Path(file).read_bytes(), file, "exec", dont_inherit=True), main.__dict__


if __name__ == "__main__":
    _code, _names = _become(*_serve(socket.socket(fileno=int(sys.argv[1]))))
    exec(_code, _names)
