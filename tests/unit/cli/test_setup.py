"""`ovpnha init` and `uninit` on a host that is a directory."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ovpnha.cli.setup import StartError, run_commands
from ovpnha.cli.setupjoin import wait_for_master, wait_until_alone
from ovpnha.cli.setupsession import Session
from ovpnha.errors import ConfigError
from ovpnha.runtime.control import Request
from ovpnha.runtime.keyfile import make_key_text, read_keys
from ovpnha.setup.answers import Answers
from tests.unit.cli.answers import NODE_VIEW, STATUS, run

SERVER = "etc/openvpn/server/office.conf"
TEXT = "proto udp\ndev tun\nserver 10.8.0.0 255.255.255.0\nkeepalive 10 60\n<key>\nhush\n</key>\n"
GIVEN = (
    *("--vip", "203.0.113.77/24", "--inside-vip", "none", "--keepalived", "new"),
    *("--outside-interface", "lo", "--bcn-interface", "lo"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path / SERVER, TEXT)
    put(tmp_path / "etc/passwd", f"ovpnha:x:{os.geteuid()}:{os.getegid()}::/:/bin/false\n")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()
    }


def init(root: Path, *more: str) -> tuple[int, str, str]:
    return run("init", "--root", root, *GIVEN, *more)


def test_nothing_is_written_until_it_is_told(root: Path) -> None:
    before = files(root)
    code, out, err = init(root)
    assert code == 0
    assert "+local 203.0.113.77\n+cluster\n" in out
    assert "Nothing is written yet, of 6 files: say it again with --write." in out
    assert "    systemctl start openvpn-cluster@office keepalived\n" in out
    assert "hush" not in out
    assert "note: explicit-exit-notify: is not there" in err
    assert files(root) == before


def test_written_again_and_put_back(root: Path) -> None:
    before = files(root)
    assert "Written: 6 files" in init(root, "--write")[1]
    assert len(read_keys(root / "etc/ovpnha/cluster.key")) == 1
    assert (root / "etc/keepalived/check-grade").stat().st_mode & 0o777 == 0o755
    written = files(root)
    code, out, _ = run("init", "--root", root, "--write")
    assert code == 0
    assert out.startswith("Nothing to write: every file is as it should be.\n")
    assert files(root) == written
    shown = run("uninit", "--root", root)[1]
    assert "/etc/openvpn/server/office.conf: is put back\n" in shown
    assert "Nothing is changed yet: say it again with --write." in shown
    assert files(root) == written
    code, out, _ = run("uninit", "--root", root, "--write")
    assert code == 0
    assert "systemctl disable --now openvpn-cluster@office ovpnha keepalived" in out
    assert files(root) == before
    assert run("uninit", "--root", root, "--write")[1].startswith("Nothing to put back")


def test_other_answers_later_begin_from_what_was_there_first(root: Path) -> None:
    init(root, "--write")
    code, _, err = run("init", "--root", root, "--vip", "203.0.113.78", "--write")
    assert code == 0, err
    text = (root / SERVER).read_text()
    assert text.startswith(TEXT)
    assert "local 203.0.113.78\n" in text
    assert "203.0.113.77" not in text
    assert 'vip = "203.0.113.78"' in (root / "etc/ovpnha/ovpnha.toml").read_text()


def test_what_somebody_changed_is_kept(root: Path) -> None:
    init(root, "--write")
    with (root / "etc/ovpnha/ovpnha.toml").open("a") as file:
        file.write("# mine\n")
    _, out, err = run("init", "--root", root, "--write")
    assert out.startswith("Nothing to write")
    assert "/etc/ovpnha/ovpnha.toml: was changed since init wrote it" in err
    _, _, err = run("uninit", "--root", root, "--write")
    assert "note: what was changed since is kept in" in err
    assert "# mine" in (root / "var/lib/ovpnha/kept/etc-ovpnha-ovpnha.toml").read_text()


def test_for_programs(root: Path) -> None:
    _, out, _ = init(root, "--json")
    answer = json.loads(out)
    assert [one["path"] for one in answer["files"]][-1] == f"/{SERVER}"
    assert answer["problems"] == []
    assert answer["commands"][-1][:2] == ["systemctl", "start"]
    init(root, "--write")
    back = json.loads(run("uninit", "--root", root, "--json")[1])
    assert {"path": f"/{SERVER}", "what": "restore"} in back["files"]


def test_every_option_that_is_needed_is_named_at_once(root: Path) -> None:
    code, _, err = run("init", "--root", root, "--outside-interface", "lo")
    assert code == 2
    assert "ovpnha: --vip: is not known; name it: " in err
    assert "ovpnha: --bcn-interface: is not known; name it: " in err


def test_what_cannot_be_had_ends_it(root: Path) -> None:
    put(root / SERVER, TEXT.replace("proto udp", "proto tcp\nno-replay"))
    code, _, err = init(root, "--write")
    assert code == 2
    assert f"ovpnha: /{SERVER}: proto: TCP connections end with their server" in err
    assert f"ovpnha: /{SERVER}: no-replay: remove it" in err
    assert not (root / "var").exists()


def test_which_server(root: Path) -> None:
    put(root / "etc/openvpn/client.conf", "client\n")
    assert init(root)[0] == 0
    put(root / "etc/openvpn/old.conf", "mode server\nconfig more.conf\n")
    put(root / "etc/openvpn/more.conf", "verb 3\n")
    code, _, err = init(root)
    assert code == 2
    assert f"there are several servers; name one: ovpnha init FILE, of /{SERVER}, /etc/" in err
    assert init(root, "/etc/openvpn/server/office.conf")[0] == 0
    assert "cannot be read" in init(root, "/etc/openvpn/none.conf")[2]
    (root / SERVER).unlink()
    (root / "etc/openvpn/more.conf").unlink()
    assert "includes more.conf, which cannot be read" in init(root)[2]
    (root / "etc/openvpn/old.conf").unlink()
    assert "there is no server's configuration in /etc/openvpn/server" in init(root)[2]


def test_a_server_of_the_old_place_is_found_again(root: Path) -> None:
    (root / SERVER).rename(root / "etc/openvpn/office.conf")
    before = files(root)
    assert init(root, "--write")[0] == 0
    assert (root / SERVER).read_text().startswith("cd /etc/openvpn\nproto udp\n")
    assert "    systemctl mask openvpn@office.service\n" in run("init", "--root", root)[1]
    (root / "etc/systemd/system").mkdir(parents=True)
    masked = root / "etc/systemd/system/openvpn@office.service"
    masked.symlink_to("/dev/null")
    assert "mask" not in run("init", "--root", root)[1]
    masked.unlink()
    assert run("init", "--root", root, "--write")[1].startswith("Nothing to write")
    run("uninit", "--root", root, "--write")
    assert files(root) == before


def test_a_second_server_does_not_take_the_place_of_the_first(root: Path) -> None:
    init(root, "--write")
    put(root / "etc/openvpn/server/second.conf", TEXT.replace("10.8.0.0", "10.9.0.0"))
    before = files(root)
    code, _, err = init(root, "/etc/openvpn/server/second.conf", "--write")
    assert code == 2
    assert f"second.conf: init has put /{SERVER} into a cluster here, and is for one server" in err
    assert "add the other [[instance]] to /etc/ovpnha/ovpnha.toml by hand" in err
    assert files(root) == before


def test_keepalived_of_an_image_starts_at_boot_again(root: Path) -> None:
    wants = root / "etc/systemd/system/multi-user.target.wants/keepalived.service"
    put(wants, "")
    put(root / "etc/keepalived/keepalived.conf", "vrrp_instance a {\n}\n")
    given = [*GIVEN[:-5], "replace", *GIVEN[-4:]]
    code, _, err = run("init", "--root", root, *given, "--write")
    assert code == 0, err
    assert "disable --now openvpn-cluster@office ovpnha\n" in run("uninit", "--root", root)[1]


def test_a_keepalived_that_was_left_is_left_on_the_way_back(root: Path) -> None:
    given = [*GIVEN[:-5], "leave", *GIVEN[-4:]]
    code, _, err = run("init", "--root", root, *given, "--write")
    assert code == 0, err
    assert "keepalived" not in run("uninit", "--root", root)[1]


def test_options_that_do_not_go_together(root: Path) -> None:
    assert init(root, "--now")[0] == 2
    assert run("uninit", "--root", root, "--now")[0] == 2


def test_a_host_without_our_user(root: Path) -> None:
    (root / "etc/passwd").unlink()
    code, _, err = init(root)
    assert code == 2
    assert "there is no user ovpnha on this host" in err


def test_questions_are_asked_one_after_the_other(root: Path) -> None:
    asked = []

    def answer(text: str, default: str) -> str:
        asked.append((text, default))
        said = ("no", "203.0.113.77", "lo", "none", "lo")
        return said[len(asked) - 1]

    prepared = Session(root).prepare(None, Answers(), answer)
    assert prepared.proposal.problems == ()
    assert prepared.answers.openvpn == "cluster"
    assert len(asked) in {4, 5}  # a machine with one interface has no inside
    with pytest.raises(ConfigError, match="--vip: x is no address"):
        Session(root).prepare(None, Answers(vip="x", bcn_interface="lo"), lambda *_: "lo")


def test_without_the_patched_openvpn_it_is_asked_whether_that_is_meant(root: Path) -> None:
    names = {"outside_interface": "lo", "inside_vip": "none", "bcn_interface": "lo"}
    answers = Answers.from_plain({"vip": "203.0.113.77", **names})
    for said, expected in (("yes", True), ("Y", True), ("no", False), (None, False)):
        prepared = Session(root).prepare(None, answers, lambda *_, said=said: said)
        assert prepared.plan.stock is expected
    put(root / "usr/lib/systemd/system/openvpn-cluster@.service", "")
    assert not Session(root).prepare(None, answers, lambda *_: "yes").plan.stock


def test_a_server_that_stays_the_distributions(root: Path) -> None:
    code, out, _ = init(root, "--stock", "--write")
    assert code == 0
    assert "openvpn-beside@office" in out
    text = (root / "etc/ovpnha/ovpnha.toml").read_text()
    assert "seamless = false" in text
    assert 'pool_file = "/var/lib/ovpnha/pool/office"' in text
    assert "cluster\n" not in (root / SERVER).read_text()
    assert init(root)[0] == 0  # as it was said first
    code, _, err = init(root, "--no-stock")
    assert code == 2
    assert "--stock: an earlier run was without the patched OpenVPN; go back first" in err
    assert run("uninit", "--root", root, "--write")[0] == 0
    assert init(root, "--no-stock", "--write")[0] == 0
    assert "with the patched" in init(root, "--stock")[2]


@pytest.fixture
def first(root: Path) -> Path:
    """A first node, with all that a server may have."""
    put(root / "etc/hostname", "a.example.net\n")
    directory = root / "etc/openvpn/server"
    options = "ca ca.crt\ncert server.crt\nkey server.key\ndh none\ntls-crypt tc.key\n"
    more = "client-config-dir ccd\nclient-connect /etc/openvpn/hello\nup '/bin/up x'\n"
    more += "plugin /bin/ldap.so '/etc/openvpn/auth/ldap.conf /etc/openvpn/none /none'\n"
    put(root / SERVER, TEXT.partition("<key>")[0] + options + more)
    for name in ("ca.crt", "server.crt", "server.key", "tc.key", "ccd/alice", "ccd/bob"):
        put(directory / name, f"content of {name}\n")
    (directory / "server.key").chmod(0o600)
    put(root / "etc/openvpn/hello", "#!/bin/sh\n")
    (root / "etc/openvpn/hello").chmod(0o755)
    put(root / "etc/openvpn/auth/ldap.conf", "password hush\n")
    return root


@pytest.fixture
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("second")
    put(root / "etc/hostname", "b\n")
    put(root / "etc/passwd", f"ovpnha:x:{os.geteuid()}:{os.getegid()}::/:/bin/false\n")
    return root


@pytest.fixture
def passphrase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "passphrase"
    put(path, "correct horse\nmore\n")
    path.chmod(0o600)
    return path


def sealed(first: Path, passphrase: Path) -> Path:
    file = passphrase.with_name("office.sealed")
    done = init(first, "--write", "--export", str(file), "--passphrase-file", str(passphrase))
    assert done[0] == 0, done[2]
    return file


def join(root: Path, file: Path, passphrase: Path, *more: str) -> tuple[int, str, str]:
    given = ("--root", root, "--join", file, "--passphrase-file", passphrase)
    return run("init", *given, "--outside-interface", "lo", "--bcn-interface", "lo", *more)


def test_a_second_node_gets_everything(first: Path, second: Path, passphrase: Path) -> None:
    file = sealed(first, passphrase)
    assert file.stat().st_mode & 0o777 == 0o600
    before = files(second)
    code, out, err = join(second, file, passphrase, "--write")
    assert code == 0, err
    assert "content of server.key" not in out
    assert "hush" not in out
    assert "/none" not in err
    assert (
        "note: /bin/up: the server starts it, or hands it to what it starts, and it is not" in err
    )
    ours, theirs = files(second), files(first)
    same = {
        "etc/ovpnha/cluster.key",
        "etc/ovpnha/ovpnha.toml",
        "etc/keepalived/keepalived.conf",
        "etc/keepalived/check-grade",
        "etc/openvpn/hello",
        "etc/openvpn/auth/ldap.conf",
        SERVER,
        *(
            f"etc/openvpn/server/{name}"
            for name in ("server.key", "tc.key", "ccd/alice", "ccd/bob")
        ),
    }
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert (second / "etc/openvpn/server/server.key").stat().st_mode & 0o777 == 0o600
    assert (second / "etc/openvpn/hello").stat().st_mode & 0o777 == 0o755
    node = ours["etc/keepalived/node.conf"]
    assert "$NODE=b\n$PRIORITY=99\n" in node
    assert "$OUTSIDE_VIP=203.0.113.77/24" in node
    assert join(second, file, passphrase, "--write")[1].startswith("Nothing to write")
    assert "say --join FILE again" in run("init", "--root", second)[2]
    named = run("init", "--root", second, f"/{SERVER}")
    assert "say --join FILE again" in named[2]
    assert run("uninit", "--root", second, "--write")[0] == 0
    assert files(second) == before


def test_a_server_in_a_chroot_travels_with_its_directories(
    first: Path, second: Path, passphrase: Path
) -> None:
    more = "chroot /srv/jail\nstatus /srv/log/status 5\nstatus /none/x\n"
    put(first / SERVER, (first / SERVER).read_text() + more)
    (first / "etc/openvpn/server/ccd").rename(first / "ccd")
    assert "client-config-dir: /srv/jail/ccd is not there" in init(first)[2]
    for name in ("srv/jail/tmp", "srv/log"):
        (first / name).mkdir(parents=True)
    (first / "ccd").rename(first / "srv/jail/ccd")
    (first / "srv/jail").chmod(0o750)
    code, _, err = join(second, sealed(first, passphrase), passphrase, "--write")
    assert code == 0, err
    assert (second / "srv/jail/ccd/alice").read_text() == "content of ccd/alice\n"
    assert (second / "srv/jail").stat().st_mode & 0o777 == 0o750
    assert (second / "srv/log").is_dir()
    assert (second / "srv/jail/tmp").is_dir()
    assert not (second / "none").exists()
    assert run("uninit", "--root", second, "--write")[0] == 0
    assert not (second / "srv").exists()


def test_a_block_without_end_is_all_that_is_told(root: Path) -> None:
    put(root / SERVER, TEXT.replace("</key>\n", ""))
    code, _, err = init(root)
    assert code == 2
    assert "<key> has no end" in err
    assert "includes" not in err


def test_what_an_included_file_says_otherwise_is_told(root: Path) -> None:
    more = root / "etc/openvpn/server/more"
    put(root / SERVER, "local 203.0.113.77\nconfig more\n" + TEXT)
    put(more, "local 203.0.113.9\nmanagement 127.0.0.1 7505\n")
    code, _, err = init(root, "--write")
    assert code == 2
    assert "local: a file that this one includes (config) says something else: 203.0.113.9" in err
    assert "management: one stands in a file that this one includes (config); take it" in err
    put(more, "verb 3\nlocal 203.0.113.77\n")
    assert init(root, "--write")[0] == 0


def test_a_place_where_nobody_may_write_is_told_before(root: Path, passphrase: Path) -> None:
    given = ("--write", "--export", "/proc/self/x", "--passphrase-file", str(passphrase))
    code, _, err = init(root, *given)
    assert code == 2
    assert "/proc/self/x: cannot be written: nobody here may write" in err
    assert not (root / "etc/ovpnha").exists()


def test_a_file_of_windows_in_the_older_directory(root: Path) -> None:
    (root / SERVER).unlink()
    put(root / "etc/openvpn/office.conf", "\ufeffport 1194\r\n" + TEXT.replace("\n", "\r\n"))
    assert init(root, "--write")[0] == 0
    assert (root / SERVER).read_text().startswith("cd /etc/openvpn\nport 1194\n")


def test_what_a_sealed_file_is_refused_for(
    first: Path, second: Path, passphrase: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    third = tmp_path_factory.mktemp("third")
    put(third / "etc/passwd", (second / "etc/passwd").read_text())
    file = sealed(first, passphrase)
    assert (
        "this host is called a, as the node that made the file" in join(first, file, passphrase)[2]
    )
    assert join(second, file, passphrase, "/etc/x.conf")[0] == 2
    put(third / SERVER, TEXT)
    (third / SERVER).rename(third / "etc/openvpn/server/other.conf")
    assert run("init", "--root", third, *GIVEN, "--write")[0] == 0
    assert (
        "office.conf: init has put /etc/openvpn/server/other.conf"
        in (join(third, file, passphrase)[2])
    )
    other = passphrase.with_name("other")
    put(other, "wrong horse\n")
    assert "others may open it" in join(second, file, other)[2]
    other.chmod(0o600)
    assert "the passphrase is another one, or the file is damaged" in join(second, file, other)[2]
    put(other, "short\n")
    assert "a passphrase has at least 8 characters" in join(second, file, other)[2]
    assert "is no sealed file of ovpnha" in join(second, passphrase, passphrase)[2]
    assert "cannot be read" in join(second, second / "none", passphrase)[2]
    assert "cannot be read" in join(second, file, second / "none")[2]
    assert "--passphrase-file: is needed" in run("init", "--root", second, "--join", file)[2]


def test_what_is_not_written_is_not_sealed(first: Path, passphrase: Path) -> None:
    file = passphrase.with_name("office.sealed")
    given = ("--export", str(file), "--passphrase-file", str(passphrase))
    assert "is not written yet; say --write as well" in init(first, *given)[2]
    init(first, "--write")
    assert run("init", "--root", first, *given)[0] == 0
    assert run("init", "--root", first, *given)[0] == 0
    put(file, "something else")
    assert "is there already and no sealed file" in run("init", "--root", first, *given)[2]
    wrong = ("--export", str(file.parent / "none/f"), *given[2:])
    assert "there is no such directory" in run("init", "--root", first, *wrong)[2]
    directory = ("--export", str(file.parent), *given[2:])
    assert "cannot be written" in run("init", "--root", first, *directory)[2]


def test_a_passphrase_is_looked_at_before_anything_is_written(
    first: Path, passphrase: Path
) -> None:
    before = files(first)
    given = ("--write", "--export", str(passphrase.with_name("f")), "--passphrase-file")
    put(passphrase, "short\n")
    assert "a passphrase has at least 8" in init(first, *given, str(passphrase))[2]
    assert init(first, *given, str(passphrase.with_name("none")))[0] == 2
    assert files(first) == before


def test_every_file_that_the_server_lacks_is_named_at_once(first: Path) -> None:
    for name in ("ca.crt", "tc.key"):
        (first / "etc/openvpn/server" / name).unlink()
    before = files(first)
    code, _, err = init(first, "--write")
    assert code == 2
    for option, name in (("ca", "ca.crt"), ("tls-crypt", "tc.key")):
        assert f"/{SERVER}: {option}: /etc/openvpn/server/{name} is not there" in err
    assert files(first) == before


def test_a_key_that_is_none_and_one_that_others_can_open(root: Path) -> None:
    key = root / "etc/ovpnha/cluster.key"
    put(key, "no key!\n")
    code, _, err = init(root, "--write")
    assert code == 2
    assert "/etc/ovpnha/cluster.key: line 1 is neither hexadecimal nor base64" in err
    put(key, make_key_text())
    key.chmod(0o644)
    code, out, err = init(root, "--write")
    assert code == 0, err
    assert "becomes mode 0600" in out
    assert key.stat().st_mode & 0o777 == 0o600
    run("uninit", "--root", root, "--write")
    assert key.stat().st_mode & 0o777 == 0o644


def test_directories_are_open_whatever_the_umask_is(root: Path) -> None:
    masked = os.umask(0o077)
    try:
        assert init(root, "--write")[0] == 0
    finally:
        os.umask(masked)
    for name in ("ovpnha", "keepalived"):
        assert (root / "etc" / name).stat().st_mode & 0o777 == 0o755
    assert (root / "etc/ovpnha/ovpnha.toml").stat().st_mode & 0o777 == 0o644


def test_a_directory_that_is_closed_is_told(root: Path) -> None:
    put(root / "etc/passwd", "ovpnha:x:990:990::/:/bin/false\n")
    (root / "etc/ovpnha").mkdir(mode=0o700)
    code, _, err = init(root)
    assert code == 2
    assert "/etc/ovpnha: the user ovpnha cannot read what is in it; run: chmod 755" in err


@pytest.mark.parametrize("option", ["--vip", "--inside-vip", "--cluster", "--bcn-node"])
def test_what_all_nodes_have_is_not_said_when_one_joins(root: Path, option: str) -> None:
    code, _, err = run("init", "--root", root, "--join", "/none", option, "192.0.2.88")
    assert code == 2
    assert "is the same on all nodes and comes from the sealed" in " ".join(err.split())


def test_modes_and_groups_travel_by_name(first: Path, second: Path, passphrase: Path) -> None:
    ccd = first / "etc/openvpn/server/ccd"
    ccd.chmod(0o750)
    for each in ("alice", "bob"):
        (ccd / each).unlink()
    group = f"vpn:x:{os.getegid() or 77}:\n"
    put(first / "etc/group", group)
    os.chown(first / "etc/openvpn/server/ca.crt", -1, os.getegid() or 77)
    file = sealed(first, passphrase)
    assert "belongs to the group vpn on the first node" in join(second, file, passphrase)[2]
    put(second / "etc/group", group)
    code, _, err = join(second, file, passphrase, "--write")
    assert (code, "on the first node" in err) == (0, False), err
    assert (second / "etc/openvpn/server/ccd").stat().st_mode & 0o777 == 0o750
    assert (second / "etc/openvpn/server/ca.crt").stat().st_gid == (os.getegid() or 77)
    assert join(second, file, passphrase, "--write")[1].startswith("Nothing to write")
    assert run("uninit", "--root", second, "--write")[0] == 0
    assert not (second / "etc/openvpn").exists()


def test_one_server_with_two_names_is_one(root: Path) -> None:
    real = root / "etc/openvpn/office.conf"
    (root / SERVER).rename(real)
    (root / SERVER).symlink_to("/etc/openvpn/office.conf")
    wants = root / "etc/systemd/system/multi-user.target.wants/openvpn@office.service"
    put(wants, "")
    for named in ((), (f"/{SERVER}",), ("/etc/openvpn/office.conf",)):
        code, out, err = init(root, *named)
        assert code == 0, err
        assert out.startswith(f"--- /{SERVER}\n")
        assert "mask openvpn@office.service" in out
    assert init(root, "--write")[0] == 0
    assert (root / SERVER).is_symlink()
    assert "\ncluster\n" in real.read_text()
    assert run("init", "--root", root, "--write")[1].startswith("Nothing to write")
    run("uninit", "--root", root, "--write")
    assert (root / SERVER).is_symlink()
    assert real.read_text() == TEXT


def test_what_lies_behind_a_link_is_carried(first: Path, second: Path, passphrase: Path) -> None:
    crt = first / "etc/openvpn/server/ca.crt"
    put(first / "etc/pki/ca", crt.read_text())
    crt.unlink()
    crt.symlink_to("/etc/pki/ca")
    file = sealed(first, passphrase)
    assert join(second, file, passphrase, "--write")[0] == 0
    assert (second / "etc/openvpn/server/ca.crt").read_text() == "content of ca.crt\n"


def test_a_stock_server_that_is_in_use_is_not_to_be_restarted(root: Path) -> None:
    assert json.loads(init(root, "--json")[1])["warning"] == ""
    wants = root / "etc/systemd/system/multi-user.target.wants"
    put(wants / "openvpn-server@office.service", "")
    said = "restart neither openvpn-server@office.service nor this host"
    assert said in json.loads(init(root, "--json")[1])["warning"]
    assert said in init(root, "--write")[1]


def test_what_is_left_to_an_administrator_is_told(root: Path) -> None:
    out = init(root)[1]
    for word in ("UDP 11940 on lo", "VRRP (IP protocol 112) on lo", "conntrackd", "ovpnha doctor"):
        assert word in out


def test_a_file_that_is_far_too_large_is_no_server_s(root: Path) -> None:
    put(root / SERVER, TEXT + "# x\n" * (1 << 19))
    assert "has more than 1 MiB" in init(root)[2]


def test_a_directory_in_the_way_of_uninit_is_one_line(root: Path) -> None:
    init(root, "--write")
    (root / SERVER).unlink()
    (root / SERVER).mkdir()
    code, _, err = run("uninit", "--root", root)
    assert code == 1
    assert "office.conf: Is a directory. Nothing was changed" in err


def test_what_keepalived_includes_from_elsewhere_counts(root: Path) -> None:
    put(root / "etc/keepalived/keepalived.conf", "include /srv/vrrp/*.conf\ninclude none\n")
    put(root / "srv/vrrp/a.conf", "virtual_ipaddress {\n 203.0.113.77/24\n}\n")
    given = [*GIVEN[:-5], "leave", *GIVEN[-4:]]
    _, _, err = run("init", "--root", root, *given)
    assert "does not have /run/ovpnha/office.grade, and init" in err


def test_all_or_nothing(root: Path) -> None:
    init(root, "--write")
    for path in ("etc/ovpnha/ovpnha.toml", "etc/keepalived/node.conf"):
        put(root / path, "# mine\n" + (root / path).read_text())
    before = files(root)
    code, out, err = run("init", "--root", root, "--vip", "203.0.113.78/24", "--write")
    assert code == 2
    assert "/etc/ovpnha/ovpnha.toml, /etc/keepalived/node.conf: changed by hand" in err
    assert '+vip = "203.0.113.78"' in out
    assert files(root) == before
    for path in ("etc/ovpnha/ovpnha.toml", "etc/keepalived/node.conf"):
        put(root / path, (root / path).read_text().replace("203.0.113.77", "203.0.113.78"))
    node = root / "etc/keepalived/node.conf"
    put(node, node.read_text().replace("$ROUTER_ID=77", "$ROUTER_ID=78"))
    code, out, err = run("init", "--root", root, "--vip", "203.0.113.78/24", "--write")
    assert (code, out[:16]) == (0, "--- /etc/openvpn"), err
    assert "local 203.0.113.78" in (root / SERVER).read_text()


def test_a_server_without_cluster_gets_it_again_and_a_change_is_kept(root: Path) -> None:
    init(root, "--write")
    put(root / SERVER, (root / SERVER).read_text().replace("\ncluster\n", "\nverb 4\n"))
    assert "+cluster\n" in run("init", "--root", root, "--write")[1]
    assert "\nverb 4\n" in (root / SERVER).read_text()
    assert run("init", "--root", root, "--write")[1].startswith("Nothing to write")
    run("uninit", "--root", root, "--write")
    assert (root / SERVER).read_text() == TEXT
    kept = root / "var/lib/ovpnha/kept/etc-openvpn-server-office.conf"
    assert "\nverb 4\n" in kept.read_text()


def test_a_joined_node_that_was_changed_by_hand_is_told(
    first: Path, second: Path, passphrase: Path
) -> None:
    file = sealed(first, passphrase)
    join(second, file, passphrase, "--write")
    put(second / SERVER, (second / SERVER).read_text() + "verb 4\n")
    code, _, err = join(second, file, passphrase, "--write")
    assert code == 2
    assert f"/{SERVER}: changed by hand since init wrote it" in err


def test_commands_are_run_until_one_fails(tmp_path: Path) -> None:
    commands: Sequence[tuple[str, ...]] = [
        ("touch", str(tmp_path / "a")),
        ("false",),
        ("touch", str(tmp_path / "b")),
    ]
    with pytest.raises(StartError, match=r"^false: failed"):
        run_commands(commands)
    assert (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    with pytest.raises(StartError, match="cannot be started"):
        run_commands([(str(tmp_path / "none"),)])


def test_keepalived_waits_for_a_master(
    config: Path, daemon: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("keygen", config.with_name("cluster.key"))
    with pytest.raises(ConfigError, match="no other node is master yet"):
        wait_for_master(config, "udp", 0.0)
    monkeypatch.setitem(NODE_VIEW, "role", "master")
    monkeypatch.setitem(STATUS["instances"][0], "sync", "in_sync")
    wait_for_master(config, "udp", 20.0)
    assert len(daemon) == 2
    monkeypatch.setitem(STATUS["instances"][0], "sync", "syncing")
    wait_for_master(config, "udp", 1.0)  # it may not have come by itself: clients are refused, say
    assert len(daemon) > 3


def test_a_host_gets_its_address_back_when_it_is_alone(
    config: Path, daemon: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until_alone(config.with_name("none.toml"), "udp", 0.0)
    run("keygen", config.with_name("cluster.key"))
    with pytest.raises(ConfigError, match=r"^b: still in the cluster"):
        wait_until_alone(config, "udp", 0.5)
    assert len(daemon) > 1
    wait_until_alone(config, "other", 0.0)
    monkeypatch.setitem(NODE_VIEW, "believed", False)
    wait_until_alone(config, "udp", 0.0)


def test_a_sidecar_that_does_not_run_hears_no_master(config: Path) -> None:
    with pytest.raises(ConfigError, match="no other node is master yet"):
        wait_for_master(config, "udp", 0.0)


# A server without any other node.


def alone(root: Path, *more: str) -> tuple[int, str, str]:
    return run("init", "--root", root, "--alone", *more)


@pytest.fixture
def lone(root: Path) -> Path:
    put(root / SERVER, f"local 203.0.113.7\n{TEXT}")
    return root


def test_a_lone_server_gets_two_files_and_goes_back(lone: Path) -> None:
    before = files(lone)
    code, out, err = alone(lone)
    assert (code, files(lone)) == (0, before)
    assert "+alone = true" in out
    assert "+cluster-spare" in out
    assert "Nothing is written yet, of 2 files" in out
    assert "systemctl start openvpn-cluster@office openvpn-cluster-spare@office" in out
    assert "openvpn-cluster-spare@.service is not installed" in err
    code, out, _ = alone(lone, "--write")
    assert code == 0
    assert "Written: 2 files" in out
    assert 'spare = "always"' in (lone / "etc/ovpnha/ovpnha.toml").read_text()
    assert "Nothing to write" in alone(lone, "--write")[1]
    assert "openvpn-cluster-spare@office" in run("uninit", "--root", lone)[1]
    assert run("uninit", "--root", lone, "--write")[0] == 0
    assert (lone / SERVER).read_text() == before[SERVER]
    assert not (lone / "etc/ovpnha/ovpnha.toml").exists()


def test_a_lone_server_for_programs(lone: Path) -> None:
    found = json.loads(alone(lone, "--json")[1])
    assert next(one["path"] for one in found["files"]) == "/etc/ovpnha/ovpnha.toml"
    assert found["problems"] == []


def test_a_lone_server_and_a_cluster_exclude_each_other(lone: Path) -> None:
    code, _, err = alone(lone, "--vip", "203.0.113.77")
    assert (code, "--vip" in err) == (2, True)
    assert alone(lone, "--write")[0] == 0
    code, _, err = init(lone)
    assert (code, "with --alone here; go back first" in err) == (2, True)
    put(lone / "etc/openvpn/server/lab.conf", TEXT)
    code, _, err = alone(lone, str(lone / "etc/openvpn/server/lab.conf"))
    assert code == 2


def test_a_cluster_is_no_lone_server_by_the_way(root: Path) -> None:
    assert init(root, "--write")[0] == 0
    code, _, err = alone(root)
    assert (code, "into a cluster here; go back first" in err) == (2, True)


def test_a_lone_server_is_started(lone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Sequence[str]] = []
    monkeypatch.setattr("ovpnha.cli.setup.run_commands", told.extend)
    assert alone(lone, "--write", "--now")[0] == 0
    assert told[0] == ("systemctl", "enable", "--now", "ovpnha")
