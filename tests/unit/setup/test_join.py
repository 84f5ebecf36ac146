"""The sealed file, what is in it, and what a further node makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.config import parse_config
from ovpnha.errors import ConfigError
from ovpnha.setup.answers import Answers
from ovpnha.setup.bundle import (
    Bundle,
    BundleDirectory,
    BundleFile,
    Reference,
    find_lacking,
    find_places,
    find_references,
    is_carried,
    parse_bundle,
    render_bundle,
)
from ovpnha.setup.cluster import make_plan
from ovpnha.setup.files import (
    CHECK_PATH,
    KEEPALIVED_PATH,
    KEY_PATH,
    NODE_PATH,
    PACKAGED_CHECK,
    TOML_PATH,
)
from ovpnha.setup.host import Host, NamedState
from ovpnha.setup.join import adapt_answers, propose_join
from ovpnha.setup.proposal import DirectoryChange, Proposal, propose
from ovpnha.setup.sealed import MAGIC, check_passphrase, is_bearable, open_untrusted, seal
from ovpnha.setup.server import parse_server
from tests.unit.setup.builders import ANSWERS, SOURCE, TEXT, host, plan, supplies

SERVER = SOURCE.path
SALT, NONCE = bytes(16), bytes(12)
SEALED = seal(b"payload", "correct horse", SALT, NONCE)
UNICAST = replace(ANSWERS, bcn_interface="bcn0", bcn_nodes="192.168.77.2")


def test_what_was_sealed_is_opened() -> None:
    assert open_untrusted(SEALED, "correct horse", "f") == b"payload"
    assert b"payload" not in SEALED


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no sealed file"),
        (b"x" * 100, "is no sealed file"),
        (MAGIC + b"2\n" + SEALED[16:], "another release"),
        (MAGIC, "another release"),
        (SEALED[:20], "cannot be opened"),
        (SEALED[:16] + b"\x1f" + SEALED[17:], "cannot be opened"),
        (SEALED[:16] + b"\x00" + SEALED[17:], "cannot be opened"),
        (SEALED[:16] + b"\x14\x01" + SEALED[18:], "cannot be opened"),
        (SEALED[:-1], "cannot be opened"),
        (SEALED[:-1] + bytes([SEALED[-1] ^ 1]), "cannot be opened"),
        (SEALED[:20] + bytes([SEALED[20] ^ 1]) + SEALED[21:], "cannot be opened"),
    ],
)
def test_what_is_not_whole_is_one_line(data: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^f: .*{said}"):
        open_untrusted(data, "correct horse", "f")


def test_a_sealed_file_begins_with_its_format_and_what_opening_it_costs() -> None:
    """Another release opens it by that; a passphrase that is tried costs 64 MiB each time."""
    sealed = seal(b"", "correct horse", b"s" * 16, b"n" * 12)
    assert sealed[:47] == b"OVPNHA-SEALED-1\n" + bytes([16, 8, 1]) + b"s" * 16 + b"n" * 12


def test_a_file_of_more_than_64_mib_is_not_even_looked_at() -> None:
    most = MAGIC.ljust(64 * 1024 * 1024, b"x")
    with pytest.raises(ConfigError, match="another release"):
        open_untrusted(most, "correct horse", "f")
    with pytest.raises(ConfigError, match="is no sealed file"):
        open_untrusted(most + b"x", "correct horse", "f")


@pytest.mark.parametrize(("letters", "well"), [(7, False), (8, True)])
def test_a_passphrase_has_eight_characters(letters: int, well: bool) -> None:
    if well:
        assert check_passphrase("p" * letters, "f") == "p" * letters
    else:
        with pytest.raises(ConfigError, match="at least 8"):
            check_passphrase("p" * letters, "f")


def test_another_passphrase_and_a_short_one() -> None:
    with pytest.raises(ConfigError, match="the passphrase is another one, or the file is damaged"):
        open_untrusted(SEALED, "wrong horse", "f")
    with pytest.raises(ConfigError, match="at least 8 characters"):
        check_passphrase("short", "f")
    assert check_passphrase("long enough", "f") == "long enough"


@given(data=st.binary(max_size=40))
def test_nothing_that_is_no_sealed_file_takes_time(data: bytes) -> None:
    with pytest.raises(ConfigError):
        open_untrusted(MAGIC + data[:10], "correct horse", "f")


def test_what_a_server_names() -> None:
    text = (
        "ca ca.crt\ntls-auth ta.key 0\ndh none\n<key>\nx\n</key>\naskpass\ncert ca.crt\n"
        "up '/bin/up a b'\nclient-connect /etc/openvpn/hello\nplugin ''\n"
    )
    found = list(find_references(parse_server(Path("x"), text), "/etc/openvpn/server"))
    assert found == [
        Reference("ca", "/etc/openvpn/server/ca.crt"),
        Reference("tls-auth", "/etc/openvpn/server/ta.key"),
        Reference("client-connect", "/etc/openvpn/hello", program=True),
        Reference("up", "/bin/up", program=True),
    ]
    assert [is_carried(one) for one in found] == [True, True, True, False]
    elsewhere = parse_server(Path("x"), "cd /etc/openvpn\nca /ca.crt\nkey k\n")
    paths = [one.path for one in find_references(elsewhere, "/etc/openvpn/server")]
    assert paths == ["/ca.crt", "/etc/openvpn/k"]


def test_what_is_handed_to_scripts_and_plugins() -> None:
    text = (
        'plugin /lib/ldap.so "/etc/openvpn/auth/ldap.conf" uid\n'
        "auth-user-pass-verify '/etc/openvpn/ask /etc/openvpn/users /srv/users' via-env\n"
        "up '/etc/openvpn/ask /etc/openvpn/ask'\nca /ca.crt /x\n"
    )
    found = list(find_references(parse_server(Path("x"), text), "/etc/openvpn/server"))
    assert [one.path for one in found] == [
        *("/ca.crt", "/etc/openvpn/ask", "/etc/openvpn/users", "/srv/users"),
        *("/lib/ldap.so", "/etc/openvpn/auth/ldap.conf"),
    ]
    handed = [one.path for one in found if one.argument]
    assert handed == ["/etc/openvpn/users", "/srv/users", "/etc/openvpn/auth/ldap.conf"]
    assert [one.path for one in found if not is_carried(one)] == ["/srv/users", "/lib/ldap.so"]


def bundle(answers: Answers = ANSWERS, **changes: object) -> Bundle:
    """As a first node makes it."""
    where = host(files={SERVER: TEXT})
    made = plan(answers, where)
    found = propose(made, SOURCE, where, supplies())
    files = tuple(
        BundleFile(one.path, one.after.encode(), NamedState(0o644), one.secret)
        for one in found.changes
    )
    inside = None if made.inside is None else str(made.inside.address)
    given = replace(answers, vip=str(made.outside.address), inside_vip=inside or "none")
    first = Bundle(
        node="a",
        instance="office",
        answers=given.to_plain(),
        bcn_nodes=tuple(str(one) for one in made.bcn_nodes),
        bcn_network="192.168.77.0/24",
        bcn_interface=made.bcn_interface,
        programs=("/bin/up", "/usr/sbin/keepalived"),
        files=files,
    )
    return replace(first, **changes)  # type: ignore[arg-type]


def second(*addresses: tuple[str, str], **changes: object) -> Host:
    usual = (("eth0", "192.0.2.2/24"), ("eth1", "198.51.100.2/24"), ("bcn0", "192.168.77.2/24"))
    return replace(host(*(addresses or usual)), name="b", **changes)  # type: ignore[arg-type]


OTHER_NAMES = (("ens3", "192.0.2.2/24"), ("ens4", "198.51.100.2/24"), ("ens5", "192.168.77.2/24"))


def joined(first: Bundle, where: Host, given: Answers | None = None) -> Proposal:
    answers = adapt_answers(first, given or Answers(), where)
    made, problems = make_plan(first.instance, answers, where)
    assert made is not None, problems
    return propose_join(made, first, where, supplies())


def texts(found: Proposal) -> dict[str, str]:
    return {one.path: one.after for one in found.changes}


CCD = BundleDirectory("/etc/openvpn/server/ccd", NamedState(0o750, "", "vpn"))


def test_names_that_say_nothing_on_this_node_are_told_and_states_are_taken_over() -> None:
    state = NamedState(0o640, "vpn", "vpn")
    alice = BundleFile(f"{CCD.path}/alice", b"x", state, secret=False)
    first = bundle(files=(*bundle().files, alice), directories=(CCD,))
    found = joined(first, second())
    assert found.directories == (DirectoryChange(CCD.path, CCD.state),)
    notes = [one for one in found.notes if "on the first node" in one]
    assert [one.partition(", which")[0] for one in notes] == [
        f"{alice.path}: belongs to the user vpn on the first node",
        f"{alice.path}, {CCD.path}: belongs to the group vpn on the first node",
    ]
    named = {"users": frozenset({"vpn"}), "groups": frozenset({"vpn"})}
    files, states = {alice.path: "x"}, {alice.path: NamedState(0o644)}
    known = second(files=files, states=states, **named)
    change = next(one for one in joined(first, known).changes if one.path == alice.path)
    assert change.state == "mode 0644, root:root; becomes mode 0640, vpn:vpn"
    assert not [one for one in joined(first, known).notes if "on the first node" in one]
    same = replace(known, states={alice.path: state})
    assert alice.path not in texts(joined(first, same))


def test_another_key_is_not_replaced_without_a_word() -> None:
    def is_told(files: dict[str, str], last: dict[str, str]) -> bool:
        first = bundle()
        made, _ = make_plan(first.instance, adapt_answers(first, Answers(), second()), second())
        assert made is not None
        found = propose_join(made, first, second(files=files), supplies(last=last))
        return any("another key is there" in one for one in found.notes)

    assert is_told({KEY_PATH: "another"}, {})
    assert not is_told({KEY_PATH: "another"}, {KEY_PATH: "of an earlier run of ours"})
    assert not is_told({KEY_PATH: "key\n"}, {})
    assert not is_told({}, {})


def test_a_bundle_comes_back() -> None:
    first = bundle(directories=(CCD,))
    assert parse_bundle(render_bundle(first), "f") == first
    assert first.text("/none") is None
    for wrong in (b"", b"{}", b'{"files": [{}]}', b"[]"):
        with pytest.raises(ConfigError, match="was made by another release"):
            parse_bundle(wrong, "f")


def test_a_node_like_the_first_gets_the_same_files() -> None:
    first = bundle()
    found = joined(first, second())
    assert found.problems == ()
    assert texts(found).keys() == {
        SERVER,
        KEY_PATH,
        TOML_PATH,
        NODE_PATH,
        KEEPALIVED_PATH,
        CHECK_PATH,
    }
    for path in (SERVER, KEY_PATH, TOML_PATH, KEEPALIVED_PATH, CHECK_PATH):
        assert texts(found)[path] == first.text(path)
    assert "$NODE=b\n$PRIORITY=99\n" in texts(found)[NODE_PATH]
    key = next(one for one in found.changes if one.path == KEY_PATH)
    assert (key.secret, key.owner) == (True, "ovpnha")
    modes = {one.path: one.mode for one in found.changes}
    assert (modes[KEY_PATH], modes[CHECK_PATH], modes[TOML_PATH]) == (0o600, 0o755, None)
    assert [one for one in found.notes if one.startswith("/bin/up")]
    assert not [one for one in found.notes if one.startswith("/usr/sbin")]


def test_other_names_of_interfaces_are_this_node_s_own() -> None:
    found = joined(bundle(), second(*OTHER_NAMES, programs=frozenset({PACKAGED_CHECK})))
    assert found.problems == ()
    config = parse_config(texts(found)[TOML_PATH], "f", "b")
    assert config.instance[0].vip_interface == "ens3"
    assert [one.interface for one in config.bcn.links] == ["ens5"]
    assert [one.interface for one in config.firewall.snat] == ["ens4"]
    assert parse_config(texts(found)[TOML_PATH], "f", "a").bcn.links[0].interface == "bcn0"
    assert "$OUTSIDE_IF=ens3" in texts(found)[NODE_PATH]
    assert CHECK_PATH not in texts(found)


def test_a_node_that_the_file_knows_already_is_left_as_it_is_there() -> None:
    text = (bundle().text(TOML_PATH) or "") + '\n[node.b.log]\nlevel = "debug"\n'
    other = tuple(
        replace(one, content=text.encode()) if one.path == TOML_PATH else one
        for one in bundle().files
    )
    found = joined(bundle(files=other), second(*OTHER_NAMES))
    assert texts(found)[TOML_PATH] == text


def test_more_than_one_instance_and_translation_is_kept_apart() -> None:
    text = (
        (bundle().text(TOML_PATH) or "")
        .replace(
            "[[instance]]", '[[instance]]\nname = "tcp"\nmanagement = "/run/t.sock"\n\n[[instance]]'
        )
        .replace("snat = [", 'snat = [{ interface = "eth9", vip = "10.0.0.1" }, ')
    )
    other = tuple(
        replace(one, content=text.encode()) if one.path == TOML_PATH else one
        for one in bundle().files
    )
    config = parse_config(
        texts(joined(bundle(files=other), second(*OTHER_NAMES)))[TOML_PATH], "f", "b"
    )
    assert [one.interface for one in config.firewall.snat] == ["eth9", "ens4"]
    assert config.instance[0].vip_interface is None


def test_a_lone_site_and_keepalived_that_is_left() -> None:
    lone = replace(ANSWERS, inside_vip="none")
    assert joined(bundle(lone), second()).problems == ()
    left = joined(bundle(replace(ANSWERS, keepalived="leave")), second())
    assert NODE_PATH not in texts(left)
    assert NODE_PATH not in texts(
        joined(bundle(files=bundle().files[:2] + bundle().files[5:]), second())
    )


def test_unicast_must_know_this_node() -> None:
    first = bundle(UNICAST)
    assert first.bcn_nodes == ("192.168.77.1", "192.168.77.2")
    assert joined(first, second()).problems == ()
    stranger = second(
        ("eth0", "192.0.2.2/24"), ("eth1", "198.51.100.2/24"), ("x", "192.168.77.9/24")
    )
    problems = joined(first, stranger).problems
    assert any(one.startswith("--bcn-node: this node has none of 192.168.77.1") for one in problems)


def test_every_node_has_a_name_of_its_own() -> None:
    problems = joined(bundle(), replace(second(), name="a")).problems
    assert any(
        "this host is called a, as the node that made the file is" in one for one in problems
    )


def test_an_interface_that_no_address_shows_has_the_same_name() -> None:
    first = replace(ANSWERS, vip="203.0.113.7/24", outside_interface="eth0", inside_vip="none")
    adapted = adapt_answers(bundle(first), Answers(priority=7), second())
    assert (adapted.outside_interface, adapted.inside_interface) == ("eth0", None)
    assert (adapted.bcn_interface, adapted.priority) == ("bcn0", 7)
    elsewhere = second(("ens3", "10.9.0.1/24"), ("bcn0", "10.8.0.1/24"))
    adapted = adapt_answers(bundle(first), Answers(), elsewhere)
    assert (adapted.outside_interface, adapted.bcn_interface) == (None, "bcn0")
    lost = adapt_answers(bundle(first), Answers(), second(("ens3", "10.9.0.1/24")))
    assert lost.bcn_interface is None


def test_what_lacks_is_looked_for_where_the_server_looks() -> None:
    text = "cd sub\ncd keys\nca ca.crt\ncrl-verify crl\nplugin p.so\nchroot /jail\n"
    there = {"/etc/openvpn/sub/keys/ca.crt", "/jail/crl"}
    server = parse_server(Path("x"), text)
    assert list(find_lacking(server, "/etc/openvpn", there.__contains__)) == []
    (lacking,) = find_lacking(server, "/srv", there.__contains__)
    assert lacking == Reference("ca", "/srv/sub/keys/ca.crt")
    there -= {"/jail/crl"}
    (lacking,) = find_lacking(server, "/etc/openvpn", there.__contains__)
    assert lacking == Reference("crl-verify", "/jail/crl")


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("verb 3\n", []),
        ("status\nwritepid /run/x.pid\nlog log/x.log\n", ["/etc/openvpn/log"]),
        ("cd /srv\nstatus s\ntmp-dir t\ntls-export-cert /c\n", ["/srv", "/c", "/srv/t"]),
        ("chroot jail\n", ["/etc/openvpn/jail", "/etc/openvpn/jail/tmp"]),
        ("chroot /j\ntmp-dir /t\ntls-export-cert c\n", ["/j", "/j/t", "/j/c"]),
    ],
)
def test_where_a_server_writes(text: str, places: list[str]) -> None:
    assert list(find_places(parse_server(Path("x"), text), "/etc/openvpn")) == places


VECTOR = bytes.fromhex(
    "4f56504e48412d5345414c45442d310a100801000000000000000000000000000000000000000000"
    "000000000000000a2fabe15a4d75c5337079a35fa1865ed1ce90ae4bfb8d"
)
"""Made by the first version of the format; every later one opens it."""


def test_what_an_earlier_release_has_sealed_is_opened() -> None:
    assert open_untrusted(VECTOR, "correct horse", "f") == b"payload"
    assert SEALED == VECTOR


def test_a_file_that_costs_too_much_is_not_tried() -> None:
    assert is_bearable((20, 16, 4))
    assert is_bearable((1, 1, 1))
    for cost in ((21, 16, 4), (20, 17, 4), (20, 16, 5), (0, 1, 1), (1, 0, 1), (1, 1, 0)):
        assert not is_bearable(cost)


def test_a_file_has_64_mebibytes_at_most() -> None:
    most = MAGIC + bytes((64 << 20) - len(MAGIC))
    with pytest.raises(ConfigError, match="another release"):
        open_untrusted(most, "correct horse", "f")
    with pytest.raises(ConfigError, match="is no sealed file"):
        open_untrusted(most + b"\0", "correct horse", "f")


def test_a_passphrase_of_eight_characters_is_long_enough() -> None:
    assert check_passphrase("12345678", "f") == "12345678"
    with pytest.raises(ConfigError):
        check_passphrase("1234567", "f")
