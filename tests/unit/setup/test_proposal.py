"""Everything together: what changes, what is said, what is left to do."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from ovpnha.setup.answers import Answers
from ovpnha.setup.commands import (
    Before,
    StockUnit,
    find_reload,
    find_return,
    find_start,
    note_before,
    spell,
    touches_keepalived,
    units_of,
)
from ovpnha.setup.files import (
    CHECK_PATH,
    KEEPALIVED_PATH,
    KEY_PATH,
    NODE_PATH,
    TOML_PATH,
    render_toml,
)
from ovpnha.setup.host import DefaultRoute, Host, NamedState
from ovpnha.setup.manifest import digest_text
from ovpnha.setup.proposal import (
    Proposal,
    ServerSource,
    Supplies,
    find_stock,
    propose,
)
from tests.unit.setup.builders import ANSWERS, SOURCE, TEXT, host, plan, supplies

MOVING = (("eth0", "192.0.2.10/24"), ("eth1", "198.51.100.1/24"), ("bcn0", "192.168.77.1/24"))
GIVES_UP = replace(ANSWERS, own_address="192.0.2.11")
STOCK = StockUnit("openvpn-server@office.service", enabled=True, active=True)
SERVER = SOURCE.path


def made(
    where: Host,
    source: ServerSource = SOURCE,
    answers: Answers = ANSWERS,
    more: Supplies | None = None,
) -> Proposal:
    return propose(plan(answers, where), source, where, more or supplies())


def after(where: Host, found: Proposal) -> Host:
    """The host when all is written."""
    return replace(where, files={**where.files, **{one.path: one.after for one in found.changes}})


def test_everything_is_proposed_and_a_second_time_nothing() -> None:
    where = host(files={SERVER: TEXT})
    found = made(where)
    assert found.problems == ()
    paths = [one.path for one in found.changes]
    assert paths == [KEY_PATH, TOML_PATH, NODE_PATH, CHECK_PATH, KEEPALIVED_PATH, SERVER]
    assert [one.before for one in found.changes] == [None] * 5 + [TEXT]
    later = after(where, found)
    again = made(later, replace(SOURCE, text=later.files[SERVER]))
    assert again.changes == ()
    assert again.problems == ()


def test_with_the_original_text_as_base_it_is_the_same() -> None:
    where = host(files={SERVER: TEXT})
    later = after(where, made(where))
    assert made(later, SOURCE, more=supplies(bases={SERVER: TEXT})).changes == ()


def test_a_packaged_check_is_used() -> None:
    where = host(files={SERVER: TEXT}, programs=frozenset({"/usr/lib/ovpnha/check-grade"}))
    found = made(where)
    assert CHECK_PATH not in [one.path for one in found.changes]
    assert any("openvpn-cluster@.service is not installed" in one for one in found.notes)
    assert any("keepalived is not installed" in one for one in found.notes)


@pytest.mark.parametrize("path", [KEEPALIVED_PATH, NODE_PATH, TOML_PATH])
def test_what_somebody_else_has_written_is_not_lost(path: str) -> None:
    where = host(files={SERVER: TEXT, path: "another's\n"})
    assert any(one.startswith(f"{path}: is there already") for one in made(where).problems)


def test_keepalived_is_replaced_or_left_when_that_is_said() -> None:
    where = host(files={SERVER: TEXT, KEEPALIVED_PATH: "another's\n", CHECK_PATH: "old"})
    assert not made(where, answers=replace(ANSWERS, keepalived="replace")).problems
    left = made(where, answers=replace(ANSWERS, keepalived="leave"))
    assert not left.problems
    assert not {KEEPALIVED_PATH, NODE_PATH, CHECK_PATH} & {one.path for one in left.changes}


def test_what_was_changed_since_is_left_and_told() -> None:
    where = host(files={SERVER: TEXT, TOML_PATH: "mine now\n"})
    last = {TOML_PATH: digest_text(render_toml(plan()))}
    found = made(where, more=supplies(edited=frozenset({TOML_PATH}), last=last))
    assert TOML_PATH not in [one.path for one in found.changes]
    assert f"{TOML_PATH}: was changed since init wrote it, and is left as it is" in found.notes
    assert not found.problems


AGREEING = (TOML_PATH, NODE_PATH, KEEPALIVED_PATH)


def test_files_that_must_agree_and_were_changed_by_hand_stop_everything() -> None:
    first = after(host(files={SERVER: TEXT}), made(host(files={SERVER: TEXT})))
    last = {path: digest_text(text) for path, text in first.files.items()}
    mine = {path: f"# mine\n{first.files[path]}" for path in AGREEING}
    where = replace(first, files={**first.files, **mine})
    more = supplies(bases={SERVER: TEXT}, edited=frozenset(AGREEING), last=last)
    other = replace(ANSWERS, vip="192.0.2.77", inside_vip="none")
    found = made(where, answers=other, more=more)
    (problem,) = found.problems
    assert problem.startswith(f"{TOML_PATH}, {NODE_PATH}, {KEEPALIVED_PATH}: changed by hand since")
    assert "ovpnha uninit --write" in problem
    assert {*AGREEING} < {one.path for one in found.changes}
    wanted = made(host(), answers=other)
    by_hand = {one.path: f"# mine\n{one.after}" for one in wanted.changes if one.path in AGREEING}
    taken_over = made(replace(where, files={**where.files, **by_hand}), answers=other, more=more)
    assert taken_over.problems == ()
    assert [one.path for one in taken_over.changes] == [SERVER]
    broken = replace(where, files={**where.files, **by_hand, TOML_PATH: "="})
    assert made(broken, answers=other, more=more).problems[0].startswith(f"{TOML_PATH}: changed")


def test_a_server_s_file_that_was_changed_by_hand_is_changed_in_its_lines_only() -> None:
    first = after(host(files={SERVER: TEXT}), made(host(files={SERVER: TEXT})))
    text = "verb 4\n" + first.files[SERVER].replace("\ncluster\n", "\n")
    where = replace(first, files={**first.files, SERVER: text})
    last = {path: digest_text(one) for path, one in first.files.items()}
    bases = dict.fromkeys(AGREEING)
    more = supplies(bases=bases, edited=frozenset({SERVER, CHECK_PATH}), last=last)
    found = made(where, replace(SOURCE, text=text), more=more)
    (change,) = found.changes
    assert change.after == f"{text}cluster\n"
    assert f"{SERVER}: was changed since init wrote it; the rest of that stays" in found.notes
    other = made(where, replace(SOURCE, text=text), replace(ANSWERS, vip="192.0.2.77"), more)
    assert other.problems == ()
    assert "verb 4\n" in other.changes[-1].after
    assert "\nlocal 192.0.2.77\n" in other.changes[-1].after
    legacy = ServerSource("/etc/openvpn/office.conf", TEXT)
    assert made(where, legacy, more=more).changes[-1].after == f"{text}cluster\n"


def test_on_a_node_that_joins_a_keepalived_that_runs_is_not_stopped_too_early() -> None:
    unit = frozenset({"keepalived.service"})
    where = host(active=unit, masked=unit, enabled=unit)
    there = list(find_start(plan(), StockUnit(""), where, joins=True))
    assert [one[1] for one in there] == ["unmask", "enable", "enable", "stop", "enable"]
    assert [touches_keepalived(one) for one in there] == [False] * 3 + [True] * 2


def test_what_runs_takes_up_what_was_written() -> None:
    units = frozenset({"ovpnha.service", "openvpn-cluster@office.service", "keepalived.service"})
    where = host(active=units)
    every = [KEY_PATH, TOML_PATH, NODE_PATH, SERVER]
    assert list(find_reload(plan(), where, every)) == [
        ("systemctl", "restart", "ovpnha"),
        ("systemctl", "restart", "openvpn-cluster@office"),
        ("systemctl", "reload", "keepalived"),
    ]
    assert list(find_reload(plan(), where, [KEY_PATH])) == [("systemctl", "reload", "ovpnha")]
    assert list(find_reload(plan(), host(active=frozenset({"ovpnha.service"})), every[1:])) == [
        ("systemctl", "restart", "ovpnha")
    ]
    assert list(find_reload(plan(), host(), every)) == []
    late = replace(where, written={NODE_PATH: 8, SERVER: 7}, since=dict.fromkeys(units, 7))
    assert list(find_reload(plan(), late, (), every)) == [("systemctl", "reload", "keepalived")]


@pytest.mark.parametrize("alone", [False, True])
def test_both_processes_take_up_what_was_written(*, alone: bool) -> None:
    """One that somebody has added by hand would go on with the file of before."""
    main, spare = "openvpn-cluster@office.service", "openvpn-cluster-spare@office.service"
    where = host(active=frozenset({spare} if alone else {main, spare}))
    both = ("ovpnha", "restart-openvpn", "--force", "office")
    assert list(find_reload(plan(), where, [SERVER])) == [both]
    assert list(find_reload(plan(), where, [NODE_PATH])) == []
    late = replace(where, written={SERVER: 8}, since={main: 9, spare: 7})
    assert list(find_reload(plan(), late, (), [SERVER])) == [both]


def test_init_asks_for_all_units_that_decide_what_is_to_be_done() -> None:
    ours = {f"openvpn-{name}@office.service" for name in ("cluster", "cluster-spare", "beside")}
    wanted = ours | {"ovpnha.service", "keepalived.service"}
    assert set(units_of("office", "")) == wanted
    assert set(units_of("office", "openvpn@office.service")) == wanted | {"openvpn@office.service"}


def test_a_keepalived_that_is_left_is_started_where_an_earlier_run_has_ended() -> None:
    left = plan(replace(ANSWERS, keepalived="leave"))
    start = ("systemctl", "start", "openvpn-cluster@office", "keepalived")
    assert start in list(find_start(left, StockUnit(""), host(), given_up=True))


def test_files_of_ours_are_not_left_for_another_address() -> None:
    files = {KEEPALIVED_PATH: "198.51.100.10", SERVER: TEXT}
    more = supplies(bases={KEEPALIVED_PATH: None}, last={KEEPALIVED_PATH: "x"})
    answers = replace(ANSWERS, keepalived="leave")
    (problem,) = made(host(files=files), answers=answers, more=more).problems
    assert "files for other addresses than 192.0.2.10; say `--keepalived replace`" in problem


def test_a_new_key_where_there_has_been_one_is_told() -> None:
    where = host(files={TOML_PATH: "x"})
    assert any(one.startswith(f"{KEY_PATH}: is not there") for one in made(where).notes)
    assert any(
        one.startswith(f"{KEY_PATH}: is not there")
        for one in made(host(), more=supplies(last={KEY_PATH: "x"})).notes
    )
    assert not any(one.startswith(KEY_PATH) for one in made(host()).notes)


def test_a_server_elsewhere_gets_a_file_where_the_unit_reads_it() -> None:
    source = ServerSource("/etc/openvpn/office.conf", TEXT)
    found = made(host(files={"/etc/openvpn/office.conf": TEXT}), source)
    assert found.changes[-1].path == SERVER
    assert found.changes[-1].after.startswith("cd /etc/openvpn\nproto udp\n")
    assert source.stock_unit == "openvpn@office.service"
    foreign = made(host(files={SERVER: "other\n"}), source)
    assert any("is another server's" in one for one in foreign.problems)
    nobody = made(host(), ServerSource("/opt/vpn/office.conf", TEXT))
    assert any("nobody knows here what starts this server" in one for one in nobody.notes)
    assert find_stock(ServerSource("/opt/x.conf", ""), host()) == StockUnit("")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<ca>\nx\n", "<ca> has no end"),
        ("client\n", "server: this is no server's configuration"),
        (TEXT + "no-replay\n", "no-replay: remove it"),
        (TEXT + "ncp-disable\n", "ncp-disable: OpenVPN 2.6 has no such option"),
    ],
)
def test_what_is_in_the_way(text: str, said: str) -> None:
    found = made(host(files={SERVER: text}), replace(SOURCE, text=text))
    assert any(one.startswith(f"{SERVER}: {said}") for one in found.problems), found.problems


def test_a_host_without_the_user_and_a_name_that_toml_cannot_have() -> None:
    assert any("no user ovpnha" in one for one in made(host(has_user=False)).problems)
    strange = host(("eth*", "192.0.2.1/24"), ("bcn0", "10.0.0.1/24"))
    answers = replace(ANSWERS, inside_vip="none")
    assert any("vip_interface" in one for one in made(strange, answers=answers).problems)


def test_addresses_behind_the_server_and_nodes_behind_a_router() -> None:
    where = host(("eth0", "192.0.2.1/24"), ("eth0", "10.8.0.77/16"), ("bcn0", "192.168.77.1/24"))
    answers = replace(ANSWERS, vip="10.8.0.5/16", inside_vip="none", bcn_nodes="8.8.8.8")
    found = made(where, answers=answers)
    assert any(one.startswith("--vip: 10.8.0.5 is in 10.8.0.0/24") for one in found.problems)
    assert any(one.startswith("bcn: 8.8.8.8 is in no network of bcn0") for one in found.notes)


def test_another_address_than_clients_know_is_told_and_a_port_is_not_lost() -> None:
    other = replace(SOURCE, text=f"{TEXT}local 203.0.113.9\n")
    notes = made(host(), other).notes
    assert any(one.startswith("local 203.0.113.9: becomes 192.0.2.10") for one in notes)
    for same in ("192.0.2.10", "::"):
        text = replace(SOURCE, text=f"{TEXT}local {same}\n")
        assert not any(one.startswith("local ") for one in made(host(), text).notes)
    port = replace(SOURCE, text=f"{TEXT}local 192.0.2.10 1195\n")
    assert f"{SERVER}: local: has 1195 behind" in made(host(), port).problems[0]


def test_the_management_that_counts_is_the_last_one() -> None:
    text = f"{TEXT}management localhost 1\nmanagement localhost 2\n"
    assert any(
        one.startswith("management localhost 2: whatever used it")
        for one in made(host(), replace(SOURCE, text=text)).notes
    )


def test_network_manager_s_files_are_looked_at() -> None:
    path = "/etc/NetworkManager/system-connections/a.nmconnection"
    where = host(*MOVING, files={SERVER: TEXT, path: "address1=192.0.2.10/24,192.0.2.254\n"})
    notes = made(where, answers=GIVES_UP).notes
    assert any(one.startswith(f"{path}:1: has 192.0.2.10, which moves") for one in notes)
    assert not any("no file is known" in one for one in notes)


def test_another_name_of_a_server_s_file_may_be_what_starts_it() -> None:
    assert replace(SOURCE, unit="openvpn@office.service").stock_unit == "openvpn@office.service"


def test_a_directory_that_the_sidecar_cannot_enter() -> None:
    (problem,) = made(host(closed=("/etc/ovpnha",))).problems
    assert problem.endswith("run: chmod 755 /etc/ovpnha")


def test_a_key_that_others_can_open_is_closed() -> None:
    state = NamedState(0o644, "", "ovpnha")
    where = host(files={KEY_PATH: "k"}, states={KEY_PATH: state})
    change = made(where).changes[0]
    assert (change.path, change.after) == (KEY_PATH, "k")
    assert change.state == "mode 0644, root:ovpnha; becomes mode 0600, ovpnha:ovpnha"


def test_a_key_that_is_there_stays() -> None:
    assert KEY_PATH not in [one.path for one in made(host(files={KEY_PATH: "k"})).changes]


def test_a_shared_bcn_is_told() -> None:
    answers = replace(ANSWERS, bcn_interface="eth1")
    assert any(
        one.startswith("bcn: eth1 is also where") for one in made(host(), answers=answers).notes
    )


def test_an_own_address_goes_from_the_network_s_file() -> None:
    path = "/etc/network/interfaces"
    where = host(*MOVING, files={SERVER: TEXT, path: "address 192.0.2.10/24\n"})
    found = made(where, answers=GIVES_UP)
    changed = next(one for one in found.changes if one.path == path)
    assert changed.after == "address 192.0.2.11/24\n"
    lacking = made(host(*MOVING), answers=GIVES_UP)
    assert any("no file is known that says so" in one for one in lacking.notes)
    running = host(*MOVING, active=frozenset({"openvpn-cluster@office.service"}))
    assert not any("no file is known" in one for one in made(running, answers=GIVES_UP).notes)


def goodbye(unit: str) -> str:
    told = f"case $(systemctl show -P SubState {unit}) in running|reload|stop)"
    wait = f"for i in $(seq 150); do {told} sleep 0.1;; *) break;; esac; done"
    return f"sh -c 'systemctl stop --no-block {unit}; {wait}; sleep 0.4'"


def ending(unit: str) -> str:
    return f"sh -c 'systemctl kill --kill-who=main {unit} 2>/dev/null; systemctl stop {unit}'"


def stopping(*addresses: str) -> str:
    there = " ".join(f"-e ' {one}/'" for one in addresses)
    wait = f"for i in $(seq 50); do ip -o address | grep -qF {there} || break; sleep 0.1; done"
    return shlex.join(("sh", "-c", f"systemctl stop --no-block keepalived; {wait}"))


def test_the_way_there_and_back() -> None:
    route = DefaultRoute("eth0", "192.0.2.254", "192.0.2.10")
    where = host(*MOVING, routes=(route,), files={KEEPALIVED_PATH: ""})
    found = plan(GIVES_UP, where)
    there = list(find_start(found, STOCK, where))
    assert spell(there).splitlines() == [
        "    ip address replace 192.0.2.11/24 dev eth0",
        "    sysctl --quiet net/ipv4/conf/eth0/promote_secondaries=1",
        "    systemctl enable --now ovpnha",
        "    systemctl enable openvpn-cluster@office keepalived",
        "    systemctl start network-online.target",
        f"    {goodbye('openvpn-server@office.service')}",
        "    ip address del 192.0.2.10/24 dev eth0",
        "    ip -4 route replace default via 192.0.2.254 dev eth0",
        f"    {ending('openvpn-server@office.service')}",
        "    systemctl start openvpn-cluster@office keepalived",
        "    systemctl disable openvpn-server@office.service",
    ]
    before = note_before(found, SERVER, STOCK, where)
    assert Before.from_plain(before.to_plain()) == before
    assert spell(list(find_return(before))).splitlines() == [
        f"    {goodbye('openvpn-cluster@office')}",
        f"    {stopping('192.0.2.10')}",
        f"    {ending('openvpn-cluster@office')}",
        "    ip address replace 192.0.2.10/24 dev eth0",
        "    sysctl --quiet net/ipv4/conf/eth0/promote_secondaries=1",
        "    ip address del 192.0.2.11/24 dev eth0",
        "    systemctl start openvpn-server@office.service",
        "    systemctl disable --now openvpn-cluster@office ovpnha keepalived",
        "    systemctl enable openvpn-server@office.service",
    ]


def test_who_says_goodbye_has_no_address_when_clients_come_again() -> None:
    """Whether it is this host's own or keepalived moves it; and on the way back."""
    manager = frozenset({"keepalived.service"})
    files = {KEEPALIVED_PATH: "virtual_ipaddress {\n 192.0.2.10/24\n}\n"}
    managed = host(*MOVING, ("eth0", "192.0.2.1/24"), active=manager, files=files)
    own = host(*MOVING)
    ways = [
        find_start(plan(replace(GIVES_UP, keepalived="replace"), own), STOCK, own),
        find_start(plan(replace(ANSWERS, keepalived="replace"), managed), STOCK, managed),
        find_return(note_before(plan(GIVES_UP, own), SERVER, STOCK, own)),
        find_return(note_before(plan(ANSWERS, managed), SERVER, STOCK, managed)),
    ]
    for way in ways:
        texts = [" ".join(one) for one in way]
        (told,) = (at for at, text in enumerate(texts) if "--no-block openvpn" in text)
        (ended,) = (at for at, text in enumerate(texts) if "kill" in text)
        gone = (
            *("ip address del 192.0.2.10/24", "systemctl stop keepalived"),
            "sh -c systemctl stop --no-block keepalived",
        )
        assert any(text.startswith(gone) for text in texts[told:ended])


def test_what_was_masked_is_masked_again() -> None:
    units = frozenset({"keepalived.service", "openvpn-cluster@office.service"})
    found = host(*MOVING, masked=units)
    before = note_before(plan(GIVES_UP, found), SERVER, STOCK, found)
    assert Before.from_plain(before.to_plain()) == before
    assert list(find_return(before))[-1] == (
        *("systemctl", "mask", "openvpn-cluster@office", "keepalived"),
    )
    left = replace(before, addresses=())
    assert list(find_return(left, managed=False))[-1] == (
        *("systemctl", "mask", "openvpn-cluster@office"),
    )
    plain = before.to_plain()
    del plain["masked"]
    assert Before.from_plain(plain).masked == ()


def test_what_runs_is_not_started_again() -> None:
    units = frozenset({"ovpnha.service", "openvpn-cluster@office.service", "keepalived.service"})
    where = host(*MOVING, active=units, enabled=units)
    assert (
        list(find_start(plan(GIVES_UP, where), replace(STOCK, enabled=False, active=False), where))
        == []
    )


def test_on_a_node_that_joins_keepalived_starts_by_itself() -> None:
    assert list(find_start(plan(), StockUnit(""), host(), joins=True)) == [
        ("systemctl", "enable", "--now", "ovpnha"),
        ("systemctl", "enable", "--now", "openvpn-cluster@office"),
        ("systemctl", "enable", "--now", "keepalived"),
    ]
    left = plan(replace(ANSWERS, keepalived="leave"))
    assert len(list(find_start(left, StockUnit(""), host(), joins=True))) == 2


def test_a_keepalived_of_before_is_stopped_and_comes_back() -> None:
    where = host(active=frozenset({"keepalived.service"}), files={KEEPALIVED_PATH: "x"})
    there = list(find_start(plan(replace(ANSWERS, keepalived="replace")), STOCK, where))
    assert stopping("192.0.2.10", "198.51.100.10") in [shlex.join(one) for one in there]
    assert ("systemctl", "start", "openvpn-cluster@office", "keepalived") in there
    left = list(find_start(plan(replace(ANSWERS, keepalived="leave")), StockUnit(""), where))
    assert left == [
        ("systemctl", "enable", "--now", "ovpnha"),
        ("systemctl", "enable", "openvpn-cluster@office"),
        ("systemctl", "start", "openvpn-cluster@office"),
    ]
    before = note_before(plan(), SERVER, StockUnit(""), where)
    assert list(find_return(before)) == [
        tuple(shlex.split(goodbye("openvpn-cluster@office"))),
        ("systemctl", "stop", "keepalived"),
        tuple(shlex.split(ending("openvpn-cluster@office"))),
        ("systemctl", "start", "keepalived"),
        ("systemctl", "disable", "--now", "openvpn-cluster@office", "ovpnha"),
        ("systemctl", "disable", "keepalived"),
    ]
    assert list(find_return(before, managed=False)) == [
        tuple(shlex.split(goodbye("openvpn-cluster@office"))),
        tuple(shlex.split(ending("openvpn-cluster@office"))),
        ("systemctl", "disable", "--now", "openvpn-cluster@office", "ovpnha"),
    ]


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("said", ["new", "replace"])
@pytest.mark.parametrize("state", ["", "enabled", "active", "masked", "enabled active"])
def test_keepalived_runs_at_the_end_however_it_was(state: str, said: str, joins: bool) -> None:
    unit = frozenset({"keepalived.service"})
    states = dict.fromkeys(state.split(), unit)
    where = host(*MOVING, ("eth0", "192.0.2.1/24"), **states)
    runs = state.endswith("active")
    can_start = state != "masked"
    found = plan(replace(ANSWERS, keepalived=said), where)
    for command in find_start(found, STOCK, where, joins=joins):
        if command[0] == "systemctl" and {"keepalived", "keepalived.service"} & {*command}:
            can_start = can_start or command[1] == "unmask"
            starts = command[1] == "start" or "--now" in command
            assert can_start or not starts
            runs = starts or (runs and command[1] != "stop")
    assert runs


def test_a_keepalived_that_is_left_must_have_what_this_host_gives_up() -> None:
    answers = replace(GIVES_UP, keepalived="leave")
    lacking = host(*MOVING, files={SERVER: TEXT, KEEPALIVED_PATH: "# 192.0.2.10\n"})
    (problem,) = made(lacking, answers=answers).problems
    for word in ("192.0.2.10 would be deleted", "192.0.2.10/24 dev eth0", "track_file", "weight 1"):
        assert word in problem
    text = "virtual_ipaddress {\n192.0.2.10/24\n}\n"
    having = host(*MOVING, files={SERVER: TEXT, KEEPALIVED_PATH: text})
    found = made(having, answers=answers)
    assert found.problems == ()
    assert any(
        "does not have 198.51.100.10, /run/ovpnha/office.grade" in one for one in found.notes
    )
    there = list(find_start(plan(answers, having), STOCK, having))
    assert ("systemctl", "start", "openvpn-cluster@office", "keepalived") in there
    before = note_before(plan(answers, having), SERVER, STOCK, having)
    texts = [shlex.join(one) for one in find_return(before, managed=False)]
    assert stopping("192.0.2.10") in texts
    every = f'{text} 198.51.100.10 file "/run/ovpnha/office.grade"'
    good = made(host(files={SERVER: TEXT, KEEPALIVED_PATH: every}), answers=answers)
    assert not any("--keepalived leave" in one for one in good.notes)


def test_what_keepalived_runs_with_counts_and_not_what_is_written_since() -> None:
    files = {KEEPALIVED_PATH: "include node.conf", NODE_PATH: "$OUTSIDE_VIP=192.0.2.10/24"}
    unit = frozenset({"keepalived.service"})
    where = host(*MOVING, files=files, active=unit)
    vip = plan(GIVES_UP, where).outside.ip
    assert not where.has_as_own(vip)
    assert replace(where, manager_files={NODE_PATH: ""}).has_as_own(vip)
    elsewhere = replace(where, files={}, manager_files={"/srv/vip.conf": "192.0.2.10/24"})
    assert not elsewhere.has_as_own(vip)


def test_a_hard_link_that_would_end_is_refused() -> None:
    found = made(host(files={SERVER: TEXT}, linked=frozenset({SERVER})))
    (problem,) = found.problems
    assert problem.startswith(f"{SERVER}: has another name (a hard link)")
    assert f"find / -xdev -samefile {SERVER}" in problem
    where = host(files={SERVER: TEXT})
    done = after(where, made(where))
    bases: dict[str, str | None] = dict.fromkeys(done.files)
    again = made(replace(done, linked=frozenset({SERVER})), more=supplies(bases=bases))
    assert (again.changes, again.problems) == ((), ())


@pytest.mark.parametrize(
    ("enabled", "active", "verbs"),
    [(True, False, ["enable"]), (False, True, ["start"]), (True, True, ["start", "enable"])],
)
def test_the_stock_server_is_as_it_was(enabled: bool, active: bool, verbs: list[str]) -> None:
    stock = StockUnit("openvpn-server@office.service", enabled, active)
    beside = host(("eth0", "192.0.2.10/24"), ("eth0", "192.0.2.1/24"), *MOVING[1:])
    before = note_before(plan(ANSWERS, beside), SERVER, stock, beside)
    back = list(find_return(before))
    assert [one[1] for one in back if one[-1] == stock.name] == verbs
    assert ("ip", "address", "replace", "192.0.2.10/24", "dev", "eth0") in back


def test_an_address_that_keepalived_moves_already_is_not_taken_away() -> None:
    manager = frozenset({"keepalived.service"})
    files = {KEEPALIVED_PATH: "virtual_ipaddress {\n 192.0.2.10/24\n}\n", SERVER: TEXT}
    both = host(*MOVING, ("eth0", "192.0.2.1/24"), active=manager, files=files)
    replaced = plan(replace(ANSWERS, keepalived="replace"), both)
    there = list(find_start(replaced, StockUnit(""), both))
    assert ("systemctl", "stop", "keepalived") in there
    assert not [one for one in there if one[0] == "ip"]
    assert note_before(replaced, SERVER, StockUnit(""), both).addresses == ()
    assert not [one for one in made(both).notes if "own address" in one]


def test_a_unit_that_a_generator_starts_is_masked() -> None:
    stock = StockUnit("openvpn@office.service", active=True)
    there = list(find_start(plan(), stock, host()))
    assert there[-1] == ("systemctl", "mask", stock.name)
    done = host(masked=frozenset({stock.name}))
    assert stock.name not in list(find_start(plan(), replace(stock, active=False), done))[-1]
    back = list(find_return(note_before(plan(), SERVER, stock, host())))
    assert [one[1] for one in back if one[-1] == stock.name] == ["unmask", "start"]
    stopped = replace(stock, active=False)
    always = note_before(plan(), SERVER, stopped, done)
    assert [one[1] for one in find_return(always) if stock.name in one[-1]] == []


def test_an_address_of_ipv6_and_a_route_without_a_gateway() -> None:
    route = DefaultRoute("eth0", "", "2001:db8::10", 6)
    where = host(("eth0", "2001:db8::10/64"), ("bcn0", "10.0.0.1/24"), routes=(route,))
    answers = Answers(
        vip="2001:db8::10", inside_vip="none", bcn_interface="bcn0", own_address="2001:db8::11"
    )
    there = list(find_start(plan(answers, where), StockUnit(""), where))
    assert [one for one in there if one[0] == "ip"] == [
        ("ip", "address", "replace", "2001:db8::11/64", "dev", "eth0"),
        ("ip", "address", "del", "2001:db8::10/64", "dev", "eth0"),
        ("ip", "-6", "route", "replace", "default", "dev", "eth0"),
    ]
    lone = host(*MOVING, ("eth0", "192.0.2.1/24"), routes=())
    assert ("ip", "address", "del", "192.0.2.10/24", "dev", "eth0") in list(
        find_start(plan(ANSWERS, lone), StockUnit(""), lone)
    )


def test_a_way_back_that_was_interrupted_is_gone_again() -> None:
    where = host(*MOVING)
    before = note_before(plan(GIVES_UP, where), SERVER, STOCK, where)
    again = list(find_return(before, gone=frozenset({"192.0.2.11/24"})))
    assert not [one for one in again if one[:3] == ("ip", "address", "del")]
    assert len(again) == len(list(find_return(before))) - 2


def test_networkd_reads_its_files_again_before_anybody_has_the_address() -> None:
    path = "/etc/systemd/network/10-eth0.network"
    again = ("systemctl", "try-reload-or-restart", "systemd-networkd")
    where = host(*MOVING, files={path: "[Network]\nAddress=192.0.2.10/24\n"})
    there = list(find_start(plan(GIVES_UP, where), STOCK, where))
    gone = there.index(("ip", "address", "del", "192.0.2.10/24", "dev", "eth0"))
    started = there.index(("systemctl", "start", "openvpn-cluster@office", "keepalived"))
    assert gone < there.index(again) < started
    stays = host(files={path: ""})
    assert again not in list(find_start(plan(ANSWERS, stays), STOCK, stays))
    before = note_before(plan(GIVES_UP, where), SERVER, STOCK, where)
    assert again not in list(find_return(before))
    back = list(find_return(before, files=(path,)))
    taken = back.index(("ip", "address", "del", "192.0.2.11/24", "dev", "eth0"))
    assert taken < back.index(again) < back.index(("systemctl", "start", STOCK.name))


def test_a_server_for_any_address_stays_one() -> None:
    text = TEXT + "multihome\n"
    found = made(host(files={SERVER: text}), replace(SOURCE, text=text))
    after = found.changes[-1].after
    assert found.problems == ()
    assert "\nmultihome\n" in after
    assert "\ncluster-address 192.0.2.10\n" in after
    assert "\nlocal" not in after
    assert any(one.startswith("multihome, or no local") for one in found.notes)
    again = made(host(files={SERVER: after}), replace(SOURCE, text=after))
    assert again.problems == ()
    assert not [one for one in again.changes if one.path == SERVER]


def test_several_addresses_that_clients_use() -> None:
    both = replace(ANSWERS, vip="192.0.2.10 2001:db8::10 192.0.2.20/24", own_address="192.0.2.11")
    text = TEXT + "local 192.0.2.10\nproto udp4\n"
    found = made(host(files={SERVER: text}), replace(SOURCE, text=text), both)
    after = {one.path: one.after for one in found.changes}
    assert found.problems == ()
    assert "\n#local 192.0.2.10\n#proto udp4\n" in after[SERVER]
    for line in ("192.0.2.10", "2001:db8::10", "192.0.2.20"):
        assert f"\ncluster-address {line}\n" in after[SERVER]
    assert "\nproto udp6\n" in after[SERVER]
    assert 'vip = ["192.0.2.10", "2001:db8::10", "192.0.2.20"]\n' in after[TOML_PATH]
    assert any(one.startswith("proto udp4: becomes udp6") for one in found.notes)
    keepalived = after[KEEPALIVED_PATH]
    moved = "        $OUTSIDE_VIP dev $OUTSIDE_IF\n        192.0.2.20/24 dev $OUTSIDE_IF\n"
    assert moved in keepalived
    assert "        $OUTSIDE_VIP6\n        2001:db8::10/128 dev $OUTSIDE_IF\n" in keepalived


def test_an_included_file_that_says_something_else_is_named() -> None:
    included = replace(
        SOURCE,
        text=TEXT + "multihome\nconfig more\n",
        make_load=lambda: {"more": "cluster-address 192.0.2.77\n"}.get,
    )
    found = made(host(files={SERVER: included.text}), included)
    assert found.problems == ()  # it is one more
    included = replace(
        SOURCE,
        text=TEXT + "local 192.0.2.10\nconfig more\n",
        make_load=lambda: {"more": "local 192.0.2.77\n"}.get,
    )
    found = made(host(files={SERVER: included.text}), included)
    assert [one for one in found.problems if "local: a file that this one includes" in one]
