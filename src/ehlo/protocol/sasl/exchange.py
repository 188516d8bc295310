"""How a SASL exchange runs: questions out, answers in, an outcome at the end.

Knows the shape of every mechanism; does not know any one of them, nor base64, reply lines, or who answers.

A mechanism is a row: a name, what it needs, and a generator function that is its script.  The script yields questions
and is sent the answers; it returns the two identities, or raises a ProtocolError, which is the peer's fault.  Read one
from top to bottom and you have read the exchange.

Most questions go to the client (``Challenge``), some to the owner of the users: a password or a token is checked by
code that may have to wait, and nothing in here waits.  So the loop around it is this, and it is the same for all:

    exchange = Exchange(MECHANISMS[name], context)
    step = exchange.begin(initial_response)
    while isinstance(step, Question):
        step = exchange.answer(await answers[type(step)](step))
    # now it is a Success with an Identity, or a Failure with a ProtocolError

``answers`` maps types of questions to coroutine functions: ``Challenge`` to the one that sends 334 and reads a line,
the others to what the server was configured with.  What it cannot answer decides what is not offered (``offered``).
To cancel (``*``, a lost connection), drop the exchange.

An answer of the wrong type is a TypeError, not a truth value: a coroutine that nobody awaited must not log anybody in.
"""

from __future__ import annotations

import hmac
import secrets
from abc import ABC
from collections.abc import Callable, Generator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from ehlo.errors import ProtocolError
from ehlo.protocol.credentials import ITERATIONS_DEFAULT, LoginPassword, ScramKeys
from ehlo.protocol.saslprep import saslprep

# RFC 4616 §2: 255 octets must be accepted.  An internationalised mailbox may have more (64 + 1 + 255, RFC 5321
# §4.5.3.1, and longer spellings before normalisation), so there is room.  SASLprep costs time by the character.
NAME_OCTETS_MAX: Final = 1024
PASSWORD_OCTETS_MAX: Final = 1024


class AuthenticationFailed(ProtocolError):
    """The credentials are wrong, or not good for the identity asked for (RFC 4954 §6).  One text for all cases."""

    code = 535
    enhanced = "5.7.8"
    text = "Authentication credentials invalid"


class MalformedResponse(ProtocolError):
    """What the client sent is no response of this mechanism (RFC 4954 §4)."""

    code = 501
    enhanced = "5.5.2"
    text = "Malformed authentication response"


class Question(ABC):
    """What an exchange must know before it can go on.  ``answer_types`` are the types that an answer may have."""

    __slots__ = ()
    answer_types: ClassVar[tuple[type, ...]]


@dataclass(frozen=True, slots=True)
class Challenge(Question):
    """For the client: send ``data``, answer with the octets that come back.  Neither is in base64 here."""

    answer_types = (bytes,)
    data: bytes


@dataclass(frozen=True, slots=True)
class CheckPassword(Question):
    """Whether this is the user's password.  Answer with a bool.

    The login is prepared by SASLprep, so that whoever is checked is who is let in.  The password is as it was sent, so
    that it can be compared with stores that know nothing of SASLprep; ``verify_password`` prepares it.
    """

    answer_types = (bool,)
    credentials: LoginPassword

    @property
    def user(self) -> str:
        """The login as text."""
        return self.credentials.login.decode()

    @property
    def password(self) -> str:
        """The password as text."""
        return self.credentials.password.decode()


@dataclass(frozen=True, slots=True)
class CheckDigest(Question):
    """Whether CRAM-MD5's digest of the challenge proves the user's password.  Answer with a bool, from ``proves``."""

    answer_types = (bool,)
    user: str
    challenge: bytes
    digest: bytes

    def proves(self, maybe_password: str | None) -> bool:
        """Whether the digest was made with this password.  None (no such user) takes as long, and proves nothing."""
        expected = hmac.digest((maybe_password or "").encode(), self.challenge, "md5").hex().encode()
        return hmac.compare_digest(expected, self.digest) and bool(maybe_password)


@dataclass(frozen=True, slots=True)
class FindKeys(Question):
    """The keys to check this user's proof with in SCRAM-SHA-256.  Answer None for a user who has none."""

    answer_types = (ScramKeys, type(None))
    user: str


@dataclass(frozen=True, slots=True)
class CheckToken(Question):
    """Whether this OAuth token is good, and whose it is.

    ``user`` is who the client claims to be, empty if it claims nothing (OAUTHBEARER may leave that to the token).
    Answer False; or True for "it is this user's"; or the name that the token holds.  If that is not the one claimed,
    ``Authorize`` asks whether it may act as the other.
    """

    answer_types = (bool, str)
    user: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdentifyPeer(Question):
    """Who the client is by what the layer below knows of it, such as its certificate.  None if that is nobody.

    ``user`` is who it wants to be, empty if it leaves that to us; for a certificate that holds several names.
    """

    answer_types = (str, type(None))
    user: str


@dataclass(frozen=True, slots=True)
class Authorize(Question):
    """Whether ``authcid``, whose credentials were good, may act as ``authzid``, another name (RFC 4422 §2).

    Whoever knows of no such right answers False.
    """

    answer_types = (bool,)
    authcid: str
    authzid: str


class Identity(NamedTuple):
    """Who the client is.  The authorization identity is the one to act on; mostly it equals the other."""

    authcid: str
    authzid: str
    mechanism: str


@dataclass(frozen=True, slots=True)
class Success:
    """The client is who it says it is."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class Failure:
    """It is not; ``error.status`` is the reply, ``str(error)`` the detail for the log, which holds no credentials."""

    error: ProtocolError


Step: TypeAlias = Question | Success | Failure

# The type of an answer depends on the question, which a Generator cannot say; Exchange checks it.
Script: TypeAlias = Generator[Question, Any, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Context:
    """What mechanisms must know of the server and the connection."""

    _: KW_ONLY
    # CRAM-MD5: the right-hand side of the challenge.
    hostname: str = "localhost"
    # LOGIN's two challenges.
    username_prompt: bytes = b"Username:"
    password_prompt: bytes = b"Password:"
    # SCRAM-SHA-256-PLUS: the binding data of this TLS connection by name (tls-server-end-point, tls-unique,
    # tls-exporter).  Leave it empty where -PLUS is not offered, for whatever reason: a client that saw no -PLUS says
    # "y", and if we then know a binding, somebody must have removed -PLUS from our list (RFC 5802 §6).
    channel_bindings: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    # What the fake keys of unknown users look like: give the number that the real ones have, and the same secret to
    # every process of a server, or else names can be told apart.
    scram_iterations: int = ITERATIONS_DEFAULT
    fake_secret: bytes = field(default=secrets.token_bytes(32), repr=False)
    # OAUTHBEARER and XOAUTH2: hints for a client whose token was refused (RFC 7628 §3.2.2).
    oauth_scope: str = ""
    openid_configuration: str = ""
    # Nonces and challenges: text of so many random octets, printable ASCII without "," and ">".
    random_text: Callable[[int], str] = field(default=secrets.token_urlsafe, repr=False)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A row of the table.

    ``needs`` is the one question that only the owner of the users can answer.  ``is_plaintext`` says that whoever reads
    the connection gets something to log in with.
    """

    name: str
    needs: type[Question]
    script: Callable[[Context, bytes | None], Script]
    _: KW_ONLY
    is_plaintext: bool = False
    binds_channel: bool = False


class Exchange:
    """One attempt of one client to authenticate.  The module's docstring shows the loop around it.

    Holds no reference to whoever runs it, so dropping it half-way leaves no cycle.
    """

    __slots__ = ("_context", "_maybe_question", "_maybe_script", "mechanism")

    def __init__(self, mechanism: Mechanism, context: Context) -> None:
        self.mechanism = mechanism
        self._context = context
        self._maybe_script: Script | None = None
        self._maybe_question: Question | None = None

    def begin(self, initial_response: bytes | None) -> Step:
        """Start.  None means no initial response, which differs from an empty one (RFC 4954 §4: ``=``)."""
        if self._maybe_script is not None:
            raise RuntimeError("this exchange has begun")
        self._maybe_script = self.mechanism.script(self._context, initial_response)
        return self._resume(self._maybe_script, None)

    def answer(self, answer: object) -> Step:
        """Answer the question that the last step was; TypeError if the answer is not of its types."""
        script, question = self._maybe_script, self._maybe_question
        if script is None or question is None:
            raise RuntimeError("nothing was asked")
        if not isinstance(answer, question.answer_types):
            expected = " or ".join(expected.__name__ for expected in question.answer_types)
            raise TypeError(f"{type(question).__name__} wants {expected}, not {type(answer).__name__}")
        return self._resume(script, answer)

    def _resume(self, script: Script, answer: object) -> Step:
        self._maybe_question = None
        try:
            self._maybe_question = script.send(answer)
        except StopIteration as stop:
            authcid, authzid = stop.value
            return Success(Identity(authcid, authzid, self.mechanism.name))
        except ProtocolError as error:
            # The frames of the script and the errors beneath this one hold passwords.
            error.__context__ = error.__cause__ = error.__traceback__ = None
            return Failure(error)
        return self._maybe_question


def read_name(data: bytes) -> str:
    """A user name that the client sent, prepared.  MalformedResponse, or AuthenticationFailed if SASLprep refuses it.

    RFC 4616 §2, RFC 5802 §5.1 and RFC 4954 §4 agree: a name that fails or comes out empty fails the exchange.
    """
    if len(data) > NAME_OCTETS_MAX:
        raise MalformedResponse("name too long")
    return _prepare(_decode(data), "name")


def read_login_password(login: bytes, password: bytes) -> LoginPassword:
    """Login and password for CheckPassword.  An empty password is refused: LDAP would take it for an anonymous bind.

    Both are UTF-8 without NUL (RFC 4616 §2); the errors are those of read_name.
    """
    if len(password) > PASSWORD_OCTETS_MAX:
        raise MalformedResponse("password too long")
    _prepare(_decode(password), "password")
    return LoginPassword(read_name(login).encode(), password)


def authorize(authcid: str, authzid: str) -> Script:
    """The end of a script: ask if the names differ.  An empty authzid stands for the authcid (RFC 4422 §3.4.1)."""
    if authzid and authzid != authcid:
        is_allowed: bool = yield Authorize(authcid, authzid)
        if not is_allowed:
            raise AuthenticationFailed("not authorized to act as another user")
    return authcid, authzid or authcid


def _decode(data: bytes) -> str:
    if b"\0" in data:
        raise MalformedResponse("NUL in a response")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedResponse("not UTF-8") from None


def _prepare(text: str, what: str) -> str:
    try:
        prepared = saslprep(text)
    except ValueError as error:
        raise AuthenticationFailed(f"{what}: {error}") from None
    if not prepared:
        raise AuthenticationFailed(f"empty {what}")
    return prepared
