"""What the API says instead of what was asked for: one shape, the right status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ehlo.inbox.web.output import Json

if TYPE_CHECKING:
    from starlette.responses import Response


class ApiError(Exception):
    """The client's fault, or something that the client must know.  ``text`` is for people, ``code`` for programs."""

    def __init__(
        self,
        status: int,
        code: str,
        text: str,
        *,
        headers: Mapping[str, str] | None = None,
        at: int | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.headers = headers
        self.at = at

    def response(self) -> Response:
        """As it goes out."""
        error: dict[str, Any] = {"code": self.code, "message": self.text}
        if self.at is not None:
            error["at"] = self.at
        return Json({"error": error}, self.status, headers=self.headers)


def not_found(what: str = "There is no such thing, or it is not for this token") -> ApiError:
    """404: also for what is there and belongs to somebody else, who need not know."""
    return ApiError(404, "not_found", what)


def invalid(text: str) -> ApiError:
    """422."""
    return ApiError(422, "invalid", text)


def forbidden(text: str, code: str = "forbidden") -> ApiError:
    """403."""
    return ApiError(403, code, text)
