"""A certificate for this machine's own names, for trying TLS out: made once, kept, and how to trust it.

Two certificates are made: an authority of this machine's user, to be trusted, and one for the server, signed by it.
The authority's key is thrown away as soon as it has signed: who trusts it trusts one certificate, and nobody who reads
the files can make another.  Needs ``cryptography``, of the extra ``inbox``.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    raise ImportError("--tls needs cryptography: pip install 'ehlo[inbox]'") from error

DAYS = 397
"""More is refused by some (Apple's limit for certificates is 398 days; users' own authorities are given 825)."""
RENEW_DAYS = 7
_NAME_LIMIT = 64  # of a common name, RFC 5280 A.1


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files: the server's certificate with its key, and the authority to trust."""

    chain: Path
    authority: Path

    def context(self) -> ssl.SSLContext:
        """TLS for a server with it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.chain)
        return context

    def how_to_trust(self) -> str:
        """What a user can do with the authority's file, in a few lines."""
        path = self.authority
        return (
            f"TLS certificate: {self.chain}\n"
            f"To trust it in one program:   SSL_CERT_FILE={path}   (Python, OpenSSL, Go)\n"
            f"                              NODE_EXTRA_CA_CERTS={path}   (Node)\n"
            f"                              curl --cacert {path}"
        )


def state_folder() -> Path:
    """Where this user's programs keep what they made: by the custom of the system."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "ehlo"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "ehlo"
    return Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "ehlo"


def own_certificate(folder: Path | None = None, hosts: Sequence[str] = ()) -> Certificate:
    """The certificate in a folder (None: ``state_folder``), made if there is none that is good for all names.

    The names are localhost, 127.0.0.1, ::1, this host's name and ``hosts``.  ``OSError`` if the folder cannot be
    written.
    """
    folder = folder or state_folder()
    names = list(dict.fromkeys(["localhost", "127.0.0.1", "::1", *_host_names(), *hosts]))
    found = Certificate(folder / "server.pem", folder / "authority.pem")
    if not _is_good(found, names):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(found, names)
    return found


def _host_names() -> list[str]:
    name = socket.gethostname().lower()
    return [name] if _is_name(name) else []


def _is_name(name: str) -> bool:
    return (
        0 < len(name) <= 253
        and name.isascii()
        and all(part.strip("-").replace("-", "").isalnum() for part in name.split("."))
    )


def _is_good(found: Certificate, names: Sequence[str]) -> bool:
    """Whether the files are there, belong together, and go on to be good for a while."""
    try:
        certificate = x509.load_pem_x509_certificate(found.chain.read_bytes())
        authority = x509.load_pem_x509_certificate(found.authority.read_bytes())
        certificate.verify_directly_issued_by(authority)
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found.context()
    except FileNotFoundError:
        return False
    except Exception:  # noqa: BLE001 - whatever is wrong with them, new ones are made
        return False
    known = {str(name.value) for name in alternative}
    until = dt.datetime.now(dt.UTC) + dt.timedelta(days=RENEW_DAYS)
    return known.issuperset(names) and bool(certificate.not_valid_after_utc > until)


def _make(to: Certificate, names: Sequence[str]) -> None:

    now = dt.datetime.now(dt.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_NAME_LIMIT])])

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(authority_name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=DAYS))
            .add_extension(
                x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True
            )
            .add_extension(_key_usage(is_authority=is_authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )

    authority_name = f"ehlo inbox on {socket.gethostname()}"
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate(authority_name, authority_key, is_authority=True).sign(authority_key, hashes.SHA256())
    server = (
        certificate("localhost", key, is_authority=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(to.authority, authority.public_bytes(pem), mode=0o644)
    _write(to.chain, server.public_bytes(pem) + private, mode=0o600)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file as a whole or not at all, never readable by more than ``mode`` says."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.touch(mode)
    temporary.write_bytes(data)
    temporary.replace(path)
