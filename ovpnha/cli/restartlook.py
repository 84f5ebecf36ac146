"""What a look at the two processes tells ``ovpnha restart-openvpn``, and says to people.

Decides what is certain: that the process from before serves on, that a new one does, that one does
not serve. Must never take a sidecar that has just begun, and knows of no process yet, for proof of
anything. Rules: docs/adr/0070-either-process-may-serve.md.
"""

from __future__ import annotations

import os
import signal

from ovpnha.config import Config, InstanceSection
from ovpnha.machines import Process, SparePolicy
from ovpnha.model import Sync
from ovpnha.runtime.control import ControlError
from ovpnha.runtime.processstat import is_older
from ovpnha.runtime.restartrequest import (
    ABSENT,
    FAULT,
    HELD,
    MASTER,
    SILENT,
    STANDBY,
    WAITING,
    RestartAnswer,
    is_master,
    is_over,
)

GONE = frozenset({ABSENT, FAULT})
UNKNOWN = frozenset({ABSENT, SILENT})
"""What a process is that has not said whether it serves."""
IDLE = frozenset({STANDBY, HELD, WAITING})
"""What a process is that has said that it does not."""
COPIES = {Sync.PARTIAL.value: 1, Sync.IN_SYNC.value: 2}
"""How much of what is followed a process has; else nothing that counts."""


def place_of(told: RestartAnswer, process: Process) -> str:
    """What it is."""
    return told.places.get(process, ABSENT)


def copy_of(told: RestartAnswer, process: Process) -> int:
    """How much it has."""
    return COPIES.get(told.copies.get(process, ""), 0)


def is_new(told: RestartAnswer, before: RestartAnswer, process: Process, *, starts: bool) -> bool:
    """Whether its process is none that was there before.

    One that was there and had no number, since the daemon did not reach it, is older than this
    command. So may be a new one, unless the command ``starts`` it.
    """
    pid, numbers = told.pids.get(process, 0), {number for number in before.pids.values() if number}
    unknown = not before.pids.get(process, 0)
    return pid not in numbers and not (starts and unknown and is_older(pid))


def is_heard(told: RestartAnswer) -> bool:
    """Whether it is known which process serves, and what that one is."""
    return told.settled and place_of(told, told.serving) not in UNKNOWN


def is_moving(told: RestartAnswer) -> bool:
    """Whether a move is under way, if it only waits, too."""
    return bool(told.phase) and not is_over(told)


def goes_on(first: RestartAnswer, told: RestartAnswer) -> bool:
    """Whether nothing has come of it: it is certain that who served then serves now."""
    if is_moving(told) or not told.settled or told.serving is not first.serving:
        return False
    if not is_master(first):
        return not is_master(told)
    pid = told.pids.get(told.serving, 0)
    return is_master(told) and pid != 0 and pid == first.pids.get(first.serving)


def has_come(first: RestartAnswer, told: RestartAnswer, *, starts: bool) -> bool:
    """Whether a new process serves, also where nobody knows of the move any more."""
    new = is_new(told, first, told.serving, starts=starts)
    return is_master(told) and new and told.serving is not first.serving


def is_unreached(before: RestartAnswer, told: RestartAnswer, process: Process) -> bool:
    """Whether the daemon does not reach a process that certainly does not serve."""
    away = place_of(before, process) == place_of(told, process) == ABSENT
    return away and told.settled and told.serving is not process


def may_serve(told: RestartAnswer, process: Process) -> bool:
    """Whether a process serves, or nothing says that it does not.

    A spare that has the slot and is dead would have left it to the main one.
    """
    if not told.settled:
        return place_of(told, process) not in IDLE
    if told.serving is process:
        place = place_of(told, process)
        return place == MASTER or (process is Process.SPARE and place in UNKNOWN)
    return place_of(told, told.serving) in UNKNOWN and place_of(told, process) not in IDLE


def is_lent(told: RestartAnswer) -> bool:
    """Whether the main process serves, which lends its role to a spare for a restart only."""
    return told.policy is SparePolicy.RESTART and told.serving is Process.MAIN


def is_spare_lent(first: RestartAnswer) -> bool:
    """Whether the spare is there because of a restart only, as all was before it."""
    return first.policy is not SparePolicy.ALWAYS and place_of(first, Process.SPARE) == ABSENT


def is_reload() -> bool:
    """Whether it is a unit's reload, before whose end systemd starts no process of it anew."""
    return "MAINPID" in os.environ


def find_reloaded(told: RestartAnswer) -> Process | None:
    """Whose unit's reload this is; None: it is none. Whoever is not known is the usual one."""
    if not is_reload():
        return None
    pid = os.environ["MAINPID"]
    known = {str(number): Process(name) for name, number in told.pids.items()}
    return known.get(pid, Process.MAIN)


def find_vain(told: RestartAnswer, reloaded: Process | None, unit: str) -> tuple[str, ...]:
    """Why a reload can start nothing anew; nothing when it can.

    The process that goes on must be started anew for it, which systemd does only after the reload
    of its own ``unit``.
    """
    if not is_master(told) or reloaded is not told.serving.other:
        return ()
    other = f"the {told.serving} process serves, by another unit: systemctl reload {unit}"
    return (f"{other}, or ovpnha restart-openvpn {told.instance}",)


def end_waiting(pid: int) -> None:
    """End a process that waits for descriptors: it has no client and no socket.

    Raises:
        ControlError: Only root may.
    """
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError:
        waits = f"process {pid}, which waits for descriptors, cannot be ended"
        raise ControlError(f"{waits}: be root") from None


def say_serving(answer: RestartAnswer, more: str = "") -> str:
    """Who serves, in words."""
    if not answer.settled:
        return "it is not known yet which process serves"
    place = place_of(answer, answer.serving)
    goes_on = ", and a move that is under way goes on" if is_moving(answer) else ""
    if place != MASTER:
        return f"no client is served here: the {answer.serving} process is {place}{goes_on}"
    return f"the {answer.serving} process serves{more and ' '}{more}{goes_on}"


def say_left(process: Process, unit: str, *, changed: bool, serves: bool) -> str:
    """What a process is left with that may serve, when its restart was called off.

    ``changed``: it may run a program that was tried; else it is a spare that was lent. ``serves``:
    it is known that a process here does.
    """
    if changed and serves:
        return f"the {process} process runs what was tried, until it is started anew"
    if changed:
        return f"the {process} process may run what was tried: start it anew"
    if serves:
        return "the spare process stays, as it serves: the same command gives the role back"
    stop = f"systemctl stop {unit}, when ovpnha status says so"
    return f"the spare process stays, as it may serve; if it does not: {stop}"


def find_instance(config: Config, name: str | None) -> str | None:
    """The instance that is called so, or whose unit is."""
    units = {one.server_config.stem: one.name for one in config.instance if one.server_config}
    return name if any(one.name == name for one in config.instance) else units.get(name or "", name)


def find_section(config: Config, name: str) -> InstanceSection:
    """What the configuration says of it."""
    return next(one for one in config.instance if one.name == name)
