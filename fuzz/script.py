"""A session's octets as a dialogue script, to be corrected by hand: it has what the server says now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz.choices import cut, take_line
from fuzz.conversation import Config, read_config
from fuzz.targets.session import dialogue_of, play

if TYPE_CHECKING:
    from collections.abc import Iterator


def _session_of(data: bytes) -> tuple[Config, int, bytes]:
    choices, sent = take_line(data)
    return *read_config(choices), sent


# A target whose crashes are sessions, and what it makes of its octets.
_SESSIONS = {"dialogue": dialogue_of, "session": _session_of}


def is_session(target: str) -> bool:
    """Whether a crash of this target can be a dialogue script."""
    return target in _SESSIONS


def script_of(target: str, data: bytes) -> str:
    """The script of an input."""
    config, how, sent = _SESSIONS[target](data)
    pieces = cut(sent, how)
    lines = ["# Found by fuzzing: say here what was wrong, and correct the S: lines below.", *_options(config)]
    # What is said to each piece is what is said to it behind all those before.
    heard = b""
    for count in range(len(pieces) + 1):
        lines += _client_lines(pieces[count - 1]) if count else []
        wire = _hear(config, pieces[:count])
        lines += [f"S: {line.decode(errors='backslashreplace')}" for line in wire.removeprefix(heard).splitlines()]
        heard = wire
    return "\n".join(lines) + "\n"


def _hear(config: Config, pieces: list[bytes]) -> bytes:
    try:
        return play(config, pieces).wire
    except Exception as error:  # noqa: BLE001 - that it fails is why a script is wanted
        return f"(what is wrong: {error!r})".encode()


def _options(config: Config) -> Iterator[str]:
    if config.is_lmtp:
        yield "@protocol lmtp"
    yield f"@bare_newlines {config.bare_newlines.value!r}"
    if config.data_size_limit is not None:
        yield f"@data_size_limit {config.data_size_limit}"
    if config.has_auth:
        yield "@authenticator one_user"
        yield "@auth_require_tls False"
    if config.has_tls:
        yield "@tls yes"
    if config.trusts_client:
        yield "@xclient_networks ['192.0.2.0/24']"
    if any(config.behaviours) or config.greeting or config.streams:
        yield f"# It needs a handler: {config}"


def _client_lines(piece: bytes) -> Iterator[str]:
    for line in piece.splitlines(keepends=True):
        escaped = line.decode("latin-1").encode("unicode_escape").decode()
        text = line[:-2].decode("latin-1")
        is_plain = line.endswith(b"\r\n") and text.isascii() and text.isprintable() and "\r" not in text
        yield f"C: {text}" if is_plain else f"C+ {escaped}"
