"""What is measured, one figure or a few at a time, on a running cluster."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.capture import Sample
from tests.bench.cluster import UDP, Cluster, Node, Openvpn
from tests.bench.junk import Junk
from tests.lab.errors import LabError

POLL = 0.1
SYNC_SECONDS = 180.0
STEADY_SECONDS = 10.0
FRESH_CLIENTS = 200
SINGLE_CLIENTS = 200
SINGLE_EVERY = 0.025
LOST_ONE_IN = 100
JUNK_SECONDS = 8.0
PLACE = 'name = "udp"'
CLIENT_METRIC = b"openvpn_server_client_received_bytes_total{"

Figures = dict[str, float]
Say = Callable[[str], None]


def poll(condition: Callable[[], bool], what: str, seconds: float = SYNC_SECONDS) -> None:
    """Look now and then; each look costs the cluster something."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"not within {seconds:g} s: {what}")
        time.sleep(POLL)


@dataclass(frozen=True)
class Usage:
    """CPU seconds of a sidecar and BCN bytes it has sent, at a time."""

    at: float
    cpu: float
    sent: int

    @classmethod
    def of(cls, node: Node) -> Usage:
        """Now."""
        return cls(time.monotonic(), node.cpu_seconds(), sum(node.status()["bytes_sent"].values()))


def measure_steady(nodes: Mapping[str, Node]) -> Figures:
    """CPU and memory of sidecars, by name, and what the master sends, over a while."""
    before = {name: Usage.of(node) for name, node in nodes.items()}
    time.sleep(STEADY_SECONDS)
    figures: Figures = {}
    for name, node in nodes.items():
        after = Usage.of(node)
        seconds = after.at - before[name].at
        figures[f"cpu_core_share_{name}"] = (after.cpu - before[name].cpu) / seconds
        figures[f"rss_mb_{name}"] = node.memory_mb()
        if name == "master":
            figures["bcn_bytes_per_s"] = (after.sent - before[name].sent) / seconds
    return figures


def measure_protect(openvpn: Openvpn) -> list[float]:
    """Milliseconds from connect to protected, of clients that connect one after the other."""
    openvpn.order("forget")
    openvpn.order("connect", count=SINGLE_CLIENTS, every=SINGLE_EVERY)
    poll(lambda: not openvpn.order("look")["unprotected"], "they are protected")
    return [1000 * lag for lag in openvpn.order("look")["lags"]]


def describe_protect(lags: list[float]) -> Figures:
    """The middle and the worst of them."""
    return {
        "protect_ms_p50": statistics.median(lags),
        "protect_ms_p99": statistics.quantiles(lags, n=100)[98],
    }


class Benchmark:
    """The figures of one cluster."""

    def __init__(self, cluster: Cluster, samples: list[Sample], clients: int, say: Say) -> None:
        self._cluster = cluster
        self._samples = samples
        self._clients = clients
        self._say = say
        self._master, self._standby = cluster.nodes["a"], cluster.nodes["b"]
        self.figures: Figures = {"clients": clients}

    def start_master(self) -> None:
        """A master with all clients and nobody who follows it."""
        self._say(f"starting a master with {self._clients} clients")
        self._master.start_openvpn(self._samples, 1, self._clients)
        self._master.sidecar.start()
        self._cluster.wait("a", "role", "master")
        poll(lambda: self._exports() >= self._clients, "all are exported")

    def _exports(self) -> int:
        return int(self._master.instance().get("counters", {}).get("exports", 0))

    def measure_resync(self) -> None:
        """A standby joins whose OpenVPN has nothing: until all is imported and acknowledged."""
        self._say("full resync: a standby joins")
        before = self._master.cpu_seconds()
        self.figures["full_resync_s"] = self._resync()
        self.figures["full_resync_cpu_s_master"] = self._master.cpu_seconds() - before
        self.figures["full_resync_cpu_s_standby"] = self._standby.cpu_seconds()
        self._cluster.wait("a", "protected", self._total())
        self._say("full resync: the standby's sidecar restarts, its OpenVPN does not")
        self._standby.sidecar.stop()
        self._standby.sidecar.start()
        begin = time.monotonic()
        self._cluster.wait("b", "sync", "in_sync")
        connected = self._ask(self._standby)["connected_at"]
        self.figures["sidecar_restart_resync_s"] = time.monotonic() - connected
        self.figures["sidecar_start_s"] = connected - begin

    def measure_repair(self) -> None:
        """The same with one datagram in a hundred lost in both directions."""
        self._say("full resync again, one datagram in a hundred is lost")
        self._standby.sidecar.stop()
        for name in ("a", "b"):
            self._cluster.drop_one_in(name, LOST_ONE_IN)
        self.figures["repair_1pct_s"] = self._resync()
        for name in ("a", "b"):
            self._cluster.drop_one_in(name, 0)
        self._cluster.wait("a", "protected", self._total())

    def _resync(self) -> float:
        self._order(self._master, "forget")
        self._standby.start_openvpn(self._samples, 2, 0)
        self._standby.sidecar.start()
        total = self._total()
        poll(lambda: self._ask(self._standby)["copies"] >= total, "all clients are imported")
        poll(lambda: self._ask(self._master)["stored"] >= total, "all are acknowledged")
        standby, master = self._ask(self._standby), self._ask(self._master)
        end = max(standby["last_import"], master["last_stored"])
        return float(end - standby["connected_at"])

    def measure_fresh(self) -> None:
        """Bytes on the wire for a client that connects, beyond those without one."""
        self._say("bytes of a fresh client")
        idle = self._rate(2.0)
        before = Usage.of(self._master)
        self._order(self._master, "forget")
        self._order(self._master, "connect", count=FRESH_CLIENTS, every=0.0005)
        poll(lambda: self._ask(self._master)["stored"] >= FRESH_CLIENTS, "they are protected")
        after = Usage.of(self._master)
        spent = after.sent - before.sent - idle * (after.at - before.at)
        self.figures["bytes_per_client"] = spent / FRESH_CLIENTS

    def _rate(self, seconds: float) -> float:
        before = Usage.of(self._master)
        time.sleep(seconds)
        after = Usage.of(self._master)
        return (after.sent - before.sent) / (after.at - before.at)

    def measure_steady(self) -> None:
        """Every client's counters change once a second; then single clients connect too."""
        self._say(f"steady state for {STEADY_SECONDS:g} s")
        singles = SINGLE_CLIENTS * SINGLE_EVERY * 4
        self._order(self._master, "counters", seconds=int(STEADY_SECONDS + singles) + 4)
        time.sleep(2.0)
        self.figures |= measure_steady({"master": self._master, "standby": self._standby})
        self._say("connect to protected, in steady state")
        self.figures |= describe_protect(measure_protect(self._master.openvpns[UDP]))

    def measure_scrapes(self) -> None:
        """What Prometheus waits for, and what replication waits meanwhile.

        First without, then with the metrics of each client, one scrape after the other.
        """
        self._say("scrapes")
        self._scrape("scrape")
        config = self._cluster.directory / "ovpnha.toml"
        text = config.read_text()
        config.write_text(text.replace(PLACE, f'{PLACE}\nclient_metrics = "hashes"'))
        self._say("scrapes with the metrics of each client: the master's sidecar restarts")
        self._master.sidecar.stop()
        self._master.sidecar.start()
        self._cluster.wait("a", "protected", self._total())
        poll(lambda: CLIENT_METRIC in self._master.scrape()[1], "each client is told")
        self._scrape("scrape_clients")
        config.write_text(text)

    def _scrape(self, name: str) -> None:
        self._order(self._master, "forget")
        self._order(self._master, "start", count=SINGLE_CLIENTS, every=SINGLE_EVERY)
        times = []
        while self._ask(self._master)["starting"]:
            seconds, page = self._master.scrape()
            times.append(1000 * seconds)
            self.figures[f"{name}_bytes"] = len(page)
        poll(lambda: not self._ask(self._master)["unprotected"], "they are protected")
        lags = [1000 * lag for lag in self._ask(self._master)["lags"]]
        self.figures[f"{name}_ms_p50"] = statistics.median(times)
        self.figures[f"{name}_ms_max"] = max(times)
        self.figures[f"{name}_protect_ms_p50"] = statistics.median(lags)
        self.figures[f"{name}_protect_ms_p99"] = statistics.quantiles(lags, n=100)[98]

    def measure_junk(self, kinds: dict[str, bytes]) -> dict[str, Figures]:
        """Datagrams without a key, as many as possible, while clients connect."""
        found: dict[str, Figures] = {}
        for name, head in kinds.items():
            self._say(f"junk: {name}")
            before = self._standby.status()
            usage = Usage.of(self._standby)
            with Junk(self._cluster, self._master.namespace, head, JUNK_SECONDS) as junk:
                time.sleep(1.0)
                lags = measure_protect(self._master.openvpns[UDP])
                sent, seconds = junk.finish()
            spent = Usage.of(self._standby)
            after = self._standby.status()
            refused = sum(after["refused"].values()) - sum(before["refused"].values())
            found[name] = {
                "sent_per_s": sent / seconds,
                "refused_per_s": refused / seconds,
                "drop_rate": max(0.0, 1.0 - refused / sent),
                "cpu_core_share_standby": (spent.cpu - usage.cpu) / (spent.at - usage.at),
                **describe_protect(lags),
                "acknowledged": len(lags),
            }
        return found

    def _total(self) -> int:
        return int(self._ask(self._master)["clients"])

    def _ask(self, node: Node) -> dict[str, Any]:
        return self._order(node, "look")

    @staticmethod
    def _order(node: Node, do: str, **fields: object) -> dict[str, Any]:
        return node.openvpns[UDP].order(do, **fields)
