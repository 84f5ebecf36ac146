"""Every option of OpenVPN, and whether two nodes may differ in it: the source of docs/options.md.

`COMPARED` names the options that are in the digest of `cluster-status`, each with lines that give
it another value (`tests/integration/test_digest.py` tries them all). Every other option stands
under the reason for which it is not. `openvpn-patches/common/cluster_digest.c` is what it tells of.
"""

from __future__ import annotations

COMPARED: dict[str, str] = {
    "proto": "proto udp6\nlocal ::1",
    "local": "local 127.0.0.2",
    "cluster-address": "cluster-address 192.0.2.11",
    "port": "port 1195",
    "float": "float",
    "tls-auth": "tls-auth first.key 0",
    "tls-crypt": "tls-crypt first.key",
    "tls-crypt-v2": "tls-crypt-v2 v2.key",
    "key-direction": "key-direction 1",
    "tls-version-min": "tls-version-min 1.3",
    "tls-version-max": "tls-version-max 1.2",
    "tls-cipher": "tls-cipher TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384",
    "tls-ciphersuites": "tls-ciphersuites TLS_AES_256_GCM_SHA384",
    "tls-groups": "tls-groups secp384r1",
    "ecdh-curve": "ecdh-curve secp384r1",
    "tls-cert-profile": "tls-cert-profile preferred",
    "verify-client-cert": "verify-client-cert optional",
    "username-as-common-name": "username-as-common-name",
    "auth-user-pass-optional": "auth-user-pass-optional",
    "opt-verify": "opt-verify",
    "hand-window": "hand-window 61",
    "tran-window": "tran-window 3601",
    "reneg-sec": "reneg-sec 1800",
    "reneg-bytes": "reneg-bytes 100000000",
    "reneg-pkts": "reneg-pkts 1000000",
    "auth-gen-token": "auth-gen-token 60\nauth-gen-token-secret token.key",
    "auth-gen-token-secret": "auth-gen-token-secret other-token.key",
    "data-ciphers": "data-ciphers AES-256-GCM:AES-128-GCM",
    "data-ciphers-fallback": "data-ciphers-fallback AES-256-CBC",
    "auth": "auth SHA512",
    "replay-window": "replay-window 128 15",
    "ping": "ping 11",
    "ping-restart": "ping-restart 61",
    "ping-exit": "ping-exit 61",
    "inactive": "inactive 3600",
    "session-timeout": "session-timeout 3600",
    "tun-mtu": "tun-mtu 1400",
    "mssfix": "mssfix 1300",
    "fragment": "fragment 1300",
    "compress": "compress stub-v2",
    "comp-lzo": "comp-lzo no",
    "topology": "topology p2p",
    "ifconfig": "server 10.9.0.0 255.255.255.0",
    "ifconfig-ipv6": "server-ipv6 2001:db8::/64",
    "ifconfig-pool": "ifconfig-pool 10.8.0.20 10.8.0.30 255.255.255.0",
    "ifconfig-ipv6-pool": "ifconfig-ipv6-pool 2001:db8::1000/64",
    "ifconfig-push-constraint": "server 10.7.0.0 255.255.0.0",
    "max-clients": "max-clients 100",
    "dev-type": "dev-type tap",
    "vlan-tagging": "dev-type tap\nvlan-tagging\nvlan-pvid 2",
    "vlan-accept": "dev-type tap\nvlan-tagging\nvlan-accept tagged",
    "vlan-pvid": "dev-type tap\nvlan-tagging\nvlan-pvid 3",
    "max-routes-per-client": "max-routes-per-client 16",
    "duplicate-cn": "duplicate-cn",
    "client-to-client": "client-to-client",
    "push": 'push "route 10.9.0.0 255.255.255.0"',
    "ca": "ca other-ca.crt",
    "capath": "capath certificates",
    "crl-verify": "crl-verify certificates dir",
    "verify-x509-name": "verify-x509-name office name-prefix",
    "ns-cert-type": "ns-cert-type client",
    "remote-cert-ku": "remote-cert-ku 80",
    "remote-cert-eku": 'remote-cert-eku "TLS Web Client Authentication"',
    "remote-cert-tls": "remote-cert-tls client",
    "verify-hash": "verify-hash " + ":".join(["ab"] * 32) + " SHA256",
    "peer-fingerprint": "peer-fingerprint " + ":".join(["ab"] * 32),
    "x509-username-field": "x509-username-field emailAddress",
    "tls-verify": "script-security 2\ntls-verify /bin/true",
    "tls-crypt-v2-verify": "script-security 2\ntls-crypt-v2 v2.key\ntls-crypt-v2-verify /bin/true",
    "auth-user-pass-verify": "script-security 2\nauth-user-pass-verify /bin/true via-env",
    "client-config-dir": "client-config-dir certificates",
    "ccd-exclusive": "ccd-exclusive",
    "client-connect": "script-security 2\nclient-connect /bin/true",
    "client-disconnect": "script-security 2\nclient-disconnect /bin/true",
    "client-crresponse": "script-security 2\nclient-crresponse /bin/true",
    "learn-address": "script-security 2\nlearn-address /bin/true",
    "plugin": "plugin PLUGIN /bin/true",
}
"""In a line, `PLUGIN` is a plugin that the test finds."""

BESIDE: dict[str, str] = {
    "cluster-address": "local 0.0.0.0\ncluster-address 192.0.2.10",
    "auth-user-pass-optional": "script-security 2\nauth-user-pass-verify /bin/true via-env",
    "username-as-common-name": "script-security 2\nauth-user-pass-verify /bin/true via-env",
    "verify-client-cert": "script-security 2\nauth-user-pass-verify /bin/true via-env",
    "auth-gen-token-secret": "auth-gen-token 60\nauth-gen-token-secret token.key",
    "tls-crypt-v2-verify": "script-security 2\ntls-crypt-v2 v2.key",
    "key-direction": "tls-auth first.key 0",
    "ccd-exclusive": "client-config-dir certificates",
    "ifconfig-pool": "server 10.8.0.0 255.255.255.0 nopool",
    "ifconfig-ipv6-pool": "ifconfig-ipv6 2001:db8::1/64 2001:db8::2",
    "ping-exit": "ping-restart 0",
    "vlan-tagging": "dev-type tap",
    "vlan-accept": "dev-type tap\nvlan-tagging",
    "vlan-pvid": "dev-type tap\nvlan-tagging",
}
"""What the server has in both cases, where the option cannot stand alone."""

DIFFERENT_FILES = {"tls-auth": "tls-auth second.key 0", "tls-crypt": "tls-crypt second.key"}
"""Not only whether there is a file counts, but what is in it."""

NOT_COMPARED: dict[str, str] = {
    "A shorthand; what it sets is compared": """
        bind keepalive lport ncp-ciphers cipher server server-ipv6 mode tls-server udp-mtu
        client-cert-not-required mtu-dynamic push-remove push-reset server-bridge
        redirect-gateway redirect-private dns dhcp-option""",
    "Compared apart: certificate and issuer": "cert pkcs12",
    "Part of the certificate, or it does not start": """
        key extra-certs askpass pkcs11-cert-private pkcs11-id pkcs11-id-management
        pkcs11-pin-cache pkcs11-private-mode pkcs11-protected-authentication pkcs11-providers
        engine providers dh""",
    "Belongs to the machine: its paths, users, devices, interfaces": """
        bind-dev cd chroot config connection daemon dev dev-node group iproute lladdr
        mark mktun persist-key persist-local-ip persist-remote-ip persist-tun rmtun setcon
        tmp-dir user writepid ifconfig-pool-persist replay-persist mlock nice up down
        down-pre up-delay up-restart route route-delay route-gateway route-ipv6
        route-ipv6-gateway route-metric route-noexec route-pre-down route-up ifconfig-noexec
        ifconfig-nowarn ipchange service memstats port-share tap-sleep""",
    "What is logged, shown or told": """
        verb mute mute-replay-warnings log log-append syslog status status-version
        suppress-timestamps errors-to-stderr machine-readable-output echo setenv setenv-safe
        x509-track tls-export-cert gremlin""",
    "Costs or saves time and memory, nothing else": """
        bcast-buffers fast-io hash-size rcvbuf sndbuf socket-flags txqueuelen tcp-nodelay
        tcp-queue-limit passtos mtu-disc mtu-test max-packet-size tun-mtu-max tun-mtu-extra
        link-mtu stale-routes-check shaper connect-freq connect-freq-initial tls-timeout
        allow-compression comp-noadapt multihome""",
    "How the nodes talk to each other and to ovpnha; `cluster` itself checks it": """
        cluster cluster-broadcast-address cluster-port cluster-spare management
        management-client-group management-client-user management-log-cache
        management-forget-disconnect
        management-up-down management-signal""",
    "Must allow what the compared options need; else each node says so by itself": """
        script-security compat-mode ignore-unknown-option compat-names no-name-remapping
        disable-occ explicit-exit-notify prng use-prediction-resistance
        remap-usr1 push-continuation protocol-flags force-tls-key-material-export
        keying-material-exporter key-derivation peer-id parameter""",
    "Refused with `cluster`": """
        no-replay management-client management-client-auth management-hold
        management-query-passwords management-external-cert management-external-key
        management-query-proxy management-query-remote tls-client client secret""",
    "Does not change what the data channel does; DCO is refused as such": "disable-dco",
    "For one client: it travels in the client's record": """
        disable iroute iroute-ipv6 ifconfig-push ifconfig-ipv6-push""",
    "For clients, Windows or point-to-point": """
        allow-nonadmin allow-pull-fqdn allow-recursive-routing auth-nocache auth-retry auth-token
        auth-token-user auth-user-pass block-ipv6 block-outside-dns client-nat connect-retry
        connect-retry-max connect-timeout cryptoapicert dhcp-internal dhcp-pre-release
        dhcp-release dhcp-renew http-proxy http-proxy-option http-proxy-override
        http-proxy-retry http-proxy-timeout http-proxy-user-pass ip-remote-hint ip-win32
        max-routes msg-channel nobind pause-exit ping-timer-rem preresolve proto-force pull
        pull-filter push-peer-info rdns-internal register-dns remote remote-random
        remote-random-hostname resolv-retry route-method route-nopull rport server-poll-timeout
        show-net-up single-session socks-proxy socks-proxy-retry static-challenge tls-exit
        win-sys windows-driver tun-ipv6""",
    "A command, not an option of a server": """
        genkey help show-adapters show-ciphers show-curves show-digests show-engines
        show-gateway show-groups show-net show-pkcs11-ids show-tls show-valid-subnets
        test-crypto version""",
}

READ_AGAIN = """The contents of `crl-verify` and of `client-config-dir`, and scripts and plugins
themselves, are read or run anew while the server runs: two nodes may see a change at different
times, so only their presence is compared. Keep them equal; who may log in on one node and not on
another is decided there."""


def reasons() -> dict[str, str]:
    """Each option that is not compared, and why."""
    return {name: why for why, names in NOT_COMPARED.items() for name in names.split()}


def render() -> str:
    """The document."""
    rows = dict.fromkeys(COMPARED, "compared") | reasons()
    lines = [
        "# Options, and whether nodes may differ in them",
        "",
        "Two nodes replicate only when the digest of their options is the same. This is every",
        "option of OpenVPN 2.6, and whether it is in that digest. Made from",
        "`tests/options/table.py`; `tests/integration/test_digest.py` tries it with real servers.",
        "",
        " ".join(READ_AGAIN.split()),
        "",
        "| option | |",
        "|---|---|",
        *(f"| `{name}` | {rows[name]} |" for name in sorted(rows)),
        "",
    ]
    return "\n".join(lines)
