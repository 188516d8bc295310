"""A Postfix that sends: a configuration, a queue and a log of its own, in a folder that vanishes with it.

Where mail goes is in the recipient's domain.  smtp.test, tls.test (STARTTLS), smtps.test, lmtp.test and xforward.test
lead to listening sockets that are opened before Postfix is configured, for a server to take over; unix.test leads by
LMTP to the UNIX socket ``lmtp`` in its folder.  Certificates are verified.  It listens nowhere itself: mail is handed
in by its sendmail command.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = relay.example.org
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
transport_maps = texthash:{folder}/etc/transport
# Nothing leaves this machine, not even a bounce.
default_transport = discard
# The names are localhost's: no resolver is asked.
smtp_dns_support_level = disabled
lmtp_dns_support_level = disabled
smtp_tls_CAfile = {authority}
lmtp_tls_CAfile = {authority}
smtp_tls_loglevel = 1
# A peer that is debugged has its dialogue in the log, and what Postfix thinks of it.
debug_peer_list = localhost, 127.0.0.1
debug_peer_level = 1
"""
MASTER_CF = """
pickup   unix  n - n 60  1 pickup
cleanup  unix  n - n -   0 cleanup
qmgr     unix  n - n 300 1 qmgr
tlsmgr   unix  - - n 1000? 1 tlsmgr
rewrite  unix  - - n -   - trivial-rewrite
bounce   unix  - - n -   0 bounce
defer    unix  - - n -   0 bounce
trace    unix  - - n -   0 bounce
verify   unix  - - n -   1 verify
flush    unix  n - n 1000? 0 flush
proxymap unix  - - n -   - proxymap
smtp     unix  - - n -   - smtp
tls      unix  - - n -   - smtp -o smtp_tls_security_level=secure -o smtp_tls_secure_cert_match=nexthop
smtps    unix  - - n -   - smtp -o smtp_tls_security_level=secure -o smtp_tls_secure_cert_match=nexthop
  -o smtp_tls_wrappermode=yes
xforward unix  - - n -   - smtp -o smtp_send_xforward_command=yes
lmtp     unix  - - n -   - lmtp
discard  unix  - - n -   - discard
showq    unix  n - n -   - showq
error    unix  - - n -   - error
retry    unix  - - n -   - error
scache   unix  - - n -   1 scache
postlog  unix-dgram n - n - 1 postlogd
"""
TRANSPORT = """
smtp.test  smtp:[localhost]:{smtp}
tls.test   tls:[localhost]:{tls}
smtps.test smtps:[localhost]:{smtps}
xforward.test xforward:[localhost]:{xforward}
lmtp.test  lmtp:inet:localhost:{lmtp}
unix.test  lmtp:unix:{folder}/lmtp
"""
LISTENING = ("smtp", "tls", "smtps", "xforward", "lmtp")


class Postfix(NamedTuple):
    """One that runs."""

    folder: Path
    sendmail: str
    sockets: Mapping[str, socket.socket]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="backslashreplace")

    @property
    def has_an_empty_queue(self) -> bool:
        # In the order in which a message passes through, so that none is overlooked.
        queues = ("maildrop", "incoming", "active", "deferred", "corrupt")
        return not any(path.is_file() for queue in queues for path in (self.folder / "queue" / queue).rglob("*"))

    def send_command(self, sender: str, *recipients: str, options: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The command that takes a message from standard input; it has lines of the UNIX kind."""
        return self.sendmail, "-C", str(self.folder / "etc"), "-i", "-f", sender, *options, "--", *recipients


@contextlib.contextmanager
def running_postfix(postfix: str, sendmail: str, authority_file: Path) -> Iterator[Postfix]:
    """Start one with these programs, as root, and stop it."""
    with contextlib.ExitStack() as stack:
        # Not in a folder of pytest's, into which only root could look.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ehlo-postfix-")))
        sockets = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in LISTENING}
        ports = {name: listening.getsockname()[1] for name, listening in sockets.items()}
        command = (postfix, "-c", str(_configure(folder, authority_file, ports)))
        _check_run(*command, "start")
        stack.callback(_check_run, *command, "stop")
        yield Postfix(folder, sendmail, sockets)


def _configure(folder: Path, authority_file: Path, ports: Mapping[str, int]) -> Path:
    folder.chmod(0o755)
    for name in ("etc", "queue", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    authority = folder / "authority.pem"
    shutil.copyfile(authority_file, authority)
    configuration = folder / "etc"
    (configuration / "main.cf").write_text(MAIN_CF.format(folder=folder, authority=authority))
    (configuration / "master.cf").write_text(MASTER_CF)
    (configuration / "transport").write_text(TRANSPORT.format(folder=folder, **ports))
    return configuration


def _check_run(*command: str) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert finished.returncode == 0, f"{' '.join(command)}: {finished.stdout}{finished.stderr}"
