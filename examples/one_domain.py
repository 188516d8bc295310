"""A handler for the command line: takes mail for one domain, and appends a line for each message to a file.

    $ python -m ehlo -n -c examples.one_domain.OneDomain example.com mail.log

``from_cli`` gets what follows the options.
"""

import argparse
from pathlib import Path

from ehlo import SMTP, Envelope, Session


class OneDomain:
    def __init__(self, domain: str, log: Path) -> None:
        self.domain = domain.casefold()
        self.log = log

    @classmethod
    def from_cli(cls, parser: argparse.ArgumentParser, *args: str) -> "OneDomain":
        if len(args) != 2:
            parser.error("OneDomain usage: DOMAIN FILE")  # ends the program
        domain, path = args
        return cls(domain, Path(path))

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str | None:
        if address.casefold().endswith(f"@{self.domain}"):
            return None
        return "550 5.7.1 Not for us"

    def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        # A plain function, because it writes a file: it is called in a thread, where it keeps nobody waiting.
        line = f"{envelope.mail_from} {','.join(envelope.rcpt_tos)} {len(envelope.content or b'')}\n"
        with self.log.open("a", encoding="utf-8") as file:
            file.write(line)
        return f"250 2.0.0 Noted in {self.log.name}"
