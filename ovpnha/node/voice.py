"""What the machine says of an instance that has two processes: what the one with the slot says.

Each of the two is a node, and would set a grade, tell of its role and of its OpenVPN. The shell has
one machine. Decides only whose word it is, and that nothing is said twice: a move from a master to
a master is no news to a hook. Rules: docs/roles.md, "A spare".
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from ovpnha.machines import Process
from ovpnha.model import Role
from ovpnha.node.outputs import (
    CloseManagement,
    LogEvent,
    OpenvpnFound,
    Output,
    Remember,
    RoleChanged,
    RunFence,
    SetGrade,
    WriteManagement,
)

OfMachine = SetGrade | RoleChanged | OpenvpnFound | RunFence


def tag(output: Output, process: Process) -> Output:
    """The same, of this process."""
    match output:
        case WriteManagement() | CloseManagement() | Remember() | OpenvpnFound():
            return output if process is Process.MAIN else replace(output, process=process)
    return output


class MachineVoice:
    """Of one instance."""

    def __init__(self, outputs: deque[Output]) -> None:
        self._outputs = outputs
        self._grades: dict[Process, SetGrade] = {}
        self._changes: dict[Process, RoleChanged] = {}
        self._found: dict[Process, OpenvpnFound] = {}
        self._grade: SetGrade | None = None  # said last
        self._role = Role.INIT

    def take(self, process: Process, output: OfMachine, *, serving: bool) -> None:
        """One of the two has something to say."""
        match output:
            case SetGrade():
                self._grades[process] = output
            case RoleChanged():
                self._changes[process] = output
                fields = {"instance": output.instance, "process": process.value}
                news = {"role": output.new.value, "reason": output.reason}
                self._outputs.append(LogEvent("info", "process changed its role", fields | news))
            case OpenvpnFound():
                self._found[process] = output
                if serving:
                    self.repeat(process)
            case _:
                self._outputs.append(output)

    def pass_on(self, process: Process, output: OfMachine) -> None:
        """There is one process only: what it says is what the machine says."""
        self._outputs.append(output)
        match output:
            case SetGrade():
                self._grades[process] = self._grade = output
            case RoleChanged(new=role):
                self._changes[process], self._role = output, role
            case OpenvpnFound():
                self._found[process] = output

    def repeat(self, process: Process) -> None:
        """The slot is this one's: its OpenVPN is that of the machine."""
        if process in self._found:
            self._outputs.append(tag(self._found[process], process))

    def say(self, slot: Process, role: Role) -> None:
        """Grade and role of the process with the slot, where they are news."""
        grade, change = self._grades.get(slot), self._changes.get(slot)
        if grade is not None and grade != self._grade:
            self._grade = grade
            self._outputs.append(grade)
        if change is not None and role is change.new and role is not self._role:
            self._outputs.append(replace(change, old=self._role))
            self._role = role
