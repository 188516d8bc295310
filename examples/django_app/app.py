"""A Django application that signs people in by a link in a mail.  `python app.py runserver` runs it."""

import os
import sys

import django
from django.conf import settings
from django.core import signing
from django.core.mail import send_mail
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEFAULT_FROM_EMAIL="Example <hello@app.example>",
    EMAIL_HOST=os.environ.get("EMAIL_HOST", "127.0.0.1"),
    EMAIL_PORT=int(os.environ.get("EMAIL_PORT", "8025")),
    ROOT_URLCONF=__name__,
    SECRET_KEY="not a secret",  # noqa: S106 - an example
)
django.setup()


def sign_in(request: HttpRequest) -> HttpResponse:
    address = request.POST["email"]
    link = request.build_absolute_uri(f"/welcome?token={signing.dumps(address)}")
    send_mail(
        "Sign in to Example",
        f"Hello,\n\nthis link signs you in:\n{link}\n",
        None,
        [address],
        html_message=f'<p>Hello,</p><p><a href="{link}">Sign in</a></p>',
    )
    return HttpResponse("Look into your mail.")


def welcome(request: HttpRequest) -> HttpResponse:
    try:
        address = signing.loads(request.GET["token"], max_age=600)
    except signing.BadSignature:
        return HttpResponse("This link is not valid, or not any more.", status=403)
    return HttpResponse(f"Welcome, {address}!")


urlpatterns = [path("sign-in", sign_in), path("welcome", welcome)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
