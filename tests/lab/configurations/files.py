"""The files that the configurations of ``tests/configurations`` name, all of them, made fresh."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.lab.pki import Pki, static_key

INLINE = re.compile(r"^@(\S+)@$", re.MULTILINE)
"""Where the content of a file goes, in a configuration that has its files in itself."""
LOGIN = "client\nsecret\n"
"""The user is named as the client's certificate is, so that both find the same files."""
WRITTEN = ("ipp.txt", "leases.db", "status.log", "instance.pid")
"""What servers write beside their configuration."""


def write_files(authority: Pki, openvpn: Path) -> None:
    """Into the directory of the authority, which has the server's certificate already."""
    directory = authority.directory
    (directory / "crl.pem").write_bytes(_empty_crl(authority))
    (directory / "login").write_text(LOGIN)
    for name in ("ta.key", "tc.key"):
        (directory / name).write_text(static_key())
    group = ("-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")
    _run("openssl", "genpkey", *group, "-out", directory / "dh.pem")
    server, client = directory / "server-v2.key", directory / "client-v2.key"
    _run(openvpn, "--genkey", "tls-crypt-v2-server", server)
    _run(openvpn, "--tls-crypt-v2", server, "--genkey", "tls-crypt-v2-client", client)
    _run(openvpn, "--genkey", "auth-token", directory / "token.key")
    for name in ("ccd", "crl", "ca"):
        (directory / name).mkdir()
    (directory / "ccd" / "alice").write_text("ifconfig-push 10.8.0.9 255.255.255.0\n")
    certificate = directory / "ca.crt"
    name = _run("openssl", "x509", "-noout", "-hash", "-in", certificate).strip()
    shutil.copy(certificate, directory / "ca" / f"{name}.0")


def fill(text: str, directory: Path) -> str:
    """The configuration with the files that it has in itself."""
    return INLINE.sub(lambda match: (directory / match[1]).read_text().rstrip("\n"), text)


def give_files(source: Path, target: Path) -> None:
    """Copies of all of them, beside a server's configuration."""
    shutil.copytree(source, target, dirs_exist_ok=True)


def let_nobody_write(directory: Path) -> None:
    """What servers write is there, for whoever they become."""
    for name in WRITTEN:
        (directory / name).touch()
        (directory / name).chmod(0o666)


def _empty_crl(authority: Pki) -> bytes:
    """A list of what is revoked: nothing."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.name)
    builder = builder.last_update(now).next_update(now + datetime.timedelta(days=1))
    signed = builder.sign(authority.key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
