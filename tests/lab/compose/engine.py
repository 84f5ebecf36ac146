"""The container engine: docker compose for one project, and what is asked of docker itself.

Works with the Compose plugin and with docker-compose 1.29. Commands run in sessions of their own,
so that Ctrl-C reaches only the demo, which then takes everything down in order.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.lab.errors import LabError

ROOT = Path(__file__).parents[3]
FILES = (ROOT / "docker-compose.yml", ROOT / "deploy/docker/host.yml")
PROJECT = "ovpnha-demo"
LABEL = "com.docker.compose.project"
COMMAND_SECONDS = 120.0
BUILD_SECONDS = 900.0


def run(
    *command: str | Path,
    seconds: float = COMMAND_SECONDS,
    environment: dict[str, str] | None = None,
) -> str:
    """Run a command to its end and give what it printed; LabError with its last lines if it fails.

    docker-compose shows its progress on the standard error output: it is kept for a failure.
    """
    try:
        done = subprocess.run(
            list(map(str, command)),
            cwd=ROOT,
            env=dict(os.environ) | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"not within {seconds:g} s: {' '.join(map(str, command))}") from None
    if done.returncode:
        tail = (done.stdout + done.stderr).splitlines()[-20:]
        raise LabError("\n".join([f"{' '.join(map(str, command))} failed:", *tail]))
    return done.stdout


def docker(*arguments: str) -> str:
    """A command of docker."""
    return run("docker", *arguments)


def check_engine() -> None:
    """Raise LabError when there is no engine on this machine that we can use."""
    if shutil.which("docker") is None:
        raise LabError("docker is not installed; install the docker engine and docker compose")
    try:
        docker("info", "--format", "{{.ServerVersion}}")
    except LabError as error:
        raise LabError(f"the docker engine does not answer; start it first\n{error}") from None


def compose_program() -> list[str]:
    """The Compose plugin, else docker-compose."""
    try:
        docker("compose", "version")
    except LabError:
        if shutil.which("docker-compose") is None:
            raise LabError("neither `docker compose` nor docker-compose is installed") from None
        return ["docker-compose"]
    return ["docker", "compose"]


class Compose:
    """The lab of docker-compose.yml as a project of its own, built from this host's sources."""

    def __init__(self) -> None:
        files = [argument for file in FILES for argument in ("--file", str(file))]
        self._command = [*compose_program(), "--project-name", PROJECT, *files]
        # Any free port: nobody's Prometheus shall be in the way.
        self._environment = {"OVPNHA_PROMETHEUS_PORT": "0"}
        if list((ROOT / "build/openvpn").glob("openvpn-cluster_*.deb")):
            self._environment["OVPNHA_OPENVPN_FROM"] = "package"

    def build(self) -> None:
        """Build all images; quick when nothing has changed."""
        run(ROOT / "deploy/docker/local-base.sh", seconds=BUILD_SECONDS)
        self._run("build", "node-a", "client", "prometheus", seconds=BUILD_SECONDS)

    def up(self) -> None:
        """Bring everything up; returns before it serves."""
        self._run("up", "--detach", "--no-build")

    def down(self) -> None:
        """Take everything away: containers, networks and volumes."""
        self._run("down", "--volumes", "--remove-orphans", "--timeout", "1")

    def container(self, service: str) -> str:
        """The id of a service's container."""
        found = self._run("ps", "--quiet", service).split()
        if len(found) != 1:
            raise LabError(f"{service}: {len(found)} containers instead of one")
        return found[0]

    def published(self, service: str, port: int) -> str:
        """Address and port of this host that lead to a service's port."""
        return self._run("port", service, str(port)).strip()

    def logs(self) -> str:
        """What every container has said."""
        return self._run("logs", "--no-color", "--timestamps")

    def _run(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
        return run(*self._command, *arguments, seconds=seconds, environment=self._environment)


def inspect(container: str) -> dict[str, Any]:
    """What docker knows about a container."""
    return dict(json.loads(docker("inspect", container))[0])


def leftovers(project: str = PROJECT) -> list[str]:
    """Containers, networks and volumes of a project that are there."""
    label = f"label={LABEL}={project}"
    commands = (
        ("container", "ls", "--all", "--format", "{{.Names}}"),
        ("network", "ls", "--format", "{{.Name}}"),
        ("volume", "ls", "--format", "{{.Name}}"),
    )
    return [n for command in commands for n in docker(*command, "--filter", label).split()]
