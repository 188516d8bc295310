"""A FastAPI application that signs people in by a code in a mail.  `uvicorn app:app` runs it."""

import os
import secrets
import smtplib
from email.message import EmailMessage
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import BackgroundTasks, Body, FastAPI, HTTPException

app = FastAPI()
codes: dict[str, str] = {}


@app.post("/sign-in", status_code=202)
def sign_in(email: Annotated[str, Body(embed=True)], tasks: BackgroundTasks) -> None:
    codes[email] = f"{secrets.randbelow(1_000_000):06}"
    tasks.add_task(send_code, email, codes[email])


@app.post("/code")
def check(email: Annotated[str, Body()], code: Annotated[str, Body()]) -> str:
    if not secrets.compare_digest(codes.pop(email, ""), code):
        raise HTTPException(403, "This code is not valid, or not any more.")
    return f"Welcome, {email}!"


def send_code(address: str, code: str) -> None:
    message = EmailMessage()
    message["From"] = "Example <hello@app.example>"
    message["To"] = address
    message["Subject"] = "Your code"
    message.set_content(f"Hello,\n\nyour code is {code}. It is good for one sign-in.\n")
    server = urlsplit(os.environ.get("SMTP_URL", "smtp://127.0.0.1:8025"))
    with smtplib.SMTP(server.hostname or "", server.port or 25) as client:
        client.send_message(message)
