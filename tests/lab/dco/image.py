"""A kernel and an initramfs for a client whose data channel is in the kernel.

Everything in it comes from one newer Debian suite: kernel, modules, OpenVPN with its libraries,
``ip`` and busybox. Nothing is installed; the packages are unpacked into a tree and the programs
that make the image run there. The result is kept in ``build/dco`` until that is removed.
"""

from __future__ import annotations

import fcntl
import lzma
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.lab.dco import suite
from tests.lab.errors import LabError

PACKAGES = ("linux-image-cloud-amd64", "openvpn", "iproute2", "busybox-static", "kmod", "liblzma5")
"""kmod opens the last one by itself, to read modules that are packed."""

PROGRAMS = ("usr/sbin/openvpn", "usr/bin/ip")
BUSYBOX = "usr/bin/busybox"
MODULES = ("virtio_pci", "virtio_net", "tun", "ovpn", "gcm", "ctr", "aesni_intel")
"""``ovpn`` needs the last three for its ciphers and does not ask for them."""

OLDEST_KERNEL, OLDEST_OPENVPN = (6, 16), (2, 7)
MERGED = ("bin", "lib", "lib64", "sbin")
INIT = Path(__file__).with_name("init.sh")


@dataclass(frozen=True)
class Image:
    """What a machine boots, and which versions are in it."""

    kernel: Path
    initrd: Path
    busybox: Path
    versions: str


def ready_image(directory: Path) -> Image:
    """The image below ``directory``, made first if it is not there or was made by other code."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = directory / "stamp"
        made_by = sha256(b"".join(file.read_bytes() for file in _sources())).hexdigest()
        if not stamp.exists() or stamp.read_text() != made_by:
            stamp.unlink(missing_ok=True)
            _make(directory)
            stamp.write_text(made_by)
        return Image(
            directory / "vmlinuz",
            directory / "initrd",
            directory / "busybox",
            (directory / "versions").read_text(),
        )


def _sources() -> tuple[Path, ...]:
    return Path(__file__), Path(suite.__file__), INIT


def _make(directory: Path) -> None:
    apt, root, stage = (directory / name for name in ("apt", "root", "stage"))
    for old in (apt, root, stage):
        shutil.rmtree(old, ignore_errors=True)
    _unpack(suite.download(apt, PACKAGES), root)
    kernel = _kernel_of(root)
    versions = f"kernel {kernel}, OpenVPN {_openvpn_of(apt)}"
    _make_tree(stage)
    _add_modules(root, kernel, stage / "modules")
    _add_programs(root, stage)
    shutil.copy(INIT, stage / "init")
    (stage / "init").chmod(0o755)
    shutil.copy(_kernel_file(root), directory / "vmlinuz")
    shutil.copy(root / BUSYBOX, directory / "busybox")
    pack(stage, directory / "initrd", directory / "busybox")
    (directory / "versions").write_text(versions)
    for done in (apt, root, stage):
        shutil.rmtree(done)


def _unpack(packages: list[Path], root: Path) -> None:
    _make_tree(root)
    for package in packages:
        subprocess.run(["dpkg", "--extract", package, root], check=True)


def _make_tree(root: Path) -> None:
    """An empty tree whose ``/bin`` and its like lead into ``/usr``, as Debian's do."""
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")


def _kernel_of(root: Path) -> str:
    found = sorted(path.name for path in (root / "usr/lib/modules").glob("*"))
    if len(found) != 1:
        raise LabError(f"Debian {suite.SUITE} gave kernels {found}, expected one: report this")
    if _number(found[0]) < OLDEST_KERNEL:
        raise LabError(f"Debian {suite.SUITE} has kernel {found[0]}; ovpn needs 6.16 or later")
    return found[0]


def _kernel_file(root: Path) -> Path:
    for place in ("usr/lib/modules/*/vmlinuz", "boot/vmlinuz-*"):
        if found := list(root.glob(place)):
            return found[0]
    raise LabError(f"the kernel package of Debian {suite.SUITE} has no vmlinuz: report this")


def _openvpn_of(apt: Path) -> str:
    name = next((apt / "cache/archives").glob("openvpn_*.deb")).name
    version = name.split("_")[1]
    if _number(version) < OLDEST_OPENVPN:
        raise LabError(f"Debian {suite.SUITE} has OpenVPN {version}; ovpn needs 2.7 or later")
    return version


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _run_in(root: Path, *argv: str) -> str:
    done = subprocess.run(
        ["chroot", root, *argv], capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise LabError(f"{argv[0]} of Debian {suite.SUITE}: {done.stderr.strip() or done.stdout}")
    return done.stdout


def _add_modules(root: Path, kernel: str, target: Path) -> None:
    """Every module that is needed, by the number of its turn, as plain as insmod wants it."""
    _run_in(root, "depmod", kernel)
    target.mkdir()
    paths: dict[str, None] = {}
    for module in MODULES:
        shown = _run_in(root, "modprobe", "--set-version", kernel, "--show-depends", module)
        paths |= dict.fromkeys(re.findall(r"^insmod (\S+)", shown, re.MULTILINE))
    for turn, path in enumerate(paths):
        data = (root / path.lstrip("/")).read_bytes()
        data = lzma.decompress(data) if path.endswith(".xz") else data
        if not data.startswith(b"\x7fELF"):
            raise LabError(f"{path} of kernel {kernel} is packed in a way that image.py lacks")
        (target / f"{turn:02}-{Path(path).name.partition('.')[0]}.ko").write_bytes(data)


def _add_programs(root: Path, stage: Path) -> None:
    for name in ("dev", "proc", "sys", "run", "tmp", "etc", "lab"):
        (stage / name).mkdir()
    shutil.copy(root / BUSYBOX, stage / BUSYBOX)
    for program in PROGRAMS:
        for path in (program, *_libraries(root, program)):
            target = stage / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, target)


def _libraries(root: Path, program: str) -> Iterator[str]:
    """The libraries of a program, its loader among them, as paths from the root."""
    shown = _run_in(root, "/lib64/ld-linux-x86-64.so.2", "--list", f"/{program}")
    for path in re.findall(r"(/\S+) \(0x", shown):
        real = path.lstrip("/")
        yield real if real.startswith("usr/") else f"usr/{real}"


def pack(stage: Path, target: Path, busybox: Path) -> None:
    """A directory as an initramfs."""
    names = sorted(str(path.relative_to(stage)) for path in stage.rglob("*"))
    with target.open("wb") as archive:
        subprocess.run(
            [busybox, "cpio", "-o", "-H", "newc"],
            input="\n".join([*names, ""]).encode(),
            stdout=archive,
            stderr=subprocess.DEVNULL,
            cwd=stage,
            check=True,
        )
