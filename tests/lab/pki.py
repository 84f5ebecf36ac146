"""The keys and certificates of one lab, made fresh for every run and gone with it."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = datetime.timedelta(days=2)


class Pki:
    """A certificate authority that writes what it issues into one directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("ovpnha lab CA")
        usage = x509.BasicConstraints(ca=True, path_length=0)
        builder = _builder(self.name, self.name, self.key).add_extension(usage, critical=True)
        self._write("ca.crt", builder.sign(self.key, hashes.SHA256()))
        (directory / "tls-crypt.key").write_text(static_key())

    def issue(self, name: str, *, server: bool, more_names: Sequence[str] = ()) -> None:
        """Write ``name.crt`` and ``name.key`` for a server or a client, with such DNS names."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(_name(name), self.name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_signing_only(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if more_names:
            names = x509.SubjectAlternativeName(map(x509.DNSName, more_names))
            builder = builder.add_extension(names, critical=False)
        self._write(f"{name}.crt", builder.sign(self.key, hashes.SHA256()))
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self.directory / f"{name}.key").write_bytes(private)

    def _write(self, name: str, certificate: x509.Certificate) -> None:
        text = certificate.public_bytes(serialization.Encoding.PEM)
        (self.directory / name).write_bytes(text)


def static_key() -> str:
    """An OpenVPN static key, 2048 bits, in its file format."""
    data = secrets.token_hex(256)
    lines = [data[at : at + 32] for at in range(0, len(data), 32)]
    head, foot = "-----BEGIN OpenVPN Static key V1-----", "-----END OpenVPN Static key V1-----"
    return "\n".join([head, *lines, foot, ""])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
    )


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
