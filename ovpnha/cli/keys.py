"""``ovpnha keygen``: a cluster key, and the steps of its rotation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovpnha.cli.common import ANSWER_TIMEOUT, ConfigOption, NodeOption
from ovpnha.config import DEFAULT_PATH, load_config
from ovpnha.errors import ConfigError, OvpnhaError
from ovpnha.runtime.control import ControlError, StatusRequest, ask
from ovpnha.runtime.keyfile import add_key, create_key_file, read_keys

FORCE = "; to do it all the same, --force: nodes that differ then do not hear each other"


def keygen(
    file: Annotated[Path, typer.Argument(help="The key file, e.g. /etc/ovpnha/cluster.key.")],
    add: Annotated[
        bool, typer.Option("--add", help="Append a fresh key to an existing file, to rotate.")
    ] = False,
    use_newest: Annotated[
        bool, typer.Option("--use-newest", help="Let the last key seal, when all nodes have it.")
    ] = False,
    drop_old: Annotated[
        bool,
        typer.Option(
            "--drop-old", help="Keep only the key that seals, when it does so everywhere."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Do not ask whether the other nodes are ready.")
    ] = False,
    config: ConfigOption = DEFAULT_PATH,
    node: NodeOption = None,
) -> None:
    """Make a cluster key, mode 0600; an existing file is not overwritten.

    Copy the file to all nodes over a secure channel: anybody who has it can pose as any node.

    To rotate without an outage: `--add` on one node, copy the file to all nodes and reload their
    sidecars (every node now opens with the new key); `--use-newest` on every node, and reload
    (every node now seals with it); `--drop-old` on every node, and reload. Each of the last two is
    refused while another node is not ready for it, as far as the sidecar here knows. To reload:
    `systemctl reload ovpnha`, or SIGHUP. `ovpnha nodes` shows the keys of all nodes by their
    numbers.
    """
    if add + use_newest + drop_old > 1:
        raise typer.BadParameter("choose one of --add, --use-newest and --drop-old")
    if use_newest or drop_old:
        if not force:
            _check_nodes(file, config, node, dropping=drop_old)
        typer.echo(_drop(file, force=force) if drop_old else _use(file))
    elif add:
        count = add_key(file)
        typer.echo(f"{file}: has {count} keys now; the first one still seals")
    else:
        create_key_file(file)
        typer.echo(f"{file}: made; copy it to the other nodes over a secure channel")


def _use(file: Path) -> str:
    from ovpnha.runtime.keyrotation import use_newest

    use_newest(file)
    return f"{file}: the newest key seals from the next reload on; now: systemctl reload ovpnha"


def _drop(file: Path, *, force: bool) -> str:
    from ovpnha.runtime.keyrotation import drop_old

    count = drop_old(file, force=force)
    return f"{file}: {count} old key(s) dropped; now: systemctl reload ovpnha"


def _check_nodes(file: Path, config: Path, node: str | None, *, dropping: bool) -> None:
    """Refuse the step while a node is not ready for it, or nobody knows."""
    from ovpnha.runtime.keyrotation import find_objections, name_keys
    from ovpnha.runtime.status import StatusAnswer

    keys = read_keys(file)
    try:
        loaded = load_config(config, node)
        status = ask(loaded.control.socket, StatusRequest(), StatusAnswer, ANSWER_TIMEOUT).status
    except OvpnhaError as error:
        unknown = "whether the other nodes are ready is not known"
        raise ControlError(f"{error}\n{file}: not changed: {unknown}{FORCE}") from None
    if file.resolve() != loaded.cluster.key_file.resolve():
        wanted = loaded.cluster.key_file
        raise ConfigError(f"{file}: {config} names another key file, {wanted}; name that{FORCE}")
    names = name_keys(keys, loaded.cluster.name)
    if objections := list(find_objections(status, names, dropping=dropping)):
        raise ControlError("\n".join([*objections, f"{file}: not changed{FORCE}"]))
