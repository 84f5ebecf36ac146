"""The certificates of a server's configuration: what they say of time, and whether the key fits.

Decides nothing. The private key is looked at for its public half only, and never leaves this file.
A key behind a passphrase stays closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ovpnha.doctor.facts import CertificateFacts, Unread
from ovpnha.runtime.serverfile import Server

Found = CertificateFacts | Unread
FILE_LIMIT = 16 * 1024 * 1024


def read_certificates(server: Server) -> Iterator[Found]:
    """Of the server, of its authority, and of the list of the revoked."""
    if server.has("pkcs12"):
        yield Unread(f"{server.path}: pkcs12 may be behind a passphrase; openssl pkcs12 -in FILE")
    for option, role in (("cert", "certificate"), ("ca", "ca")):
        if server.has(option):
            yield from _read(server, option, role)
    if server.has("crl-verify") and "dir" not in server.last("crl-verify"):
        yield from _read(server, "crl-verify", "crl")


def _read(server: Server, option: str, role: str) -> Iterator[Found]:
    data, where = _content(server, option)
    if isinstance(data, Unread):
        yield data
        return
    try:
        found = list(_parse(server, data, where, role))
    except ValueError as error:
        found = [Unread(f"{where}: {str(error).splitlines()[0]}")]
    yield from found


def _content(server: Server, option: str) -> tuple[bytes | Unread, str]:
    """What an option names, or has in itself; and where that is."""
    inline = server.inline.get(option)
    if inline is not None:
        return inline.encode(), f"<{option}> in {server.path}"
    path = _base(server) / server.word(option)
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT), str(path)
    except OSError as error:
        return Unread(f"{path}: {error.strerror}; run as root"), str(path)


def _base(server: Server) -> Path:
    """What the names of files begin from."""
    return server.path.parent / server.word("cd")


def _parse(server: Server, data: bytes, where: str, role: str) -> Iterator[Found]:
    if role == "crl":
        crl = x509.load_pem_x509_crl(data)
        yield CertificateFacts(
            role,
            where,
            _name(crl.issuer),
            _seconds(crl.last_update_utc),
            None if crl.next_update_utc is None else _seconds(crl.next_update_utc),
        )
        return
    for number, one in enumerate(x509.load_pem_x509_certificates(data)):
        first = role == "certificate" and number == 0
        yield CertificateFacts(
            role if first or role == "ca" else "ca",
            where,
            _name(one.subject),
            _seconds(one.not_valid_before_utc),
            _seconds(one.not_valid_after_utc),
            _fits(server, one) if first else None,
        )


def _fits(server: Server, certificate: x509.Certificate) -> bool | None:
    """Whether the server's key is this certificate's; None when that cannot be seen."""
    if not server.has("key"):
        return None
    data, _ = _content(server, "key")
    if isinstance(data, Unread):
        return None
    try:
        public = load_pem_private_key(data, None).public_key()
    except (ValueError, TypeError):  # of another kind, or behind a passphrase
        return None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    text = str(common[0].value) if common else name.rfc4514_string()
    return text if text.isprintable() else repr(text)[1:-1]


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
