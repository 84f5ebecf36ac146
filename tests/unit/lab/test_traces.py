"""What the lab of whole hosts takes for something that was left behind."""

from __future__ import annotations

from pathlib import Path

from tests.hosts.traces import compare, describe, find_files


def test_what_is_as_in_the_tree_is_no_trace(tmp_path: Path) -> None:
    upper, tree = tmp_path / "upper", tmp_path / "tree"
    for root in (upper, tree):
        (root / "etc").mkdir(parents=True)
        (root / "etc" / "same").write_text("x")
        (root / "etc" / "other").write_text(root.name)
    (upper / "etc" / "new").symlink_to("same")
    (upper / "var" / "log").mkdir(parents=True)
    (upper / "var" / "log" / "syslog").write_text("x")
    found = sorted(find_files(upper, tree))
    assert [one.split()[0] for one in found] == ["/etc/new", "/etc/other", "/var"]


def test_mode_and_content_count(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert describe(file) == "absent"
    file.write_text("x")
    file.chmod(0o600)
    before = describe(file)
    file.chmod(0o644)
    assert describe(file) != before
    file.chmod(0o600)
    file.write_text("y")
    assert describe(file) != before


def test_what_the_page_announces_is_told_apart() -> None:
    documented = {
        "user ovpnha:x:997:",
        "group ovpnha:x:997:",
        "file /var/lib/ovpnha drwxr-xr-x 0:0",
        "file /var/lib/ovpnha/kept drwx------ 0:0",
        "file /var/lib/ovpnha/kept/etc-ovpnha-cluster.key -rw------- 0:0 abc",
        "file /etc/iproute2 drw------- 0:0",
        "file /etc/iproute2/rt_addrprotos.d drwxr-xr-x 0:0",
        "file /etc/iproute2/rt_addrprotos.d/keepalived.conf -rw-r--r-- 0:0 abc",
    }
    left = {
        "file /etc/iproute2/rt_tables -rw-r--r-- 0:0 abc",
        "file /var/lib/ovpnha/init/manifest -rw------- 0:0 abc",
        "table table inet ovpnha",
    }
    found = compare(frozenset({"unit a"}), frozenset({*documented, *left}))
    assert len(found.documented) == len(documented)
    assert found.left == [*(f"new: {one}" for one in sorted(left)), "gone: unit a"]
