"""The kinds of ``ovpnha_events``, and what each counts. docs/metrics.md is made from this."""

from __future__ import annotations

EVENTS = {
    "capped": "packets that OpenVPN dropped because no owned packet id was left",
    "commands_refused": "commands that OpenVPN refused",
    "events_late": "events that came too late to matter",
    "exports": "records read out of OpenVPN",
    "exports_refused": "clients that OpenVPN would not export",
    "imports": "records put into OpenVPN",
    "imports_refused": "records that OpenVPN refused",
    "management_errors": "times that the management channel broke its contract",
    "name_conflicts": "times that another machine was heard with the name of one that is here",
    "leases_refused": "leases of an OpenVPN without the patch that were none",
    "orders_refused": "orders about its role that OpenVPN refused",
    "rejected": "records that a standby refused",
    "released_by_ack": "new clients and new keys that went on because a standby had them",
    "released_by_deadline": "new clients and new keys that went on although no standby had them "
    "in time",
    "renegotiations_heard": "renegotiations that the master has announced",
    "stale_ranges": "packet ids granted to a node that cannot use them any more",
    "switchovers": "switchovers that this node has carried out as master",
    "switchovers_failed": "switchovers that it called off",
    "told_to_reconnect": "words to clients whose newest keys went with another node",
    "two_masters": "times that another master was heard that has the VIP too",
    "updates_dropped": "counters not passed on because OpenVPN was slow",
    "updates_unknown": "counters of clients that OpenVPN does not have",
    "waits_in_vain": "new clients and new keys that OpenVPN let go on by itself",
    "waits_lapsed": "times that OpenVPN found its sidecar silent, and let nobody wait for it",
    "withdrawn": "clients that left",
}
