"""Who is measured: a table of servers, what each needs, and how to start and stop one.

Knows commands and ports; does not know what is sent to a server, nor what is read from it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import install
from bench.install import MissingError
from bench.measure import process_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPTS = Path(__file__).parent / "servers"
SOURCE = Path(__file__).parent.parent / "src"
AIOSMTPD = "aiosmtpd==1.4.6"
START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0
# Of smtp-sink, which has no limits of its own to leave alone: it queues connections above 256 unless told otherwise.
SINK_SESSIONS = 15_000
BACKLOG = 1024


class Options(NamedTuple):
    """What a workload asks of a server beyond its defaults."""

    maybe_size_limit: int | None = None
    tls: bool = False
    hook: str = ""  # of our own server only


@dataclass(frozen=True)
class Peer:
    """A server. `prepare` installs what it needs and returns its version, or raises MissingError; `command` starts it.

    A server that cannot choose its own port `takes_port`: its command has `{port}` in it. One that is measured by
    some workloads only has a `role`, and those workloads name it. `warmup` is the number of messages that come before a
    load, as a multiple of the load's own: a server that is compiled while it runs is measured when that is done.
    """

    name: str
    title: str
    prepare: Callable[[], str]
    command: Callable[[Options], list[str]]
    takes_port: bool = False
    role: str = ""
    warmup: float = 0.5


class Server(NamedTuple):
    """A running server."""

    peer: Peer
    process: subprocess.Popen[str]
    port: int

    def pids(self) -> list[int]:
        """Return the processes that make up the server."""
        return process_tree(self.process.pid)


@functools.cache
def snapshot() -> Path:
    """Return a copy of ehlo's source, made once: a run measures one thing, even while the source is worked on."""
    folder = Path(tempfile.mkdtemp(prefix="ehlo-bench-"))
    atexit.register(shutil.rmtree, folder)
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    return folder


def environment() -> dict[str, str]:
    """Return the environment in which every server runs: it finds ehlo and Node's packages."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,  # compiling is no part of a start, but once
        "PYTHONPATH": str(snapshot()),
        "NODE_PATH": str(install.NODE_MODULES),
        "NODE_ENV": "production",
    }


@contextlib.contextmanager
def started(peer: Peer, options: Options = Options()) -> Iterator[Server]:  # noqa: B008
    """Start a server, yield it once it listens, end it. If it does not come up, MissingError has its last words."""
    command = peer.command(options)
    port = _free_port() if peer.takes_port else 0
    command = [word.format(port=port) if peer.takes_port else word for word in command]
    # A server that is given its port may say what it likes; nobody would read it from a pipe.
    output = subprocess.DEVNULL if peer.takes_port else subprocess.PIPE
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, text=True, env=environment()
        )
        try:
            if peer.takes_port:
                _wait_until_listening(process, port)
            else:
                assert process.stdout is not None
                port = int(process.stdout.readline() or 0)
            if not port or process.poll() is not None:
                errors.seek(0)
                last_words = (errors.read().strip().splitlines() or ["it said nothing"])[-1]
                raise MissingError(f"{peer.name} did not start: {last_words}")
            yield Server(peer, process, port)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """End a server, gently if it takes the hint."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def _free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_listening(process: subprocess.Popen[str], port: int) -> None:
    """Return when the port accepts connections, or the process has ended, or time is up."""
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)


def _keyword_arguments(options: Options) -> list[str]:
    """Return the options as our own server scripts take them."""
    arguments = []
    if options.maybe_size_limit is not None:
        arguments.append(f"size={options.maybe_size_limit}")
    if options.tls:
        certificate = install.certificate()
        arguments += [f"chain={certificate.chain}", f"key={certificate.key}"]
    if options.hook:
        arguments.append(f"hook={options.hook}")
    return arguments


def _python(script: str, *arguments: str) -> Callable[[Options], list[str]]:
    """Return the command of a server script in Python."""
    return lambda options: [str(install.PYTHON), str(SCRIPTS / script), *arguments, *_keyword_arguments(options)]


def _node(options: Options) -> list[str]:
    """Return the command of Node's smtp-server."""
    return ["node", str(SCRIPTS / "node_smtp_server.js"), *_keyword_arguments(options)]


def _sink(_options: Options) -> list[str]:
    """Return the command of Postfix's test sink. It has no TLS and no size limit; as root it must become someone."""
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    return ["smtp-sink", *user, "-m", str(SINK_SESSIONS), "127.0.0.1:{port}", str(BACKLOG)]


def _prepare_ehlo() -> str:
    install.python_package("uvloop")
    show = "import ehlo; ehlo.serve; print(getattr(ehlo, '__version__', 'working copy'))"
    done = subprocess.run([install.PYTHON, "-c", show], capture_output=True, text=True, check=False, env=environment())
    if done.returncode:
        raise MissingError(f"it cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    return f"{done.stdout.strip()}"


def _prepare_ehlo_uvloop() -> str:
    return f"{_prepare_ehlo()}, uvloop {install.python_version('uvloop')}"


def _prepare_fixed() -> str:
    install.python_package("uvloop")
    return f"uvloop {install.python_version('uvloop')}"


def _prepare_aiosmtpd() -> str:
    install.python_package(AIOSMTPD)
    return install.python_version("aiosmtpd")


def _prepare_aiosmtpd_uvloop() -> str:
    install.python_package("uvloop")
    return f"{_prepare_aiosmtpd()}, uvloop {install.python_version('uvloop')}"


def _prepare_node() -> str:
    install.node_package("smtp-server")
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{install.node_version('smtp-server')}, Node {node}"


def _prepare_sink() -> str:
    _need("smtp-sink")
    shown = subprocess.run(["postconf", "-hd", "mail_version"], capture_output=True, text=True, check=False)
    return f"Postfix {shown.stdout.strip()}"


def _go_smtp(_options: Options) -> list[str]:
    """Return the command of the program that comes with go-smtp."""
    return ["smtp-debug-server", "-l", "127.0.0.1:{port}"]


def _script(name: str) -> Callable[[Options], list[str]]:
    """Return the command of a server that a shell script configures in a folder of its own."""

    def command(options: Options) -> list[str]:
        size = [] if options.maybe_size_limit is None else [str(options.maybe_size_limit)]
        return [str(SCRIPTS / f"{name}.sh"), str(install.CACHE / name), "{port}", *size]

    return command


def _prepare_haraka() -> str:
    _need("haraka")
    return subprocess.run(["haraka", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


def _prepare_opensmtpd() -> str:
    _need("smtpd")
    shown = subprocess.run(["smtpd", "-h"], capture_output=True, text=True, check=False).stderr
    if "OpenSMTPD" not in shown:
        raise MissingError("the smtpd that is installed is another one")
    if os.getuid():
        raise MissingError("it runs as root only")
    return shown.partition("OpenSMTPD ")[2].split()[0]


def _prepare_go_smtp() -> str:
    _need("smtp-debug-server")
    return "as installed"


def _need(command: str) -> None:
    """Raise MissingError unless a command is installed."""
    if not shutil.which(command):
        raise MissingError(f"{command} is not installed")


PEERS = (
    Peer("ehlo", "ehlo, asyncio", _prepare_ehlo, _python("ehlo_server.py")),
    Peer("ehlo-uvloop", "ehlo, uvloop", _prepare_ehlo_uvloop, _python("ehlo_server.py", "loop=uvloop")),
    Peer(
        "ehlo-stream",
        "ehlo, uvloop, streaming hook",
        _prepare_ehlo_uvloop,
        _python("ehlo_server.py", "loop=uvloop", "hook=stream"),
        role="stream",
    ),
    *(
        Peer(
            f"ehlo-uvloop-{count}",
            f"ehlo, uvloop, {count} worker{'s' * (count > 1)}",
            _prepare_ehlo_uvloop,
            _python("ehlo_server.py", "loop=uvloop", f"workers={count}"),
            role="workers",
        )
        for count in (1, 2)
    ),
    Peer("fixed", "no server: uvloop, fixed replies", _prepare_fixed, _python("fixed_replies.py"), role="fixed"),
    Peer("aiosmtpd", "aiosmtpd, asyncio", _prepare_aiosmtpd, _python("aiosmtpd_server.py")),
    Peer("aiosmtpd-uvloop", "aiosmtpd, uvloop", _prepare_aiosmtpd_uvloop, _python("aiosmtpd_server.py", "loop=uvloop")),
    # Its figures settle, at a third of the first, after some 5,000 messages of 1 KB or 100 messages of 1 MB.
    Peer("node", "smtp-server, Node", _prepare_node, _node, warmup=3.0),
    Peer("smtp-sink", "smtp-sink, C", _prepare_sink, _sink, takes_port=True),
    # Those below take part where somebody has installed them.
    Peer("haraka", "Haraka", _prepare_haraka, _script("haraka"), takes_port=True, warmup=3.0),
    Peer("opensmtpd", "OpenSMTPD", _prepare_opensmtpd, _script("opensmtpd"), takes_port=True),
    Peer("go-smtp", "go-smtp, its debug server", _prepare_go_smtp, _go_smtp, takes_port=True),
)
