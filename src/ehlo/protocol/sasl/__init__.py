"""SASL (RFC 4422), the server's side, without I/O.  ``exchange`` says how it is driven.

    exchange   questions, answers, outcomes: what all mechanisms share
    plain      PLAIN, LOGIN
    cram       CRAM-MD5
    scram      SCRAM-SHA-256, SCRAM-SHA-256-PLUS
    oauth      OAUTHBEARER, XOAUTH2
    external   EXTERNAL
    gs2        the header that SCRAM and OAUTHBEARER share
    suite      all of them, in order

Owns the octets of each mechanism.  Refuses to know base64 (but within SCRAM), replies and lines, who the users are,
and how long anything takes: what may have to wait is a question to the caller.

The names of the package are there when one is first asked for: a server without users starts the sooner.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ehlo.protocol.sasl.suite import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Take a name from ``suite`` (PEP 562: called for one that is not there yet)."""
    if not name.startswith("_"):
        suite = import_module("ehlo.protocol.sasl.suite")
        if name in suite.__all__:
            return globals().setdefault(name, getattr(suite, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
