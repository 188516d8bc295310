"""The table of targets: a name, and a function of octets that raises when something does not hold.

``Violation`` says what; any other exception is one that the code under test should not have let out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fuzz.targets.address import fuzz_address
from fuzz.targets.client import fuzz_client
from fuzz.targets.commands import fuzz_commands
from fuzz.targets.framing import fuzz_framing
from fuzz.targets.maildata import fuzz_maildata
from fuzz.targets.parameters import fuzz_parameters
from fuzz.targets.proxy import fuzz_proxy
from fuzz.targets.replies import fuzz_replies
from fuzz.targets.sasl import fuzz_sasl
from fuzz.targets.session import fuzz_dialogue, fuzz_session
from fuzz.targets.xclient import fuzz_xclient
from fuzz.targets.xtext import fuzz_xtext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "framing": fuzz_framing,
    "maildata": fuzz_maildata,
    "commands": fuzz_commands,
    "address": fuzz_address,
    "parameters": fuzz_parameters,
    "xtext": fuzz_xtext,
    "replies": fuzz_replies,
    "proxy": fuzz_proxy,
    "xclient": fuzz_xclient,
    "sasl": fuzz_sasl,
    "client": fuzz_client,
    "session": fuzz_session,
    "dialogue": fuzz_dialogue,
}
