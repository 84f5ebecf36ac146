"""Every metric: its name, its labels and what it says. docs/metrics.md is made from this.

Decides names, and where a plain figure is read. Ours begin with ``ovpnha_``; OpenVPN's own figures
have the names that its exporters have always used, so that present dashboards keep working. No
client's name, address or id is ever a label of ours; of OpenVPN's only with ``client_metrics``.
"""

from __future__ import annotations

from ovpnha.model import Role, Sync
from ovpnha.runtime.definition import CLIENT, OTHER, Definition, I

TABLE = (
    Definition("gauge", "ovpnha_build_info", "1; the versions.", (*I, "version", "openvpn")),
    Definition("gauge", "ovpnha_uptime_seconds", "Age of this sidecar."),
    Definition("gauge", "ovpnha_alone", "1 on a server that has no other node (`alone`)."),
    Definition("gauge", "ovpnha_role", "1 for the role that the instance has.", (*I, "role")),
    Definition("gauge", "ovpnha_sync", "As standby: 1 for how complete its copy is.", (*I, "sync")),
    Definition(
        "gauge",
        "ovpnha_epoch",
        "Counter of the epoch, raised at every promotion.",
        I,
        of=lambda one: one.epoch.counter,
    ),
    Definition(
        "gauge",
        "ovpnha_grade",
        "The number for the VIP manager.",
        I,
        of=lambda one: one.announcer.grade,
    ),
    Definition("gauge", "ovpnha_grade_info", "1; why the grade is what it is.", (*I, "reason")),
    Definition(
        "gauge",
        "ovpnha_seamless",
        "Whether clients survive a failover.",
        I,
        of=lambda one: one.discovery.seamless,
    ),
    Definition(
        *("gauge", "ovpnha_meant_stock", "1 where `seamless = false`: meant to lack the patch.", I),
        of=lambda one: one.discovery.meant_stock,
    ),
    Definition(
        "gauge", "ovpnha_leases", "Known, without the patch.", I, of=lambda s: s.stock.leases
    ),
    Definition(
        "gauge", "ovpnha_vip_present", "Whether this node has the VIP.", I, of=lambda one: one.vip
    ),
    Definition(
        "gauge",
        "ovpnha_vip_manager",
        "0 when no VIP manager reads the grade.",
        I,
        of=lambda one: one.announcer.managed,
    ),
    Definition(
        "gauge",
        "ovpnha_check_failed",
        "1 when a check of the service has failed.",
        (*I, "check", "critical"),
    ),
    Definition(
        "gauge",
        "ovpnha_check_timestamp_seconds",
        "When a check of the service last had a result; a resting one keeps the last.",
        (*I, "check"),
    ),
    Definition(
        "gauge",
        "ovpnha_openvpn_up",
        "Whether OpenVPN's management channel is up.",
        I,
        of=lambda one: one.openvpn.management_up,
    ),
    Definition(
        "gauge",
        "ovpnha_spare_ready",
        "With `spare`: whether the process that does not serve could go on with every client.",
        (*I, "policy"),
    ),
    Definition(
        "counter",
        "ovpnha_spare_restarts",
        "With `spare`: planned moves to the other process that were carried out.",
        I,
        of=lambda one: one.spare.restarts if one.spare is not None else None,
    ),
    Definition(
        "counter",
        "ovpnha_spare_crashes",
        "With `spare`: moves to the other process because the one that served had died.",
        I,
        of=lambda one: one.spare.crashes if one.spare is not None else None,
    ),
    Definition(
        "gauge",
        "ovpnha_clients",
        "Clients that this node's OpenVPN has.",
        I,
        of=lambda one: one.clients,
    ),
    Definition(
        "gauge",
        "ovpnha_protected_clients",
        "As master: clients that are current on at least one other node.",
        I,
        of=lambda one: one.exporter.protected,
    ),
    Definition(
        "gauge",
        "ovpnha_apart_clients",
        "As master: clients at an address of this node that does not move; no other node has them.",
        I,
        of=lambda one: one.apart.apart,
    ),
    Definition(
        "gauge",
        "ovpnha_oldest_unprotected_seconds",
        "As master: for how long the oldest unprotected client has been so.",
        I,
        of=lambda one: one.exporter.oldest_unprotected,
    ),
    Definition(
        "gauge",
        "ovpnha_replicated_records",
        "As standby: clients imported at the generation heard.",
        I,
        of=lambda one: one.importer.records,
    ),
    Definition(
        "gauge",
        "ovpnha_stale_records",
        "As standby: clients heard of that are not held at their generation.",
        I,
        of=lambda one: one.importer.stale,
    ),
    Definition(
        "gauge",
        "ovpnha_lacking_clients",
        "As master: clients that another node had at the promotion and this one had not.",
        I,
        of=lambda one: one.own.lacking,
    ),
    Definition(
        "gauge",
        "ovpnha_refused_records",
        "As standby: clients of the master that OpenVPN has refused for 5 s or longer.",
        I,
        of=lambda one: one.importer.refused,
    ),
    Definition(
        "gauge",
        "ovpnha_rekey_pending_clients",
        "As master: clients from another node that are yet to be renegotiated.",
        I,
        of=lambda one: one.rekey.pending,
    ),
    Definition(
        "gauge",
        "ovpnha_rekey_done_clients",
        "As master: clients renegotiated since the last promotion.",
        I,
        of=lambda one: one.rekey.done,
    ),
    Definition(
        "gauge",
        "ovpnha_rekey_left_clients",
        "As master: clients from another node that keep their key, by policy.",
        I,
        of=lambda one: one.rekey.left,
    ),
    Definition(
        "counter", "ovpnha_promotions", "Promotions.", I, of=lambda one: one.promotion.promotions
    ),
    Definition(
        "gauge",
        "ovpnha_last_promotion_timestamp_seconds",
        "When the last promotion was, since 1970; absent when there was none.",
        I,
    ),
    Definition(
        "gauge",
        "ovpnha_last_promotion_phase_seconds",
        "The last promotion: from the event that caused it to the end of a phase.",
        (*I, "phase"),
    ),
    Definition(
        "gauge",
        "ovpnha_packet_id_room_lowest",
        "As master: the fewest packet ids that the newest key of any client has left; absent "
        "without clients.",
        I,
        of=lambda one: one.traffic.room,
    ),
    Definition(
        "histogram",
        "ovpnha_promotion_seconds",
        "From the event that caused a promotion to the end of a phase: ordered, promoted (OpenVPN "
        "serves), listed, published (all clients offered to the standbys).",
        (*I, "phase"),
    ),
    Definition(
        "histogram",
        "ovpnha_protect_seconds",
        "From the connection of a client, or its pending key, to its import by another node.",
        I,
    ),
    Definition("counter", "ovpnha_events", "What happened in an instance.", (*I, "kind")),
    Definition(
        "gauge",
        "ovpnha_node_heard",
        "Whether another node is heard and believed.",
        OTHER,
        of_node=lambda node: node.believed,
    ),
    Definition(
        "gauge",
        "ovpnha_node_hello_age_seconds",
        "Age of another node's last hello.",
        OTHER,
        of_node=lambda node: node.age,
    ),
    Definition(
        "gauge",
        "ovpnha_node_master",
        "Whether another node says it is master.",
        OTHER,
        of_node=lambda node: node.believed and node.role is Role.MASTER,
    ),
    Definition(
        "gauge",
        "ovpnha_node_in_sync",
        "Whether another node says it is in sync.",
        OTHER,
        of_node=lambda node: node.believed and node.sync is Sync.IN_SYNC,
    ),
    Definition(
        "gauge",
        "ovpnha_paused_seconds",
        "Seconds that a pause of this node lasts still; 0 when it acts.",
        I,
        of=lambda one: one.pause.paused_for,
    ),
    Definition(
        "gauge",
        "ovpnha_fence_waits",
        "1 while this node is not promoted because a required fence has not succeeded.",
        I,
        of=lambda one: one.fence.fence_waits,
    ),
    Definition(
        "gauge",
        "ovpnha_fence_failures",
        "Tries in a row that did not fence a silent master; 0 when none is to be fenced.",
        I,
        of=lambda one: one.fence.fence_failures,
    ),
    Definition(
        "gauge",
        "ovpnha_node_vip_manager",
        "0 while another node tells that no VIP manager reads its grade.",
        OTHER,
        of_node=lambda node: node.managed,
    ),
    Definition(
        "gauge",
        "ovpnha_node_differs",
        "1 while another node must not replicate with this one, or has this one's name.",
        OTHER,
        of_node=lambda node: bool(node.problem),
    ),
    Definition(
        "gauge",
        "ovpnha_node_round_trip_seconds",
        "BCN round trip to another node and back, the best of the last eight.",
        OTHER,
        of_node=lambda node: node.round_trip,
    ),
    Definition(
        "gauge",
        "ovpnha_node_clock_offset_seconds",
        "How far another node's clock is ahead of this one's.",
        OTHER,
        of_node=lambda node: node.clock_offset,
    ),
    Definition("gauge", "ovpnha_link_up", "Whether a BCN link is up.", ("link",)),
    Definition("counter", "ovpnha_datagrams_received", "Datagrams received.", ("kind",)),
    Definition("counter", "ovpnha_datagrams_sent", "Datagrams sent.", ("kind",)),
    Definition("counter", "ovpnha_datagrams_refused", "Datagrams refused.", ("reason",)),
    Definition(
        "counter", "ovpnha_datagrams_unsent", "Datagrams that could not be sent.", ("reason",)
    ),
    Definition("counter", "ovpnha_bytes_received", "Bytes of datagrams received.", ("kind",)),
    Definition("counter", "ovpnha_bytes_sent", "Bytes of datagrams sent.", ("kind",)),
    Definition("counter", "ovpnha_resyncs", "Times that a whole table was asked for."),
    Definition(
        "counter", "ovpnha_nacks", "Times that entries were asked for again that were lost."
    ),
    Definition(
        "counter",
        "ovpnha_repaired",
        "Entries sent again: what was lost, and whole tables to who asked for one.",
    ),
    Definition(
        "counter",
        "ovpnha_digest_mismatches",
        "Parts of the table (of 128) in which a digest showed a difference to the master's.",
    ),
    Definition(
        "counter",
        "ovpnha_oversized_records",
        "Records beyond the limits of the wire: such a client stays unprotected.",
    ),
    Definition(
        "gauge",
        "ovpnha_conntrack_up",
        "Whether conntrackd does its part; this and the next ones only with `[conntrack] manager`.",
    ),
    Definition(
        "gauge",
        "ovpnha_conntrack_told_entries",
        "Connections that this node tells the others; 0 on a standby.",
    ),
    Definition(
        "gauge",
        "ovpnha_conntrack_kernel_entries",
        "All connections that this host's kernel knows; on a standby nearly all are the master's.",
    ),
    Definition(
        "counter",
        "ovpnha_conntrack_injected",
        "Entries of another node that conntrackd has put into this kernel.",
        ("kind",),
    ),
    Definition(
        "counter",
        "ovpnha_conntrack_errors",
        "What the kernel refused of them (created, updated, destroyed), messages lost or "
        "malformed, and orders that conntrackd did not take.",
        ("kind",),
    ),
    Definition("counter", "ovpnha_conntrack_orders", "Orders to conntrackd.", ("kind",)),
    Definition(
        "gauge",
        "ovpnha_conntrack_order_seconds",
        "How long conntrackd took for the last order of its kind.",
        ("kind",),
    ),
    Definition(
        "gauge",
        "ovpnha_firewall_set",
        "Whether the table and the tunable of `[firewall] manage` are set; only with it.",
    ),
    Definition(
        "gauge",
        "ovpnha_openvpn_source_outdated",
        "1 when the patched OpenVPN's package is built on an older source than Debian's that is"
        " installed or in apt's lists; looked at every hour, and absent where nobody can tell.",
    ),
    Definition(
        "gauge",
        "openvpn_up",
        "Whether OpenVPN answers.",
        I,
        of=lambda one: one.openvpn.management_up,
    ),
    Definition(
        "gauge",
        "openvpn_server_connected_clients",
        "Clients connected to OpenVPN.",
        I,
        of=lambda one: one.clients,
    ),
    Definition(
        "counter", "openvpn_server_received_bytes", "Bytes that OpenVPN received from clients.", I
    ),
    Definition("counter", "openvpn_server_sent_bytes", "Bytes that OpenVPN sent to clients.", I),
    Definition(
        "gauge",
        "openvpn_status_update_time_seconds",
        "When OpenVPN last told its figures, since 1970.",
        I,
    ),
    Definition(
        "counter",
        "openvpn_server_client_received_bytes",
        "Bytes that OpenVPN received from a client; only with `client_metrics`.",
        CLIENT,
    ),
    Definition(
        "counter",
        "openvpn_server_client_sent_bytes",
        "Bytes that OpenVPN sent to a client; only with `client_metrics`.",
        CLIENT,
    ),
)

DEFINITIONS = {one.name: one for one in TABLE}
