"""Kinds of client and server that must survive a takeover: one line each.

Paths are relative: the server runs in its node's directory below the lab's, the client in the
lab's. ``files`` are written into the lab's directory before anything starts; a name that ends in
``.sh`` is made executable.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.integration.conftest import OPENVPN
from tests.lab.lab import Lab
from tests.lab.pki import static_key

LOGIN = {"login": "alice\nsecret\n", "verify.sh": "#!/bin/sh\nexit 0\n"}
VERIFY = ("script-security 3", "auth-user-pass-verify ../verify.sh via-env")
TOKEN = ("auth-gen-token 0", "auth-gen-token-secret ../token.key")
CCD = """\
ifconfig-push 10.8.1.77 255.255.252.0
iroute 10.50.0.0 255.255.255.0
push "route 203.0.113.0 255.255.255.0"
"""
CONNECT = """\
#!/bin/sh
printf 'ifconfig-push 10.8.1.78 255.255.252.0\\niroute 10.51.0.0 255.255.255.0\\n' >"$1"
"""
NOTE = '#!/bin/sh\necho "$@" >>scripts.log\nexit 0\n'


@dataclass(frozen=True)
class Row:
    """One kind of client on one kind of server."""

    name: str
    server: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    tls_crypt: bool = True
    status: tuple[str, ...] = ()  # what the new master's status file must say
    old_client: bool = False  # one as of 2.5
    compresses: bool = False  # what the new master sends is shorter than what comes out of it
    client_log: str = ""  # what the client must have said when it connected: the row is real


def cipher(name: str, *more: str) -> Row:
    return Row(
        name.lower(),
        server=(f"data-ciphers {name}", *more),
        client=(f"data-ciphers {name}", *more),
        client_log=f"cipher '{name}'",
    )


def compression(algorithm: str, *lines: str) -> Row:
    """Both sides compress what they send."""
    both = (*lines, "allow-compression yes")
    return Row(
        "-".join(" ".join(lines).split()),
        server=both,
        client=(*both, "status client.status 1"),
        compresses=True,
        client_log=f"compression: '{algorithm}'",
    )


def statics(*names: str) -> dict[str, str]:
    return {name: static_key() for name in names}


CIPHERS = (
    cipher("AES-128-GCM"),
    cipher("CHACHA20-POLY1305"),
    cipher("AES-256-CBC", "auth SHA512"),
    Row("tls-1.2", server=("tls-version-max 1.2",), client_log="TLSv1.2"),
    Row(
        "tls-1.2-cipher",
        server=("tls-version-max 1.2", "tls-cipher TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"),
        client_log="TLSv1.2",
    ),
)

TAP = ("dev-type tap",)
TAPS = (
    Row("tap", server=TAP, client=TAP, status=("ROUTING_TABLE,",)),
    Row("tap-lladdr", server=(*TAP, "lladdr 02:00:00:00:08:01"), client=TAP),
    Row("tap-fragment", server=(*TAP, "fragment 1200"), client=(*TAP, "fragment 1200")),
)

CONTROL_CHANNEL = (
    Row("plain-control", tls_crypt=False),
    Row(
        "tls-auth",
        server=("tls-auth ../ta.key 0",),
        client=("tls-auth ta.key 1",),
        files=statics("ta.key"),
        tls_crypt=False,
    ),
    Row(
        "tls-auth-sha512",
        server=("tls-auth ../ta.key", "auth SHA512"),
        client=("tls-auth ta.key", "auth SHA512"),
        files=statics("ta.key"),
        tls_crypt=False,
    ),
    Row(
        "tls-crypt-v2",
        server=("tls-crypt-v2 ../v2-server.key",),
        client=("tls-crypt-v2 v2-client.key",),
        tls_crypt=False,
    ),
    Row(
        "tls-crypt-v2-cookie",
        server=("tls-crypt-v2 ../v2-server.key force-cookie",),
        client=("tls-crypt-v2 v2-client.key",),
        tls_crypt=False,
    ),
)

OLD_CLIENTS = tuple(
    replace(row, name=f"old-{row.name}", old_client=True, client_log="")
    for row in (Row("tls-crypt"), *CONTROL_CHANNEL, cipher("AES-256-CBC"))
)

AUTHENTICATION = (
    Row(
        "password-and-token",
        server=(*VERIFY, *TOKEN),
        client=("auth-user-pass login", "auth-nocache"),
        files=LOGIN,
    ),
    Row(
        "no-client-certificate",
        server=(*VERIFY, *TOKEN, "verify-client-cert none", "username-as-common-name"),
        client=("auth-user-pass login",),
        files=LOGIN,
        status=("alice",),
    ),
    Row(
        "tls-verify",
        server=("script-security 2", "tls-verify ../note.sh", "verify-client-cert require"),
        files={"note.sh": NOTE},
    ),
)

ADDRESSES = (
    Row("topology-net30", server=("topology net30",)),
    Row("topology-p2p", server=("topology p2p",)),
    Row(
        "client-config-dir",
        server=("client-config-dir ../ccd", "route 10.50.0.0 255.255.255.0", "ccd-exclusive"),
        files={"ccd/client": CCD},
        status=("10.8.1.77", "10.50.0.0/24"),
        client_log="203.0.113.0",
    ),
    Row(
        "client-connect",
        server=(
            "script-security 2",
            "client-connect ../connect.sh",
            "client-disconnect ../note.sh",
            "learn-address ../note.sh",
            "route 10.51.0.0 255.255.255.0",
        ),
        files={"connect.sh": CONNECT, "note.sh": NOTE},
        status=("10.8.1.78", "10.51.0.0/24"),
    ),
    Row("pool-persist", server=("ifconfig-pool-persist ipp.txt 1",)),
    Row("duplicate-cn", server=("duplicate-cn", "client-to-client")),
    Row("one-client-only", server=("max-clients 1",)),
)

HABITS = (
    Row(
        "installer-scripts",
        server=(
            'push "dhcp-option DNS 192.0.2.53"',
            'push "block-outside-dns"',
            "tls-version-min 1.2",
            "ecdh-curve prime256v1",
            "auth SHA256",
            "fast-io",
            "sndbuf 524288",
            "rcvbuf 524288",
            "txqueuelen 500",
            "mute 20",
            "explicit-exit-notify 1",
            "tcp-queue-limit 256",
            "user nobody",
            "group nogroup",
        ),
        client=("auth SHA256", "explicit-exit-notify 2", "float"),
    ),
    Row("chroot", server=("chroot ../jail", "user nobody"), files={"jail/tmp/keep": ""}),
    Row("mssfix-and-mtu", server=("tun-mtu 1400", "mssfix 1300"), client=("tun-mtu 1400",)),
    Row("reneg-bytes", server=("reneg-bytes 40000000", "reneg-sec 0")),
    Row("compress-migrate", server=("compress migrate",)),
    Row("fragment", server=("fragment 1200",), client=("fragment 1200",)),
    Row(
        "fragment-small-cbc",
        server=("fragment 576", "mssfix", "data-ciphers AES-256-CBC"),
        client=("fragment 576", "mssfix", "data-ciphers AES-256-CBC"),
    ),
    compression("lzo", "comp-lzo"),
    compression("lzo", "comp-lzo adaptive", "fragment 1300"),
    compression("lzo", "compress lzo", "comp-noadapt"),
    compression("lz4", "compress lz4"),
    compression("lz4v2", "compress lz4-v2"),
    Row(
        "comp-lzo-asym",
        server=("comp-lzo adaptive", "allow-compression asym"),
        client=("comp-lzo",),
    ),
    Row(
        "comp-lzo-pushed",
        server=("comp-lzo", "allow-compression yes", 'push "comp-lzo yes"'),
        client=("comp-lzo no", "allow-compression yes"),
        old_client=True,
    ),
    Row(
        "compress-pushed",
        server=("compress lz4-v2", "allow-compression yes", 'push "compress lz4-v2"'),
        client=("compress", "allow-compression yes"),
    ),
    Row("short-keepalive", server=("keepalive 1 4",)),
    Row("inactive", server=('push "inactive 3600"', "inactive 3600", "session-timeout 3600")),
)

ROWS = (*CIPHERS, *TAPS, *CONTROL_CHANNEL, *OLD_CLIENTS, *AUTHENTICATION, *ADDRESSES, *HABITS)


def write_files(row: Row, lab: Lab) -> None:
    """Write what the row's options name into the lab's directory."""
    for name, text in row.files.items():
        path = lab.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    if "v2-server" in "".join(row.server):
        make_v2_keys(lab.directory)
    if "token.key" in "".join(row.server):
        genkey(lab.directory, "auth-token", "token.key")
    for name in lab.nodes:
        for kept in ("status.log", "ipp.txt", "scripts.log"):  # written by who is nobody then
            (lab.directory / name / kept).touch(0o666)
            (lab.directory / name / kept).chmod(0o666)


def genkey(directory: Path, kind: str, file: str, *more: str) -> None:
    command = [str(OPENVPN), *more, "--genkey", kind, file]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)


def make_v2_keys(directory: Path) -> None:
    genkey(directory, "tls-crypt-v2-server", "v2-server.key")
    genkey(directory, "tls-crypt-v2-client", "v2-client.key", "--tls-crypt-v2", "v2-server.key")
