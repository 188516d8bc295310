"""A key, a zone that publishes it, and messages signed with it."""

from __future__ import annotations

import base64
from functools import cache

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ehlo.report.dns import Zone
from ehlo.report.mail import Mail

ADDRESS = "192.0.2.1"
KEY = "one._domainkey.sender.example"


@cache
def key(bits: int) -> tuple[bytes, str]:
    """A private key in PEM, and the public one as a DKIM record has it."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem, base64.b64encode(public).decode()


def zone(bits: int = 2048) -> Zone:
    return Zone(
        f"""
        {KEY} TXT "v=DKIM1; k=rsa; p={key(bits)[1]}"
        sender.example TXT "v=spf1 ip4:{ADDRESS} -all"
        _dmarc.sender.example TXT "v=DMARC1; p=reject"
        """
    )


def signed(one: Mail, bits: int = 2048, **options: object) -> Mail:
    signature = dkim.sign(one.raw, b"one", b"sender.example", key(bits)[0], **options)
    return Mail(signature + one.raw, mail_from="anna@sender.example")
