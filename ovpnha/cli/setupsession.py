"""One run of ``ovpnha init`` or ``uninit``: reads, lets the pure part decide, and words it.

Decides which server is meant, and where an answer comes from: the command line, an earlier run, or
the terminal; what is asked for and not answered is named with its option.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ovpnha.cli.setupprepared import PreparedReturn, PreparedServer
from ovpnha.errors import ConfigError
from ovpnha.runtime.firewall import DEFAULT_DIRECTORY, is_table_left
from ovpnha.runtime.installation import STATE, Installation
from ovpnha.runtime.keyfile import make_key_text, parse_keys
from ovpnha.runtime.netlink import read_network
from ovpnha.runtime.thishost import HostReader, read_templates
from ovpnha.setup.answers import Answers, find_questions
from ovpnha.setup.bundle import find_lacking
from ovpnha.setup.cluster import PATCHED, STOCK, ClusterPlan, cluster_unit, make_plan
from ovpnha.setup.commands import (
    Before,
    Command,
    Units,
    find_reload,
    find_return,
    find_start,
    note_before,
    spare_unit,
    spell,
    units_of,
)
from ovpnha.setup.diffs import show_diff
from ovpnha.setup.files import KEY_PATH, TOML_PATH
from ovpnha.setup.host import VIP_MANAGER_FILES, Host
from ovpnha.setup.proposal import (
    SERVER_DIRECTORY,
    USER,
    FileChange,
    Proposal,
    ServerSource,
    Supplies,
    find_stock,
    propose,
)

RELOADS = (
    "Services run that have to take up what has changed. The other nodes need the same files first"
    " (ovpnha init --export FILE, and --join FILE there); then the standby nodes one by one, and"
    " the master last: an OpenVPN that restarts there hands its clients to a standby.\n"
)
PATCHED_UNIT = "/usr/lib/systemd/system/openvpn-cluster@.service"
QUESTION = (
    "The patched OpenVPN is not installed here. Go on with the distribution's, whose clients"
    " reconnect at a takeover (yes or no)"
)
Ask = Callable[[str, str], str | None]
"""Asks a question with a default; None when nobody can be asked."""


@dataclass(frozen=True)
class Prepared:
    """All that one run of init will do."""

    plan: ClusterPlan
    host: Host
    proposal: Proposal
    answers: Answers
    before: Before
    start: tuple[Command, ...]
    """What has to be started, and what stops for it."""
    reload: tuple[Command, ...]
    """What runs already, and has to take up a changed file."""

    @property
    def commands(self) -> tuple[Command, ...]:
        """All that is left to do."""
        return (*self.start, *self.reload)

    @property
    def rest(self) -> str:
        """What no file and no command here does."""
        return _tell_rest(self.plan)


class Session:
    """The host below one root, and what was written there."""

    def __init__(self, root: Path) -> None:
        self._runs = root == Path("/")
        self.reader = HostReader(root, read_network(), self._runs)
        self.installation = Installation(root)
        self.manifest = self.installation.read()

    def prepare(self, server: Path | None, given: Answers, ask: Ask) -> Prepared:
        """Read everything, ask what is left, propose."""
        source = self.choose(server)
        ours = [cluster_unit(source.name, stock=stock) for stock in (False, True)]
        units = units_of(source.name, source.stock_unit)
        self._refuse_another(source)
        host = self.reader.read((source.path, source.target), units)
        host = self.with_manager(host, *ours)
        answers = given.over(Answers.from_plain(self.manifest.answers or {}))
        answers = complete(choose_openvpn(answers, host, ask), host, source, ask)
        plan, problems = make_plan(source.name, answers, host)
        if plan is None:
            raise ConfigError("\n".join(problems))
        self.refuse_other_openvpn(plan)
        proposal = propose(plan, source, host, self.supplies())
        lacking = (*find_wrong_key(host), *self._find_lacking(source))
        proposal = replace(proposal, problems=(*problems, *proposal.problems, *lacking))
        return self.conclude_preparation(plan, host, proposal, answers, source)

    def _find_lacking(self, source: ServerSource) -> Iterator[str]:
        directory = str(Path(source.path).parent)
        for one in find_lacking(source.read(), directory, self.reader.exists):
            yield (
                f"{source.path}: {one.option}: {one.path} is not there, so the server would not"
                " start; put it there, or give the full path of where it is"
            )

    def _refuse_another(self, source: ServerSource) -> None:
        """What init has written is for one server: a second one would take its place."""
        if self.manifest.before is None:
            return
        before = Before.from_plain(dict(self.manifest.before))
        if before.spare:
            raise ConfigError("init was said with --alone here; go back first: ovpnha uninit")
        if not before.source:
            raise ConfigError("this node has joined by a sealed file; say --join FILE again")
        if before.source != source.path:
            self.refuse_instance(before.source, source.path)

    def refuse_instance(self, earlier: str, now: str) -> None:
        """One line for a server that is not the one of an earlier run."""
        raise ConfigError(
            f"{now}: init has put {earlier} into a cluster here, and is for one server; add the"
            f" other [[instance]] to {TOML_PATH} by hand (docs/configuration.md), or go back"
            " first: ovpnha uninit --write"
        )

    def refuse_other_openvpn(self, plan: ClusterPlan) -> None:
        """From one OpenVPN to the other the way leads by how it was before."""
        noted = self.manifest.before
        if noted is not None and Before.from_plain(dict(noted)).beside is not plan.stock:
            last = "with" if plan.stock else "without"
            raise ConfigError(
                f"--stock: an earlier run was {last} the patched OpenVPN; go back first:"
                " ovpnha uninit --write"
            )

    def with_manager(self, host: Host, *clusters: str) -> Host:
        """With what keepalived runs with, where that was replaced and it was not started since."""
        if host.active.intersection(clusters):
            return host
        bases, _ = self.installation.read_bases(self.manifest)
        old = {
            path: text or "" for path, text in bases.items() if path.startswith(VIP_MANAGER_FILES)
        }
        return replace(host, manager_files={**host.manager_files, **old})

    def conclude_preparation(
        self,
        plan: ClusterPlan,
        host: Host,
        proposal: Proposal,
        answers: Answers,
        source: ServerSource,
        *,
        joins: bool = False,
    ) -> Prepared:
        """With what is noted of the host, and what is left to do."""
        before = self._note_before(plan, source, host)
        given_up = self.manifest.before is not None and bool(before.addresses)
        start = find_start(plan, before.stock, host, joins=joins, given_up=given_up)
        known = (one.path for one in self.manifest.entries)
        reload = find_reload(plan, host, (one.path for one in proposal.changes), known)
        return Prepared(plan, host, proposal, answers, before, tuple(start), tuple(reload))

    def _note_before(self, plan: ClusterPlan, source: ServerSource, host: Host) -> Before:
        """As it was found first."""
        if self.manifest.before is not None:
            kept = Before.from_plain(dict(self.manifest.before))
            return replace(kept, stock=find_stock(source, host)) if self._runs else kept
        stock = find_stock(source, host)
        return note_before(plan, source.path, stock, host)

    def supplies(self) -> Supplies:
        """What a proposal is made with."""
        bases, edited = self.installation.read_bases(self.manifest)
        last = {one.path: one.written[-1] for one in self.manifest.entries}
        return Supplies(read_templates(), make_key_text(), bases, edited, last)

    def _with_base(self, source: ServerSource) -> ServerSource:
        """The text that stood there before an earlier run, if that one's is unchanged."""
        bases, _ = self.installation.read_bases(self.manifest)
        base = bases.get(source.path)
        return source if base is None else replace(source, text=base)

    def choose(self, server: Path | None) -> ServerSource:
        """The server's file that is meant, as it was before an earlier run."""
        return self._with_base(self._choose(server))

    def _choose(self, server: Path | None) -> ServerSource:
        if server is not None:
            return self.reader.named(str(server.absolute()))
        if self.manifest.before is not None:
            before = Before.from_plain(dict(self.manifest.before))
            if not before.source:
                raise ConfigError("this node has joined by a sealed file; say --join FILE again")
            return self.reader.named(before.source)
        found = list(self.reader.find_servers())
        if len(found) == 1:
            return found[0]
        if not found:
            raise ConfigError(
                "there is no server's configuration in /etc/openvpn/server or /etc/openvpn; name"
                " it: ovpnha init SERVER.conf"
            )
        names = ", ".join(one.path for one in found)
        raise ConfigError(f"there are several servers; name one: ovpnha init FILE, of {names}")

    def write(self, prepared: Prepared | PreparedServer) -> None:
        """Write what is proposed."""
        if not prepared.proposal.changes:
            return
        self.installation.write(
            prepared.proposal.changes,
            prepared.answers.to_plain(),
            prepared.before.to_plain(),
            self._find_owner,
            prepared.proposal.directories,
        )

    def _find_owner(self, user: str, group: str) -> tuple[int, int]:
        """Names of another node need not be here: then it is root's, which is told before."""
        found = self.reader.find_user(user)
        if found is None and user == USER:
            raise ConfigError(f"there is no user {user} on this host; install the package ovpnha")
        number, own = found or (os.geteuid(), os.getegid())
        named = self.reader.find_group(group)
        return number, own if named is None else named

    def show(self, prepared: Prepared | PreparedServer) -> str:
        """The diffs."""
        server = f"{SERVER_DIRECTORY}/{prepared.before.instance}.conf"
        changes = sorted(prepared.proposal.changes, key=lambda one: one.path != server)
        return "".join(map(_show, changes))

    def conclude(self, prepared: Prepared | PreparedServer, *, written: bool, run: bool) -> str:
        """What was done, and what is left."""
        count = len(prepared.proposal.changes)
        if not count:
            text = "Nothing to write: every file is as it should be.\n"
        elif written:
            text = f"Written: {count} files; what was there is kept in /{STATE}.\n"
        else:
            text = f"Nothing is written yet, of {count} files: say it again with --write.\n"
        if prepared.commands and not run:
            text += f"Then, on this node (or with --now):\n{spell(prepared.commands)}"
            if prepared.reload and isinstance(prepared, Prepared):
                text += RELOADS
            text += _warn_of_stock(prepared)
        return text + prepared.rest

    def to_plain(self, prepared: Prepared | PreparedServer) -> dict[str, Any]:
        """What is proposed, for programs."""
        proposal = prepared.proposal
        return {
            "files": [
                {
                    "path": one.path,
                    "new": one.before is None,
                    "diff": _show(one),
                }
                for one in proposal.changes
            ],
            "notes": list(proposal.notes),
            "problems": list(proposal.problems),
            "commands": [list(one) for one in prepared.commands],
            "warning": _warn_of_stock(prepared).strip(),
        }

    def prepare_return(self) -> PreparedReturn:
        """What would be put back."""
        files = tuple((one.path, what) for one, what in self.installation.plan_return())
        before = self.manifest.before
        if before is None:
            return PreparedReturn(files, ())
        managed = any(path.startswith(VIP_MANAGER_FILES) for path, _ in files)
        noted = Before.from_plain(dict(before))
        commands = find_return(
            noted,
            managed=managed,
            gone=self._find_gone(noted),
            files=[path for path, _ in files],
            now=self._find_units(noted),
        )
        return PreparedReturn(files, (*commands, *self._clear_firewall()), noted)

    def _clear_firewall(self) -> Iterator[Command]:
        """Nobody keeps our table any more."""
        if self._runs and is_table_left(DEFAULT_DIRECTORY):
            yield ("ovpnha", "firewall", "--remove")

    def _find_units(self, before: Before) -> Units | None:
        """Which of its processes run, and whether somebody has added one since."""
        if not self._runs:
            return None
        main = cluster_unit(before.instance, stock=before.beside)
        spare = spare_unit(before.instance)
        host = self.reader.read((), (main, spare))
        return Units(main in host.active, spare in host.active, spare in host.enabled)

    def _find_gone(self, before: Before) -> frozenset[str]:
        """What the host was given instead of its addresses, and has not any more."""
        if not self._runs:
            return frozenset()
        there = {str(one.address) for one in self.reader.read((), ()).addresses}
        return frozenset(own for _, _, own in before.addresses if own not in there)

    def put_back(self, *, forget: bool) -> list[Path]:
        """Put it back; returns where is kept what was changed since."""
        return self.installation.put_back(forget=forget)


def _warn_of_stock(prepared: Prepared | PreparedServer) -> str:
    """What must not be done between the files and the commands."""
    stock = prepared.before.stock
    if not (stock.active or stock.enabled or stock.generated) or not prepared.start:
        return ""
    return (
        f"From the moment that the files are written until then, restart neither {stock.name} nor"
        " this host: Debian's OpenVPN does not know `cluster`, and would not start again. Its"
        " clients reconnect once, when it is stopped.\n"
    )


def _tell_rest(plan: ClusterPlan) -> str:
    """What no file and no command here does."""
    return (
        f"The packet filter must let in UDP 11940 on {plan.bcn_interface}, and VRRP (IP protocol"
        f" 112) on {plan.outside.interface}. Connections that NAT translates need conntrackd to"
        " survive (docs/operations.md). What is still missing says: ovpnha doctor\n"
    )


def _show(change: FileChange) -> str:
    if change.state:
        return f"--- {change.path}\n+++ {change.path}\n@@ {change.state} @@\n"
    return show_diff(change.path, change.before, change.after, secret=change.secret)


def find_wrong_key(host: Host) -> Iterator[str]:
    """A file in the key's place that is none."""
    text = host.files.get(KEY_PATH)
    try:
        if text is not None:
            parse_keys(text, Path(KEY_PATH))
    except ConfigError as error:
        yield f"{error}; or move the file away, and init makes a new one"


def choose_openvpn(answers: Answers, host: Host, ask: Ask) -> Answers:
    """Ask, where the patched OpenVPN is not installed and somebody can answer."""
    if answers.openvpn is not None or PATCHED_UNIT in host.programs:
        return answers
    said = ask(QUESTION, "no")
    if said is None:
        return answers
    yes = said.strip().lower() in {"y", "yes"}
    return replace(answers, openvpn=STOCK if yes else PATCHED)


def complete(answers: Answers, host: Host, source: ServerSource, ask: Ask) -> Answers:
    """Answers to all questions, from whoever can give them."""
    while questions := list(find_questions(answers, host, source.read())):
        question = questions[0]
        answer = question.default if question.sure else ask(question.text, question.default)
        if answer is None:
            raise ConfigError("\n".join(_missing(answers, host, source)))
        answers = Answers.from_plain({**answers.to_plain(), question.field: answer})
    return answers


def _missing(answers: Answers, host: Host, source: ServerSource) -> Iterator[str]:
    """Every option that is needed, as far as that can be known now."""
    for one in find_questions(answers, host, source.read()):
        if not one.sure:
            hint = f" (perhaps {one.default})" if one.default else ""
            yield f"{one.option}: is not known; name it: {one.text}{hint}"
