/*
 *  OpenVPN -- An application to securely tunnel IP networks
 *             over a single TCP/UDP port, with support for SSL/TLS-based
 *             session authentication and key exchange,
 *             packet encryption, packet authentication, and
 *             packet compression.
 *
 *  Copyright (C) 2026 the ovpnha authors
 *
 *  This program is free software; you can redistribute it and/or modify
 *  it under the terms of the GNU General Public License version 2
 *  as published by the Free Software Foundation.
 *
 *  This program is distributed in the hope that it will be useful,
 *  but WITHOUT ANY WARRANTY; without even the implied warranty of
 *  MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
 *  GNU General Public License for more details.
 *
 *  You should have received a copy of the GNU General Public License along
 *  with this program; if not, write to the Free Software Foundation, Inc.,
 *  51 Franklin Street, Fifth Floor, Boston, MA 02110-1301 USA.
 */

/**
 * @file cluster_event.c
 * What happens to a client; see cluster_event.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_address.h"
#include "cluster_client.h"
#include "cluster_event.h"
#include "cluster_mac.h"
#include "cluster_rekey.h"
#include "cluster_reset.h"
#include "cluster_state.h"
#include "cluster_last_message.h"
#include "manage.h"
#include "multi.h"
#include "ssl.h"
#include "ssl_pkt.h"

#include "memdbg.h"

bool
cluster_drop_control(struct tls_multi *multi, struct tls_session *session,
                     struct buffer *buf, int op, int key_id)
{
    struct key_state *ks = &session->key[KS_PRIMARY];

    if (multi->opt.cluster && is_hard_reset_method2(op) && !cluster_doubt_is_first(*buf))
    {
        return true;
    }
    cluster_doubt_hear(multi, session);
    if (!cluster_ks_imported(ks) || ks->key_id != key_id)
    {
        if (session == &multi->session[TM_ACTIVE] && op != P_ACK_V1)
        {
            cluster_unknown_control(multi, op, key_id);
        }
        return false;
    }
    if (cluster_last_message_receive(session, ks, buf, op))
    {
        return true;
    }
    if (op != P_ACK_V1 && cluster_ks_pending(ks))
    {
        /* the client is still inside that handshake and takes no other */
        cluster_stuck_control(multi);
    }
    else if (op != P_ACK_V1)
    {
        cluster_spoke(multi);
    }
    return true;
}

bool
cluster_skip_control(struct tls_multi *multi, struct tls_session *session,
                     struct buffer *to_link, struct link_socket_actual **to_link_addr,
                     interval_t *wakeup)
{
    struct key_state *ks = &session->key[KS_PRIMARY];
    const int period = session->opt->renegotiate_seconds;
    const time_t left = ks->established + period - now;

    if (cluster_doubt_ask(multi, session, to_link, to_link_addr))
    {
        return true;
    }
    if (!cluster_ks_imported(ks))
    {
        cluster_wake_initial(multi);
        return false;
    }
    cluster_last_message_send(session, ks, to_link, to_link_addr, wakeup);
    if (period && left < *wakeup)
    {
        /* a pending key may have to wait for longer than that */
        *wakeup = left < 1 ? 1 : (interval_t)left;
    }
    return true;
}

void
cluster_received(struct link_socket_actual *from)
{
    if (cluster)
    {
        cluster_address_route(from);
    }
}

void
cluster_follow(struct tls_multi *multi, struct link_socket_actual *actual,
               const struct link_socket_actual *from)
{
    if (!multi->opt.cluster || !cluster_address_floats(actual, from))
    {
        return;
    }
    msg(D_MULTI_MEDIUM, "CLUSTER: the client speaks to another address of this server");
    actual->pi = from->pi;
    /* of a session that only begins the first packet says it, and nothing older */
    for (int i = 0; i < KEY_SCAN_SIZE; ++i)
    {
        struct key_state *ks = get_key_scan(multi, i);
        /* a late packet under the key before does not move a session that the
         * client has begun anew elsewhere, and sends no data in yet */
        const bool began = !ks->key_id && !ks->crypto_options.packet_id.rec.id;

        if (!began && link_socket_actual_defined(&ks->remote_addr)
            && link_socket_actual_match(&ks->remote_addr, from))
        {
            ks->remote_addr.pi = from->pi;
        }
    }
}

/**
 * A renegotiation that is under way can end with a key no standby has: say so,
 * once for each generation. The one with the new key ends it.
 */
static void
tell_reneg(struct tls_multi *multi, struct cluster_client *cc)
{
    const struct key_state *ks = &multi->session[TM_ACTIVE].key[KS_PRIMARY];

    /* a standby that has the pending key has what the client ends with */
    if (ks->cluster_ks || ks->state < S_INITIAL)
    {
        cc->reneg_told = -1;
    }
    else if (cc->reneg_told != ks->key_id || cc->reneg_generation != cc->generation)
    {
        cc->reneg_told = ks->key_id;
        cc->reneg_generation = cc->generation;
        if (management)
        {
            struct gc_arena gc = gc_new();
            msg(M_CLIENT, ">CLUSTER:RENEG,%s,%d,%" PRIu64, cluster_hex(cc->uid, &gc),
                ks->key_id, cc->generation);
            gc_free(&gc);
        }
    }
}

static const char *
snapshot_difference(const struct cluster_snapshot *a, const struct cluster_snapshot *b)
{
    if (memcmp(a->keys, b->keys, sizeof(a->keys)))
    {
        return "keys";
    }
    if (!mroute_addr_equal(&a->real, &b->real)
        || memcmp(&a->spoken_to, &b->spoken_to, sizeof(a->spoken_to)))
    {
        return "float";
    }
    if (a->token != b->token)
    {
        return "token";
    }
    return a->macs != b->macs ? "macs" : NULL;
}

/**
 * After a hard reset the instance goes on under another session id: for the
 * cluster that is another client.
 */
static void
rename_after_reset(struct multi_instance *mi, struct cluster_client *cc)
{
    const struct tls_session *session = cluster_client_session(mi->context.c2.tls_multi);

    if (cc->announced && session == &mi->context.c2.tls_multi->session[TM_ACTIVE]
        && memcmp(cc->uid, session->session_id.id, CLUSTER_UID_SIZE))
    {
        cluster_client_down(mi);
        cc->generation = 0;
        cc->moved = cc->rekeyed = false;
        CLEAR(cc->heal);
    }
}

/**
 * A client that speaks to an address of this host alone is told to no standby:
 * none could go on with it.
 */
static bool
stays_here(const struct options *o, struct multi_instance *mi, struct cluster_client *cc)
{
    const struct link_socket_actual *actual = &mi->context.c2.link_socket_info->lsa->actual;
    const bool apart = !cluster_address_moves(&o->cluster_addresses, actual);

    if (apart && !cc->apart)
    {
        msg(M_INFO, "CLUSTER: this client speaks to an address of this server that does not move: "
            "no other server can go on with it");
        cluster_client_down(mi);
    }
    cc->apart = apart;
    return apart;
}

void
cluster_client_changed(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_snapshot snapshot;

    if (!cluster || !multi)
    {
        return;
    }
    cluster_go_on_anew(m, mi);
    cluster_doubt_go_on(m, mi);
    if (multi->multi_state != CAS_CONNECT_DONE)
    {
        return;
    }
    cluster_client_snapshot(mi, &snapshot);
    if (!snapshot.keys[0])
    {
        return;
    }

    struct cluster_client *cc = cluster_client_get(multi);
    const char *reason = "connect";

    rename_after_reset(mi, cc);
    if (stays_here(&m->top.options, mi, cc))
    {
        return;
    }
    if (cc->announced)
    {
        cluster_rekey_tell(multi);
        if (!cluster_macs_due(mi))
        {
            snapshot.macs = cc->told.macs;
        }
        reason = snapshot_difference(&cc->told, &snapshot);
        if (reason && cluster_ks_pending(&multi->session[TM_ACTIVE].key[KS_PRIMARY]))
        {
            reason = "pending";
        }
    }
    else
    {
        cluster_client_name(mi, cluster_client_session(multi)->session_id.id);
        cluster_anew_connect(m, mi);
    }
    if (reason && cc->announced)
    {
        cc->macs_told = cc->told.macs != snapshot.macs ? now : cc->macs_told;
        cc->told = snapshot;
        cluster_client_announce(mi, reason);
    }
    tell_reneg(multi, cc);
}

#endif /* ifdef ENABLE_CLUSTER */
