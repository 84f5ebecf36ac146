"""Stories of ``make scenarios`` in which the cluster has a fence or a check, and what they need.

A required fence holds a promotion back when the last master is silent:

    VIP arrives ──► fence ──► 0: the old master is off ──► promoted
                      │
                      └─► fails, or hangs and is killed: told, run again, until it works
                          or an operator says ``ovpnha promote --unfenced``

Whatever the VIP manager does meanwhile, nobody may serve before: ``FENCED`` in the lab's directory
has the moment from which on it is allowed (nanoseconds of the wall clock), written by the fence
right before it succeeds, or by the story right before it overrules.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab import plan
from tests.lab.deaths import silence_node
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.pacemaker import FENCE_DEVICE, Pacemaker
from tests.lab.process import Process
from tests.lab.scenarios import Victim
from tests.lab.session import Moment, Session
from tests.lab.sidecar import ENVIRONMENT, INSTANCE, configure, run_command
from tests.lab.waiting import wait_until

PATIENCE = 60.0
FENCED = "fenced"
MENDED = "mended"
BROKEN = "broken"
CHECK = "lan"

_FENCE = """
[fence]
command = ["{program}"]
required = true
timeout = {timeout}

[log]"""
_CHECK = """
[[check]]
name = "{check}"
kind = "command"
command = ["{program}"]
period = 0.5
timeout = 2.0
critical = true
rise = 2
fall = 2

[log]"""
_END_IT = """\
printf 'action=off\\nhome={directory}/fence\\nport=%s\\n' "$OVPNHA_OTHER_NODE" |
    "{device}" || exit 1
"""
_WHEN_MENDED = '[ -e "{directory}/{mended}" ] || {{ echo "no answer"; exit 1; }}\n'
_HANG = "sleep 600\n"
_NOTE = 'date +%s%N >"{directory}/{fenced}"\n'
_LOOK = 'if [ -e "{directory}/$OVPNHA_NODE/{broken}" ]; then echo "the LAN is gone"; exit 1; fi\n'


def _fence(body: str, timeout: float = 20.0) -> Callable[[Lab], None]:
    """Give the cluster a required fence that does this."""

    def prepare(lab: Lab) -> None:
        program = _write_program(lab, "fence-node", body + _NOTE)
        configure(lab.directory, "\n[log]", _FENCE.format(program=program, timeout=timeout))

    return prepare


def _check(lab: Lab) -> None:
    """Give every node a critical check that ``NODE/broken`` makes fail."""
    program = _write_program(lab, "look", _LOOK)
    configure(lab.directory, "\n[log]", _CHECK.format(check=CHECK, program=program))


def _write_program(lab: Lab, name: str, body: str) -> Path:
    path = lab.directory / name
    names = {"mended": MENDED, "fenced": FENCED, "broken": BROKEN, "device": FENCE_DEVICE}
    path.write_text("#!/bin/sh\n" + body.format(directory=lab.directory, **names))
    path.chmod(0o755)
    return path


def fail_check(session: Session) -> Moment:
    """The check has been good on the master; it counts from the moment the service is gone."""
    lab = session.lab
    wait_until(lambda: _verdict(lab.master) == "ok", "the check is good", PATIENCE)
    moment = session.mark()
    (lab.master.directory / BROKEN).touch()
    lab.wait_master(lab.other(moment.node), PATIENCE)
    return moment


def _verdict(node: Node) -> str:
    checks = (node.sidecar.instance() or {}).get("checks", [])
    return next((str(one["verdict"]) for one in checks if one["name"] == CHECK), "")


def end_silent_master(session: Session) -> Moment:
    """The fence reaches a power switch, which ends the old master with all that runs there."""
    lab = session.lab
    start_fencer(lab)
    moment = session.strike(silence_node)
    wait_until(lambda: allowed(lab, moment) is not None, "the fence succeeds", PATIENCE)
    return moment


def start_fencer(lab: Lab) -> None:
    """The power switch of this lab, which serves ``fence_lab``."""
    home = Pacemaker.fence_home(lab.directory)
    home.mkdir()
    nodes = [f"{name}={node.namespace}" for name, node in lab.nodes.items()]
    process = Process(
        [sys.executable, "-m", "tests.lab.agents.fencer", home, *nodes],
        namespace=lab.topology.namespace(plan.FABRIC),
        directory=lab.directory,
        log=lab.directory / "fencer.log",
        environment=ENVIRONMENT,
    )
    lab.look_after(process).start()
    wait_until((home / "requests").exists, "the fencer listens", PATIENCE)


def fail_fence(session: Session) -> Moment:
    """The switch does not answer at first."""
    moment = session.strike(silence_node)
    _wait_problem(session.lab, moment, "fence_failed")
    (session.lab.directory / MENDED).touch()
    return moment


def hang_fence(session: Session) -> Moment:
    """An operator who knows that the old master is off says so."""
    lab = session.lab
    moment = session.strike(silence_node)
    _wait_problem(lab, moment, "fence_failed")
    (lab.directory / FENCED).write_text(f"{time.time_ns()}\n")
    where = ("--config", lab.directory / "ovpnha.toml", "--node", lab.other(moment.node))
    run_command("promote", "--unfenced", *where, "--instance", INSTANCE)
    return moment


def _wait_problem(lab: Lab, moment: Moment, problem: str) -> None:
    successor = lab.nodes[lab.other(moment.node)]

    def is_told() -> bool:
        return problem in str((successor.sidecar.instance() or {}).get("problems"))

    wait_until(is_told, f"node {successor.name} tells of {problem}", PATIENCE)


def allowed(lab: Lab, moment: Moment) -> float | None:
    """From when on somebody else might serve, in milliseconds since the moment; None: not yet."""
    path = lab.directory / FENCED
    text = path.read_text() if path.exists() else ""
    return (int(text) - moment.wall) / 1e6 if text.endswith("\n") else None


PREPARATIONS: dict[Victim, Callable[[Lab], None]] = {
    Victim.CHECKED: _check,
    Victim.FENCED: _fence(_END_IT),
    Victim.UNFENCED: _fence(_WHEN_MENDED),
    Victim.FENCE_HANGS: _fence(_HANG, timeout=2.0),
}
"""What is to be done to a lab before its cluster starts."""
FENCES = frozenset({Victim.FENCED, Victim.UNFENCED, Victim.FENCE_HANGS})
