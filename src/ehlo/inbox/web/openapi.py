"""The API as a table: each operation with its parameters, its body and its answers.

The one source of truth: the description at ``/api/v1/openapi.json``, the routes and the checks of what clients send are
all made of it.  Does not know what an operation does.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ehlo import __version__
from ehlo.inbox.web.schemas import (
    ANY_INBOX_NAME,
    FLAG,
    ID,
    IDS,
    SCHEMAS,
    SEARCH,
    TEXT_LIMIT,
    Schema,
    array,
    ref,
)

PREFIX = "/api/v1"

JSON = "application/json"
MESSAGE = "message/rfc822"
ANY = "*/*"

IMPORT_LIMIT = 100_000
"""Messages of one import."""


class Parameter(NamedTuple):
    """``place`` is path or query.  ``default`` None: it may be left out, and is None then."""

    name: str
    schema: Schema
    description: str = ""
    default: Any = None
    place: str = "query"


class Answer(NamedTuple):
    """``schema`` None: what it holds is not JSON."""

    description: str
    media_type: str = JSON
    schema: Schema | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An entry of the table.

    ``body`` maps a media type to its schema; None where it is taken as it is.  ``is_for_owner``: not for the token of
    an inbox.  ``body_limit``: octets; None for those of the largest message.
    """

    name: str
    method: str
    path: str
    summary: str
    tag: str
    answers: dict[int, Answer]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Schema | None] = field(default_factory=dict)
    body_is_required: bool = True
    body_limit: int | None = 65_536
    is_for_owner: bool = False
    errors: tuple[int, ...] = ()


_MESSAGE_ID = Parameter("id", ID, place="path")
_INBOX = Parameter("inbox", ANY_INBOX_NAME, "Of this inbox only; one that no mail has come to yet is empty.")
_Q = Parameter("q", SEARCH, "In the search language: words, and `from:` `to:` `subject:` `has:` `before:` `tag:` ...")
_WANTED_Q = _Q._replace(schema={**SEARCH, "minLength": 1})
_BEFORE = Parameter("before", ID, "Older than this message.")
_AFTER = Parameter("after", ID, "Newer than this message.")
_CRITERIA = tuple(
    Parameter(
        name,
        {"type": "string", "minLength": 1, "maxLength": TEXT_LIMIT},
        f"{what}: a part of it, in any case; or a regular expression as in `/^reset/`.",
    )
    for name, what in (
        ("to", "A recipient, of the envelope or in To"),
        ("from", "The sender, of the envelope or in From"),
        ("subject", "The subject"),
    )
)


def _limit(default: int, most: int) -> Parameter:
    return Parameter("limit", {"type": "integer", "minimum": 1, "maximum": most}, "At most so many.", default)


def _json(name: str, description: str = "As described.") -> Answer:
    return Answer(description, JSON, ref(name))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="info",
        method="GET",
        path="/info",
        tag="server",
        summary="What this server is, and where it listens",
        answers={200: _json("Info")},
    ),
    Operation(
        name="list_messages",
        method="GET",
        path="/messages",
        tag="messages",
        summary="List or search, newest first",
        parameters=(_INBOX, _Q, _limit(50, 200), _BEFORE, _AFTER),
        answers={200: _json("Messages")},
        errors=(400,),
    ),
    Operation(
        name="upload_message",
        method="POST",
        path="/messages",
        tag="messages",
        summary="Put a message in, as if it had been received",
        parameters=(_INBOX,),
        body={MESSAGE: None},
        body_limit=None,
        answers={201: _json("Summary", "It is there.")},
        errors=(415, 507),
    ),
    Operation(
        name="change_messages",
        method="PATCH",
        path="/messages",
        tag="messages",
        summary="Mark and tag several",
        description="One of `ids`, `q` and `all` says which.",
        parameters=(_INBOX,),
        body={JSON: ref("Changes")},
        answers={200: _json("Changed")},
        errors=(400, 415),
    ),
    Operation(
        name="delete_messages",
        method="DELETE",
        path="/messages",
        tag="messages",
        summary="Delete several",
        description="One of `ids`, `q` and `all=true` says which.",
        parameters=(_INBOX, Parameter("ids", IDS, "Separated by commas."), _Q, Parameter("all", FLAG)),
        answers={200: _json("Deleted")},
        errors=(400,),
    ),
    Operation(
        name="read_message",
        method="GET",
        path="/messages/{id}",
        tag="messages",
        summary="All about a message",
        parameters=(_MESSAGE_ID,),
        answers={200: _json("Message")},
        errors=(404,),
    ),
    Operation(
        name="change_message",
        method="PATCH",
        path="/messages/{id}",
        tag="messages",
        summary="Mark and tag it",
        parameters=(_MESSAGE_ID,),
        body={JSON: ref("Change")},
        answers={200: _json("Summary", "As it is now.")},
        errors=(404, 415),
    ),
    Operation(
        name="delete_message",
        method="DELETE",
        path="/messages/{id}",
        tag="messages",
        summary="Delete it",
        parameters=(_MESSAGE_ID,),
        answers={204: Answer("It is gone.", "")},
        errors=(404,),
    ),
    Operation(
        name="raw_message",
        method="GET",
        path="/messages/{id}/raw",
        tag="messages",
        summary="The message as it came, to the octet",
        parameters=(_MESSAGE_ID, Parameter("download", FLAG, "As a file to keep.", default=False)),
        answers={200: Answer("The octets, as text to look at, or as a file.", ANY)},
        errors=(404,),
    ),
    Operation(
        name="message_html",
        method="GET",
        path="/messages/{id}/html",
        tag="messages",
        summary="Its HTML, made harmless, for a sandboxed frame",
        parameters=(_MESSAGE_ID, Parameter("remote", FLAG, "Let it load remote images.", default=False)),
        answers={200: Answer("A document.", "text/html")},
        errors=(404,),
    ),
    Operation(
        name="message_text",
        method="GET",
        path="/messages/{id}/text",
        tag="messages",
        summary="Its text",
        parameters=(_MESSAGE_ID,),
        answers={200: Answer("The text.", "text/plain")},
        errors=(404,),
    ),
    Operation(
        name="message_headers",
        method="GET",
        path="/messages/{id}/headers",
        tag="messages",
        summary="Its header fields, decoded, in order",
        parameters=(_MESSAGE_ID,),
        answers={
            200: Answer(
                "Pairs of name and value.",
                JSON,
                array({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}),
            )
        },
        errors=(404,),
    ),
    Operation(
        name="message_part",
        method="GET",
        path="/messages/{id}/parts/{index}",
        tag="messages",
        summary="One of its MIME parts, decoded, as a file",
        parameters=(
            _MESSAGE_ID,
            Parameter("index", {"type": "integer", "minimum": 0, "maximum": 1_000_000}, place="path"),
        ),
        answers={200: Answer("The octets; images as what they are, anything else as octets to keep.", ANY)},
        errors=(404, 429),
    ),
    Operation(
        name="report_message",
        method="GET",
        path="/messages/{id}/report",
        tag="messages",
        summary="What is wrong with it, and with how it was sent",
        description="By the rules of `ehlo.report`, the worst first. Nobody is asked anything for it, unless `address`"
        " is given: then name servers are asked about DKIM, SPF and DMARC, or the zone that the server began with."
        " 409 if it was started without them.",
        parameters=(
            _MESSAGE_ID,
            Parameter("address", {"type": "string", "maxLength": 45}, "The IP address that it is sent from."),
            Parameter("helo", {"type": "string", "maxLength": 255}, "How the sender names itself."),
        ),
        answers={200: _json("Report")},
        errors=(404, 409, 503),
    ),
    Operation(
        name="release_message",
        method="POST",
        path="/messages/{id}/release",
        tag="messages",
        summary="Send it on to a real server",
        description="Only to the servers that `--release` names.",
        parameters=(_MESSAGE_ID,),
        body={JSON: ref("ReleaseTo")},
        is_for_owner=True,
        answers={200: _json("Released", "It was accepted there.")},
        errors=(404, 409, 415, 502),
    ),
    Operation(
        name="wait",
        method="GET",
        path="/wait",
        tag="live",
        summary="Wait for a message",
        description="Answers as soon as a message that matches everything asked for is there, or when the time is over."
        " Without `after` only what arrives from now on counts; with it, all that is newer.",
        parameters=(
            _INBOX,
            *_CRITERIA,
            _WANTED_Q,
            Parameter("timeout", {"type": "number", "minimum": 0, "maximum": 300}, "Seconds.", 30.0),
            _AFTER,
        ),
        answers={200: _json("Waited")},
        errors=(400, 429),
    ),
    Operation(
        name="events",
        method="GET",
        path="/events",
        tag="live",
        summary="What happens, as server-sent events",
        description="`hello`, `message`, `changed`, `deleted`, `session`; `reset` when some were missed. With criteria,"
        " only messages that match. `Last-Event-ID` resumes; `after` begins with what is newer.",
        parameters=(
            _INBOX,
            *_CRITERIA,
            _WANTED_Q,
            _AFTER,
            Parameter(
                "together",
                FLAG,
                "Without criteria: what happens in a moment is one event `together`, a list of names with their data;"
                " of new messages there are the `ids` alone.",
                default=False,
            ),
        ),
        answers={200: Answer("Events, until the client goes.", "text/event-stream")},
        errors=(400, 429),
    ),
    Operation(
        name="list_sessions",
        method="GET",
        path="/sessions",
        tag="sessions",
        summary="The SMTP sessions, newest first, also those that failed",
        parameters=(
            _INBOX,
            _limit(50, 200),
            Parameter("before", {"type": "string", "maxLength": 100}, "The `cursor` of the page before."),
            Parameter("refused", FLAG, "Only those in which something was refused or broke.", default=False),
        ),
        answers={200: _json("Sessions")},
    ),
    Operation(
        name="read_session",
        method="GET",
        path="/sessions/{id}",
        tag="sessions",
        summary="A session with all that was said",
        parameters=(Parameter("id", {"type": "string", "pattern": "^[0-9a-z-]{1,64}$"}, place="path"),),
        answers={200: _json("SessionWithTranscript")},
        errors=(404,),
    ),
    Operation(
        name="record_session",
        method="GET",
        path="/sessions/{id}/recording",
        tag="sessions",
        summary="A session with the messages that it brought, as a file for `ehlo replay`",
        description="Credentials are not in it, nor mail data that was not accepted.",
        parameters=(Parameter("id", {"type": "string", "pattern": "^[0-9a-z-]{1,64}$"}, place="path"),),
        answers={200: _json("Recording")},
        errors=(404,),
    ),
    Operation(
        name="list_inboxes",
        method="GET",
        path="/inboxes",
        tag="inboxes",
        summary="The inboxes",
        answers={200: _json("Inboxes")},
    ),
    Operation(
        name="create_inbox",
        method="POST",
        path="/inboxes",
        tag="inboxes",
        summary="Make an inbox with a login, a token and a link of its own",
        body={JSON: ref("NewInbox")},
        body_is_required=False,
        is_for_owner=True,
        answers={201: _json("CreatedInbox", "It is there.")},
        errors=(409, 415, 429),
    ),
    Operation(
        name="delete_inbox",
        method="DELETE",
        path="/inboxes/{name}",
        tag="inboxes",
        summary="Delete an inbox with all its mail",
        parameters=(Parameter("name", ANY_INBOX_NAME, place="path"),),
        answers={204: Answer("It is gone.", "")},
        errors=(404,),
    ),
    Operation(
        name="read_faults",
        method="GET",
        path="/faults",
        tag="faults",
        summary="What goes wrong on purpose, and the scenarios that are there",
        is_for_owner=True,
        answers={200: _json("Faults")},
    ),
    Operation(
        name="set_faults",
        method="PUT",
        path="/faults",
        tag="faults",
        summary="Begin with a scenario, from its beginning",
        description="On all listeners but those of inboxes with faults of their own. One of `name` and `toml` says"
        " which.",
        body={JSON: ref("NewFaults")},
        body_limit=1 << 20,
        is_for_owner=True,
        answers={200: _json("Faults", "They are in force.")},
        errors=(415,),
    ),
    Operation(
        name="clear_faults",
        method="DELETE",
        path="/faults",
        tag="faults",
        summary="Let nothing go wrong any more",
        is_for_owner=True,
        answers={204: Answer("They are gone.", "")},
    ),
    Operation(
        name="list_fired",
        method="GET",
        path="/faults/log",
        tag="faults",
        summary="Which rules fired, newest first",
        parameters=(_limit(50, 1000),),
        is_for_owner=True,
        answers={200: _json("Fired")},
    ),
    Operation(
        name="export",
        method="GET",
        path="/export",
        tag="archive",
        summary="The messages as a file: mbox, or a Maildir in a tar",
        parameters=(_INBOX, _Q, Parameter("format", {"type": "string", "enum": ["mbox", "maildir"]}, default="mbox")),
        answers={200: Answer("The file.", ANY)},
        errors=(400, 429),
    ),
    Operation(
        name="import",
        method="POST",
        path="/import",
        tag="archive",
        summary="Put messages in: an mbox, a tar of a Maildir or of files, or one message",
        description=f"At most {IMPORT_LIMIT} messages; what came before a mistake, or before the limit, stays. Sparse"
        " files in a tar are refused; links, directories and devices are passed over, and names mean nothing.",
        parameters=(_INBOX,),
        body={"application/mbox": None, "application/x-tar": None, MESSAGE: None},
        body_limit=1 << 30,
        answers={200: _json("Imported")},
        errors=(415, 429, 507),
    ),
)

_ERRORS = {
    400: "The query cannot be understood.",
    401: "A token is needed, or this one is not known.",
    403: "Not for this token, this host or this origin.",
    404: "There is none, or it is not for this token.",
    409: "It is in the way of what is there.",
    413: "Too much.",
    415: "Not one of the media types that are taken.",
    422: "A parameter or the body is not as described.",
    429: "Too many at once.",
    502: "The other server did not take it.",
    503: "It takes too long.",
    507: "It could not be stored.",
}
_ALWAYS = (401, 403)


@functools.cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 description."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ehlo inbox",
            "version": __version__,
            "description": "Mail that was caught: look at it, search it, wait for it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": PREFIX}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": {str(status): _describe_answer(answer) for status, answer in operation.answers.items()},
    }
    if operation.description:
        described["description"] = operation.description
    if operation.parameters:
        described["parameters"] = [_describe_parameter(parameter) for parameter in operation.parameters]
    errors = {*operation.errors, *_ALWAYS}
    if operation.parameters or operation.body:
        errors.add(422)
    if operation.body:
        errors.add(413)
        described["requestBody"] = {
            "required": operation.body_is_required,
            "content": {
                media_type: {"schema": {"type": "string"} if schema is None else schema}
                for media_type, schema in operation.body.items()
            },
        }
    for status in sorted(errors):
        described["responses"][str(status)] = _describe_answer(Answer(_ERRORS[status], JSON, ref("Error")))
    return described


def _describe_answer(answer: Answer) -> dict[str, Any]:
    if not answer.media_type:
        return {"description": answer.description}
    content: dict[str, Any] = {} if answer.schema is None else {"schema": answer.schema}
    return {"description": answer.description, "content": {answer.media_type: content}}


def _describe_parameter(parameter: Parameter) -> dict[str, Any]:
    is_path = parameter.place == "path"
    schema = parameter.schema if parameter.default is None else {**parameter.schema, "default": parameter.default}
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "required": is_path,
        "schema": schema,
    }
    if parameter.description:
        described["description"] = parameter.description
    if schema.get("type") == "array":
        described |= {"style": "form", "explode": False}
    return described
