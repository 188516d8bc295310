"""What the API speaks: the shapes of its JSON (JSON Schema 2020-12, as OpenAPI 3.1 has it).

Tables only.  ``ehlo.inbox.web.openapi`` puts them into the description of the API, ``ehlo.inbox.web.validation`` holds
what clients send against them; what the server sends is held against them by the tests.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT_LIMIT = 1000
"""Characters of anything that a client searches for."""
NAME_LIMIT = 64
"""Characters of the name of an inbox, and of a tag."""
IDS_LIMIT = 1000
"""Messages that one request may name."""
LARGEST_ID = 2**53 - 1
"""What JavaScript still counts exactly."""

ID: Schema = {"type": "integer", "minimum": 0, "maximum": LARGEST_ID}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
IDS: Schema = {"type": "array", "items": ID, "minItems": 1, "maxItems": IDS_LIMIT}
SEARCH: Schema = {"type": "string", "maxLength": TEXT_LIMIT}
# As ``ehlo.inbox.accounts`` wants the name of an inbox that is made; others come from logins, and may be anything.
INBOX_NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9][a-z0-9@+._-]{0,63}$"}
ANY_INBOX_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 256}
TAG: Schema = {"type": "string", "pattern": r"^[^\s,\x00-\x1f\x7f][^,\x00-\x1f\x7f]{0,63}$"}
TAGS: Schema = {"type": "array", "items": TAG, "maxItems": 20}


def array(items: Schema) -> Schema:
    """A list of one kind."""
    return {"type": "array", "items": items}


def ref(name: str) -> Schema:
    """One of ``SCHEMAS``."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object with these properties and no other; all are there but the ``optional`` ones."""
    required = [name for name in properties if name not in optional]
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


_SUMMARY: dict[str, Schema] = {
    "id": ID | {"description": "Grows in the order of arrival: it is the cursor of `wait` too."},
    "inbox": TEXT,
    "received_at": TIME,
    "size": COUNT | {"description": "Octets of the raw message."},
    "mail_from": TEXT | {"description": "The reverse-path; empty for `<>`."},
    "rcpt_tos": array(TEXT) | {"description": "The forward-paths: who gets it, whatever the header says."},
    "header_from": TEXT,
    "header_to": TEXT,
    "subject": TEXT,
    "message_id": TEXT,
    "snippet": TEXT,
    "attachments": COUNT,
    "has_html": FLAG,
    "is_read": FLAG,
    "is_indexed": FLAG | {"description": "Whether its text has been read, so that it is found by it."},
    "tags": array(TEXT),
    "session_id": TEXT,
}
_SESSION: dict[str, Schema] = {
    "id": TEXT,
    "peer": TEXT | {"description": "The client's address."},
    "listener": TEXT | {"description": "Where it connected to."},
    "inbox": MAYBE_TEXT | {"description": "The inbox whose session it was; null where that did not show."},
    "started_at": TIME,
    "ended_at": MAYBE_TIME,
    "helo": TEXT,
    "tls": MAYBE_TEXT,
    "login": MAYBE_TEXT,
    "outcome": {"type": "string", "enum": ["open", "delivered", "refused", "broken", "idle"]},
    "problem": MAYBE_TEXT | {"description": "What went wrong, in a sentence."},
    "is_refused": FLAG | {"description": "Whether anything in it was refused, or it broke off."},
    "messages": array(ID),
}

_SCENARIO = record(
    {
        "name": TEXT,
        "description": TEXT,
        "toml": TEXT | {"description": "Empty for one that was not written in TOML."},
        "rules": array(record({"name": TEXT, "verbs": array(TEXT), "act": TEXT})),
    }
)

SCHEMAS: dict[str, Schema] = {
    "Faults": record(
        {
            "scenario": {**_SCENARIO, "type": ["object", "null"]},
            "ready": array(_SCENARIO),
            "count": COUNT | {"description": "How many faults there were."},
        }
    ),
    "NewFaults": record(
        {
            "name": {"type": "string", "maxLength": NAME_LIMIT, "description": "One of those that are ready."},
            "toml": {"type": "string", "maxLength": 60_000},
        },
        optional=("name", "toml"),
    ),
    "Fired": record(
        {
            "fired": array(
                record(
                    {
                        "at": TIME,
                        "scenario": TEXT,
                        "rule": TEXT,
                        "act": TEXT | {"description": "What it did, in words."},
                        "acts": array(record({"at": TIME, "text": TEXT}))
                        | {"description": "Each thing that it did, and when it began."},
                        "verb": TEXT,
                        "session_id": TEXT,
                        "sender": MAYBE_TEXT,
                        "recipients": array(TEXT),
                    }
                )
            ),
            "count": COUNT | {"description": "How many there were, of which the newest 1000 are kept."},
        }
    ),
    "Error": record(
        {
            "error": record(
                {
                    "code": TEXT | {"description": "For programs: `not_found`, `invalid`, `bad_query` ..."},
                    "message": TEXT | {"description": "For people."},
                    "at": {"type": ["integer", "null"], "description": "Where in the query the mistake is."},
                },
                optional=("at",),
            )
        }
    ),
    "Info": record(
        {
            "version": TEXT,
            "smtp": array(TEXT) | {"description": "Where SMTP is spoken, `host:port` each."},
            "smtps": array(TEXT) | {"description": "Where TLS begins at once."},
            "tls": FLAG | {"description": "Whether STARTTLS is offered."},
            "auth": {"type": "string", "enum": ["any", "users"]},
            "is_persistent": FLAG,
            "retention": record(
                {
                    "count": {"type": ["integer", "null"]},
                    "octets": {"type": ["integer", "null"]},
                    "age": {"type": ["number", "null"]},
                }
            ),
            "inboxes": array(record({"name": TEXT, "messages": COUNT, "unread": COUNT})),
            "inbox": MAYBE_TEXT | {"description": "The only inbox that this token sees; null for all."},
            "can_create_inboxes": FLAG,
            "release": array(TEXT) | {"description": "Servers that messages may be released to."},
            "can_authenticate": FLAG | {"description": "Whether a report may tell of DKIM, SPF and DMARC."},
            "max_size": {"type": ["integer", "null"], "description": "Octets of the largest message; null for any."},
        }
    ),
    "Summary": record(_SUMMARY),
    "Part": record(
        {
            "index": COUNT,
            "parent": {"type": ["integer", "null"]},
            "depth": COUNT,
            "content_type": TEXT,
            "charset": MAYBE_TEXT,
            "filename": MAYBE_TEXT | {"description": "As the sender wrote it: never a path to use as it is."},
            "disposition": MAYBE_TEXT,
            "content_id": MAYBE_TEXT,
            "size": COUNT | {"description": "Octets of the decoded body, by estimate where it is large."},
            "is_attachment": FLAG,
        }
    ),
    "Link": record({"url": TEXT, "text": TEXT, "origin": TEXT | {"description": "`text` or `html`."}}),
    "Message": record(
        _SUMMARY
        | {
            "headers": array({"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2}),
            "text": MAYBE_TEXT,
            "has_remote": FLAG | {"description": "Whether its HTML asks for remote content, which is blocked."},
            "parts": array(ref("Part")),
            "links": array(ref("Link")),
            "codes": array(TEXT) | {"description": "What looks like a one-time code."},
            "envelope": record(
                {
                    "id": TEXT,
                    "mail_from": TEXT,
                    "rcpt_tos": array(TEXT),
                    "mail_options": array(TEXT),
                    "rcpt_options": array(array(TEXT)) | {"description": "Those of each recipient."},
                }
            ),
            "bare_newlines": FLAG | {"description": "Whether it had CR or LF alone."},
            "problem": MAYBE_TEXT | {"description": "Why it could not be read in full."},
        }
    ),
    "Finding": record(
        {
            "rule": TEXT | {"description": "What `ignore` names."},
            "severity": {"type": "string", "enum": ["error", "warning", "notice"]},
            "place": TEXT | {"description": "Where: a line, a part, a command; empty for the whole."},
            "text": TEXT,
            "source": TEXT | {"description": "Who says so: an RFC with its section, or another document."},
        }
    ),
    "Report": record(
        {
            "is_clean": FLAG | {"description": "Nothing worse than a notice."},
            "findings": array(ref("Finding")) | {"description": "The worst first."},
            "authentication": {
                "oneOf": [ref("Authentication"), {"type": "null"}],
                "description": "Results of DKIM, SPF and DMARC; null unless `address` asked for them.",
            },
        }
    ),
    "Authentication": record(
        {
            "dkim": array(
                record(
                    {
                        "domain": TEXT,
                        "selector": TEXT,
                        "result": {"type": "string", "enum": ["pass", "fail", "temperror", "permerror"]},
                        "reason": TEXT | {"description": "Why not; empty for pass."},
                    }
                )
            ),
            "spf": {
                "oneOf": [
                    record({"domain": TEXT, "result": TEXT, "steps": array(TEXT)}),
                    {"type": "null"},
                ],
                "description": "`result` is that of RFC 7208 §2.6, `steps` led to it.",
            },
            "dmarc": {
                "oneOf": [
                    record(
                        {
                            "domain": TEXT,
                            "passes": {"type": ["boolean", "null"], "description": "null: there is no way to know."},
                            "request": TEXT | {"description": "What the domain asks for if it does not pass."},
                            "steps": array(TEXT),
                        }
                    ),
                    {"type": "null"},
                ],
                "description": "null: From has no single domain.",
            },
        }
    ),
    "Messages": record(
        {
            "messages": array(ref("Summary")),
            "total": COUNT | {"description": "How many match, on all pages."},
            "unread": COUNT,
            "cursor": ID | {"description": "The newest message there is; for `after` of `wait`."},
        }
    ),
    "Waited": record(
        {
            "message": {
                "oneOf": [
                    record(_SUMMARY | {"text": MAYBE_TEXT, "links": array(ref("Link")), "codes": array(TEXT)}),
                    {"type": "null"},
                ],
                "description": "The first message that matches; null when the time was over.",
            },
            "cursor": ID | {"description": "Give it as `after` next time: nothing is missed, nothing is taken twice."},
            "arrived": array(ref("Summary")) | {"description": "What else arrived meanwhile: the last 20."},
        }
    ),
    "Changes": record(
        {"ids": IDS, "q": SEARCH, "all": FLAG, "is_read": FLAG, "add_tags": TAGS, "remove_tags": TAGS},
        optional=("ids", "q", "all", "is_read", "add_tags", "remove_tags"),
    ),
    "Change": record(
        {"is_read": FLAG, "add_tags": TAGS, "remove_tags": TAGS}, optional=("is_read", "add_tags", "remove_tags")
    ),
    "Changed": record({"changed": COUNT}),
    "Deleted": record({"deleted": COUNT}),
    "Imported": record({"imported": COUNT}),
    "ReleaseTo": record(
        {
            "host": {"type": "string", "minLength": 1, "maxLength": 255},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "recipients": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 320},
                "minItems": 1,
                "maxItems": 100,
            },
            "sender": {"type": "string", "maxLength": 320},
        },
        optional=("recipients", "sender"),
    ),
    "Released": record({"reply": TEXT | {"description": "What the server said."}, "recipients": array(TEXT)}),
    "Session": record(_SESSION),
    "Sessions": record(
        {
            "sessions": array(ref("Session")),
            "cursor": MAYBE_TEXT | {"description": "For `before`; null on the last page."},
        }
    ),
    "Line": record(
        {
            "at": {"type": "number", "description": "Seconds since the session began."},
            "by": {"type": "string", "enum": ["C", "S", "-"], "description": "Client, server, or what happened."},
            "text": TEXT,
        }
    ),
    "SessionWithTranscript": record(_SESSION | {"transcript": array(ref("Line"))}),
    "Recording": record(
        {
            "format": {"type": "string", "enum": ["ehlo-session-1"]},
            "session": ref("SessionWithTranscript"),
            "messages": array(record({"raw": TEXT | {"description": "In base64."}})),
        }
    ),
    "Inbox": record({"name": TEXT, "messages": COUNT, "unread": COUNT, "login": MAYBE_TEXT, "expires_at": MAYBE_TIME}),
    "Inboxes": record({"inboxes": array(ref("Inbox"))}),
    "NewInbox": record(
        {
            "name": INBOX_NAME,
            "ttl": {
                "type": "number",
                "minimum": 1,
                "maximum": 31_536_000,
                "description": "Seconds until it is deleted with all its mail.",
            },
        },
        optional=("name", "ttl"),
    ),
    "CreatedInbox": record(
        {
            "name": TEXT,
            "smtp": record({"host": TEXT, "port": {"type": "integer"}, "login": TEXT, "password": TEXT}),
            "token": TEXT | {"description": "For `Authorization: Bearer`; it sees this inbox only."},
            "link": TEXT | {"description": "The page, with the token."},
            "expires_at": MAYBE_TIME,
        }
    ),
}
