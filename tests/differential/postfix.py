"""A Postfix that receives: a configuration, a queue and a log of its own, in a folder that vanishes with it.

It listens on one port of 127.0.0.1, relays for it to anywhere, and throws away what it accepts.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# As it comes, but for what would slow down or shut out a client that makes mistakes on purpose.
MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mx.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
default_transport = discard
message_size_limit = {size_limit}
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_junk_command_limit = 1000
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_event_limit_exceptions = 127.0.0.0/8
notify_classes =
smtpd_forbid_bare_newline = no
"""
MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
pickup   unix  n - n 60  1 pickup
cleanup  unix  n - n -   0 cleanup
qmgr     unix  n - n 300 1 qmgr
rewrite  unix  - - n -   - trivial-rewrite
bounce   unix  - - n -   0 bounce
defer    unix  - - n -   0 bounce
trace    unix  - - n -   0 bounce
verify   unix  - - n -   1 verify
anvil    unix  - - n -   1 anvil
proxymap unix  - - n -   - proxymap
discard  unix  - - n -   - discard
showq    unix  n - n -   - showq
error    unix  - - n -   - error
retry    unix  - - n -   - error
scache   unix  - - n -   1 scache
postlog  unix-dgram n - n - 1 postlogd
"""
_STARTING_TIME = 20.0


@contextlib.contextmanager
def running_postfix(postfix: str, size_limit: int) -> Iterator[int]:
    """Start one with this program, as root; give its port; stop it."""
    with contextlib.ExitStack() as stack:
        # Not in a folder of pytest's, into which only root could look.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ehlo-postfix-")))
        port = _free_port()
        _configure(folder, port, size_limit)
        command = (postfix, "-c", str(folder / "etc"))
        _check_run(*command, "start")
        stack.callback(_check_run, *command, "stop")
        _wait_for(port, folder / "log")
        yield port


def _configure(folder: Path, port: int, size_limit: int) -> None:
    folder.chmod(0o755)
    for name in ("etc", "queue", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    (folder / "etc" / "main.cf").write_text(MAIN_CF.format(folder=folder, size_limit=size_limit))
    (folder / "etc" / "master.cf").write_text(MASTER_CF.format(port=port))


def _free_port() -> int:
    """One that was free a moment ago: Postfix cannot be given a socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + _STARTING_TIME
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if connection.recv(3) == b"220":
                return
        time.sleep(0.05)
    raise AssertionError(f"Postfix does not answer: {log.read_text(errors='backslashreplace')}")


def _check_run(*command: str) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert finished.returncode == 0, f"{' '.join(command)}: {finished.stdout}{finished.stderr}"
