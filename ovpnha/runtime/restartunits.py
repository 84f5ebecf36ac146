"""Starts and stops the units of an instance's two processes, for a restart.

Decides how another program than the installed one is started: by a drop-in of both units that
lasts until the host's next start, and that the next restart without one takes away. systemd starts
an ended process anew within 0.2 s, so the drop-in must be there before any process ends; and it
must not stay behind a restart that was called off, or a later crash would start that program.
Restarts the main unit only when clients are to notice: it is the one that an administrator watches,
and systemd starts its process anew by itself. That is one job of systemd's, which starts it again
whatever becomes of this command; after a stop alone nobody might come to start it.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ovpnha.config import InstanceSection
from ovpnha.errors import OvpnhaError
from ovpnha.machines import Process
from ovpnha.runtime.trialmarks import find_mark, put_mark, remove_mark

OURS = tuple(process.unit for process in Process)
CONFIGURATIONS = Path("/etc/openvpn/server")
DROP_INS = Path("/run/systemd/system")
DROP_IN = "ovpnha-binary.conf"
PROCESSES = Path("/proc")
TIMEOUT = 240.0
"""Seconds: more than systemd gives a unit to stop, by force at last, and to start."""


class UnitError(OvpnhaError):
    """A unit could not be started or stopped; says why."""


class OtherProgramError(UnitError):
    """The units may start a program that was tried, for all that it was called off; says why."""


class OtherUnits:
    """Those of one instance."""

    def __init__(self, one: InstanceSection, drop_ins: Path | None = None) -> None:
        name = one.server_config.stem if one.server_config is not None else one.name
        self._units = {process: f"{process.unit}{name}.service" for process in Process}
        self._drop_ins = drop_ins or DROP_INS
        self._before: dict[Path, str | None] = {}
        self._mark = contextlib.ExitStack()

    def name(self, process: Process) -> str:
        """What its unit is called."""
        return self._units[process]

    def find_strangers(self, pids: Mapping[Process, int]) -> tuple[str, ...]:
        """Which processes that run are not their units', why, and what to do.

        Args:
            pids: Their numbers; 0: not known, so that it is none of a unit of this host.

        Raises:
            UnitError: systemd does not say.
        """
        found = (self._find_stranger(process, pid) for process, pid in pids.items())
        return tuple(text for text in found if text)

    def _find_stranger(self, process: Process, pid: int) -> str:
        unit = self._units[process]
        number = _systemctl("show", "--property=MainPID", "--value", unit).strip() or "0"
        if pid and (number == str(pid) or not (PROCESSES / str(pid)).exists()):
            return ""
        if not pid and number != "0":
            return ""
        found = _unit_of(pid)
        if found.startswith(OURS) and (found != unit or number != "0"):
            return f"the {process} process (pid {pid}) is {self._mend(found, unit, number)}"
        who, end = f"pid {pid}" if pid else "no process of this host", f"end process {pid or ''}"
        if found and found != unit:
            who, end = f"pid {pid}, of {found}", f"systemctl disable --now {found}"
        enable = f", then systemctl enable --now {unit}" if process is Process.MAIN else ""
        return (
            f"the {process} process ({who}) is not that of {unit}, which would be started: systemd"
            " may stop the one that serves for it. Go over to that unit first, which clients notice"
            f" if no other node goes on: {end.strip()}{enable}; or start and end processes"
            " yourself, with --no-start"
        )

    def _mend(self, found: str, unit: str, number: str) -> str:
        """Where a process is that a unit of ours has started, and what to correct."""
        if found == unit:
            return (
                f"in {unit}, but not its main process (pid {number}): let ExecStart= be openvpn"
                " itself (exec, in a script), and restart it once as ever; or use --no-start"
            )
        if found in self._units.values():
            return (
                f"of {found}, not of {unit}: exchange management and spare_management of the"
                " instance, and restart ovpnha"
            )
        name = found.partition("@")[2].removesuffix(".service")
        return (
            f'of {found}, not of {unit}: write server_config = "{CONFIGURATIONS / name}.conf" into'
            " the instance, or correct its management if that is another server, and restart ovpnha"
        )

    def use(self, binary: Path | None) -> None:
        """Start this program from now on, for None the installed one; what runs goes on.

        Another program is on trial until ``keep`` or ``take_back``.

        Raises:
            UnitError: systemd refuses, or has no such unit.
        """
        wanted = {
            file: None if binary is None else _text(unit, binary)
            for unit, file in self._files().items()
        }
        self._before = {file: _read(file) for file in wanted}
        if binary is not None:
            with _told():
                self._mark = put_mark(self._marked, self._before, binary.resolve())
        self._write(wanted)

    def keep(self) -> None:
        """What is on trial has passed; UnitError when that cannot be noted."""
        with _told():
            self._mark.close()

    def take_back(self) -> bool:
        """The programs are those from before ``use``; whether they were others.

        Raises:
            OtherProgramError: systemd refuses: it may start the other program later.
        """
        try:
            changed = self._write(self._before)
            self.keep()
        except UnitError as error:
            raise OtherProgramError(
                f"{error}; the units may start what was tried, until that is done"
            ) from None
        return changed

    def take_back_cut_off(self) -> str:
        """Take back what a trial has left that was cut off; which program it was, or "".

        Raises:
            UnitError: A trial is under way, or systemd refuses.
        """
        mark = find_mark(self._marked)
        if mark is None:
            return ""
        if mark.held:
            raise UnitError(f"another restart is under way, which tries {mark.program}")
        self._write({file: mark.before.get(file) for file in self._files().values()})
        _systemctl("daemon-reload")  # whoever was cut off may not have said it
        with _told():
            remove_mark(self._marked)
        return mark.program

    def find_cut_off(self) -> str:
        """The program that a trial has left in the units when it was cut off, or ""."""
        mark = find_mark(self._marked)
        return "" if mark is None or mark.held else mark.program

    @property
    def _marked(self) -> Path:
        """The drop-in beside which the mark of a trial is: of the main unit, for both."""
        return self._files()[self._units[Process.MAIN]]

    def _files(self) -> dict[str, Path]:
        """By unit, its drop-in."""
        return {unit: self._drop_ins / f"{unit}.d" / DROP_IN for unit in self._units.values()}

    def start(self, process: Process) -> None:
        """Start its unit; one that runs starts its process anew by itself.

        Raises:
            UnitError: systemd refuses.
        """
        _systemctl("start", "--no-block", self._units[process])

    def renew(self, process: Process) -> None:
        """End the process of its unit, however it does, and start another; waits for neither.

        Raises:
            UnitError: systemd refuses.
        """
        _systemctl("restart", "--no-block", self._units[process])

    def stop_spare(self, *, wait: bool = True) -> None:
        """Stop the unit of the second process; UnitError when systemd refuses."""
        _systemctl("stop", *([] if wait else ["--no-block"]), self._units[Process.SPARE])

    def restart(self, serving: Process, farewell: Callable[[], None] | None = None) -> None:
        """End the server, and start its main process: clients are told, and reconnect.

        The process that serves goes last. Else the other one would go on in its place for a moment,
        and clients would reconnect twice. Just before it goes is the time for ``farewell``.

        Raises:
            UnitError: systemd refuses, or has not done it yet: it goes on with what it was told.
        """
        farewell = farewell or _say_nothing
        if serving is Process.SPARE:
            _systemctl("restart", self._units[Process.MAIN])
            farewell()
            self.stop_spare()
            return
        refused: UnitError | None = None
        try:
            self.stop_spare()
        except UnitError as error:
            refused = error
        farewell()
        _systemctl("restart", self._units[Process.MAIN])
        if refused is not None:
            raise refused

    def is_at_it(self) -> bool:
        """Whether systemd starts or stops one of the two now; not, where it does not say."""
        try:
            jobs = _systemctl("show", "--property=Job", "--value", *self._units.values())
        except UnitError:
            return False
        return any(job != "0" for job in jobs.split())

    def _write(self, texts: Mapping[Path, str | None]) -> bool:
        changed = False
        with _told():
            for file, text in texts.items():
                changed |= _replace(file, text)
        if changed:
            _systemctl("daemon-reload")
        return changed


def _say_nothing() -> None:
    """There is nobody to be told."""


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """A file that may not be written is an error of the unit's."""
    try:
        yield
    except OSError as error:
        raise UnitError(f"{error.filename}: {error.strerror}; be root") from None


def _unit_of(pid: int) -> str:
    """Which service's process it is; "" for none."""
    with contextlib.suppress(OSError):
        names = (PROCESSES / str(pid) / "cgroup").read_text().replace("\n", "/").split("/")
        return next((one for one in reversed(names) if one.endswith(".service")), "")
    return ""


def _replace(file: Path, text: str | None) -> bool:
    """Whether it was another one."""
    if text == _read(file):
        return False
    if text is None:
        file.unlink()
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return True


def _read(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


def _text(unit: str, binary: Path) -> str:
    command = _systemctl("show", "--property=ExecStart", "--value", unit)
    arguments = command.partition("argv[]=")[2].partition(" ;")[0].partition(" ")[2]
    if not arguments:
        raise UnitError(f"systemd has no unit {unit} that starts OpenVPN")
    return f"[Service]\nExecStart=\nExecStart={binary.resolve()} {arguments}\n"


def _systemctl(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["systemctl", *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnitError(f"systemctl {arguments[0]}: {error}") from None
    if done.returncode:
        raise UnitError(f"systemctl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
