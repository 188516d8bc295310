"""An Exim that sends: a configuration, a spool and a log of its own, in a folder that vanishes with it.

Where mail goes is in the recipient's domain: smtp.test, tls.test (STARTTLS) and lmtp.test lead to one port of
localhost, so only one of them does at a time.  It listens nowhere and nothing of it stays in memory: each command takes
a message and ends when that is delivered.

Debian's package is in conflict with that of Postfix, so it may be unpacked in the folder ``.exim`` instead of being
installed.  The program insists on a user ``Debian-exim``, whom nss_wrapper shows to it under the number of another.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "relay.example.org"
UNPACKED = Path(__file__).parent / ".exim"
CONFIGURATION = """
primary_hostname = {name}
exim_path = {folder}/exim4
spool_directory = {folder}/spool
log_file_path = {folder}/log/%s
log_selector = +pipelining
# Delivers as the user as whom it came, instead of starting itself again with the rights to become another.
deliver_drop_privilege
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
disable_ipv6
# Messages arrive as they were handed in.
received_header_text =
# Nothing leaves this machine, not even a bounce: a message whose bounce would bounce is dropped.
ignore_bounce_errors_after = 0s
# What `exim4 -bs` offers and takes.
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
acl_smtp_rcpt = accept

begin routers
{routers}
begin transports
{transports}
begin retry
* * F,1h,1h
"""
# `self = send`: the host is this one.  The name is in /etc/hosts: no resolver is asked.
ROUTER = """
{name}:
  driver = manualroute
  route_list = {name}.test localhost byname
  self = send
  transport = {name}
"""
TRANSPORT = """
{name}:
  driver = smtp
  allow_localhost
  port = {port}
  hosts_try_chunking = *
  tls_verify_certificates = {authority}
  tls_verify_hosts = *
  {options}
"""
DESTINATIONS = {"smtp": "", "tls": "hosts_require_tls = *", "lmtp": "protocol = lmtp"}
USERS = "root:x:0:0::/:/bin/sh\nDebian-exim:x:{uid}:{gid}::/:/bin/sh\n"
GROUPS = "root:x:0:\nDebian-exim:x:{gid}:\n"


class Exim(NamedTuple):
    """One that is ready to be told where the server is."""

    folder: Path
    authority_file: Path
    nss_wrapper: Path

    @property
    def log(self) -> str:
        return (self.folder / "log" / "main").read_text(errors="backslashreplace")

    @property
    def panic_log(self) -> str:
        """What it should never have to say."""
        path = self.folder / "log" / "panic"
        return path.read_text(errors="backslashreplace") if path.exists() else ""

    @property
    def has_an_empty_queue(self) -> bool:
        return not any((self.folder / "spool" / "input").iterdir())

    def send_to(self, port: int) -> None:
        """Deliver to this port of localhost from now on."""
        routers = "".join(ROUTER.format(name=name) for name in DESTINATIONS)
        transports = "".join(
            TRANSPORT.format(name=name, port=port, authority=self.authority_file, options=options)
            for name, options in DESTINATIONS.items()
        )
        text = CONFIGURATION.format(name=NAME, folder=self.folder, routers=routers, transports=transports)
        (self.folder / "configuration").write_text(text)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Exim with these arguments; it delivers before it ends and writes its dialogues to standard error."""
        return (
            "env",
            f"LD_PRELOAD={self.nss_wrapper}",
            f"NSS_WRAPPER_PASSWD={self.folder}/passwd",
            f"NSS_WRAPPER_GROUP={self.folder}/group",
            f"{self.folder}/exim4",
            *("-C", f"{self.folder}/configuration", "-odi", "-v"),
            *arguments,
        )

    def send_command(self, sender: str, *recipients: str, options: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The command that takes a message from standard input; it has lines of the UNIX kind."""
        return self.command("-bm", "-oi", "-f", sender, *options, "--", *recipients)


def find_nss_wrapper() -> Path | None:
    """Where its library is, None if it is not installed."""
    return next((path for root in (UNPACKED, Path("/")) for path in root.glob("usr/lib/*/libnss_wrapper.so")), None)


@contextlib.contextmanager
def prepared_exim(program: Path, nss_wrapper: Path, authority_file: Path) -> Iterator[Exim]:
    """Give it all it needs but a server."""
    # Not in a folder of pytest's, into which only root could look.
    with tempfile.TemporaryDirectory(prefix="ehlo-exim-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        # A copy, because the installed one is set-user-ID, and such a program takes no LD_PRELOAD.
        shutil.copyfile(program, folder / "exim4")
        (folder / "exim4").chmod(0o755)
        shutil.copyfile(authority_file, folder / "authority.pem")
        uid, gid = _ids_of_its_user()
        (folder / "passwd").write_text(USERS.format(uid=uid, gid=gid))
        (folder / "group").write_text(GROUPS.format(gid=gid))
        for directory in ("spool", "log"):
            (folder / directory).mkdir()
            os.chown(folder / directory, uid, gid)
        yield Exim(folder, folder / "authority.pem", nss_wrapper)


def _ids_of_its_user() -> tuple[int, int]:
    """Whoever runs the tests, but not root: Exim refuses to be root."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
