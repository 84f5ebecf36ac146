"""Note every address that comes or goes in the nodes' namespaces, as netlink tells it.

usage: vipwatch.py EVENTS NAMESPACE...

Events are JSON lines: ``time`` (nanoseconds), ``namespace``, ``present``, ``address``. The first
line of a namespace has no address: from then on nothing is missed there.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.rtnl import RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

_GROUPS = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR


async def watch(namespace: str, events: int) -> None:
    """Follow one namespace for ever."""
    async with AsyncIPRoute(netns=namespace) as route:
        await route.bind(groups=_GROUPS)
        note(events, namespace, present=True, address="")
        while True:
            async for message in route.get():
                if message["event"] in ("RTM_NEWADDR", "RTM_DELADDR"):
                    present = message["event"] == "RTM_NEWADDR"
                    note(events, namespace, present=present, address=message.get("address"))


def note(events: int, namespace: str, *, present: bool, address: str) -> None:
    """Append one event, stamped now."""
    event = {
        "time": time.monotonic_ns(),
        "namespace": namespace,
        "present": present,
        "address": address,
    }
    os.write(events, json.dumps(event).encode() + b"\n")


async def main() -> None:
    """Watch the namespaces of the command line until killed."""
    path, *namespaces = sys.argv[1:]
    events = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    async with asyncio.TaskGroup() as group:
        for namespace in namespaces:
            group.create_task(watch(namespace, events))


if __name__ == "__main__":
    asyncio.run(main())
