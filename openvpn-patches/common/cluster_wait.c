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
 * @file cluster_wait.c
 * What completes a connection or a renegotiation waits; see cluster_wait.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_address.h"
#include "cluster_client.h"
#include "cluster_quiesce.h"
#include "cluster_state.h"
#include "cluster_wait.h"
#include "multi.h"
#include "push.h"
#include "ssl.h"

#include "memdbg.h"

/**
 * Is this the session that was announced? After a hard reset it is another.
 */
static bool
is_announced(struct tls_multi *multi, const struct cluster_client *cc)
{
    return cc->announced && !memcmp(cc->uid, cluster_client_session(multi)->session_id.id,
                                    CLUSTER_UID_SIZE);
}

/**
 * Whoever should release clients may hang with its connection open. It has said
 * for how long its word counts.
 */
static void
expect_management_client(void)
{
    if (cluster->wait && cluster->wait_lease && now >= cluster->wait_said + cluster->wait_lease)
    {
        cluster->wait = false;
        ++cluster->lapses;
        msg(M_WARN, "CLUSTER: the management client says nothing, no client waits for it");
    }
}

/**
 * Is there anybody to wait for?
 */
static bool
is_waiting(void)
{
    if (cluster)
    {
        expect_management_client();
    }
    return cluster && cluster->wait && cluster->wait_missed < CLUSTER_REPLY_MISSES
           && !cluster_silent();
}

bool
cluster_hold_reply(struct context *c)
{
    struct tls_multi *multi = c->c2.tls_multi;

    /* nobody is told of one that cannot move */
    if (!is_waiting() || !cluster_address_moves(&c->options.cluster_addresses,
                                                &c->c2.link_socket_info->lsa->actual))
    {
        return false;
    }

    struct cluster_client *cc = cluster_client_get(multi);

    if (!is_announced(multi, cc))
    {
        cc->reply.released = false;
    }
    else if (cc->moved || (cluster_quiesced() && !cc->reply.held))
    {
        return false; /* who is connected does not begin to wait while nothing begins */
    }
    return cluster_reply_hold(&cc->reply, now);
}

/**
 * Does the server's last message of a renegotiation stand here, that of a client
 * which standbys know?
 */
static bool
is_last_message(const struct tls_multi *multi, const struct tls_session *session)
{
    const struct key_state *ks = &session->key[KS_PRIMARY];

    return session == &multi->session[TM_ACTIVE] && session->opt->server
           && ks->key_id && ks->state == S_SENT_KEY && ks->authenticated == KS_AUTH_TRUE
           && multi->multi_state == CAS_CONNECT_DONE
           && multi->cluster_client && multi->cluster_client->announced;
}

/**
 * Make the key that the client will have once it gets the message.
 */
static bool
make_pending(struct tls_session *session, struct key_state *ks)
{
    struct key2 key2;
    const bool good = tls_session_peek_keys(session, &key2);

    if (good)
    {
        cluster_keep_key(session, ks, &key2);
        ks->cluster_ks->pending = true;
        msg(D_TLS_DEBUG_LOW, "CLUSTER: key %d is pending, it waits for another server", ks->key_id);
    }
    secure_memzero(&key2, sizeof(key2));
    return good;
}

void
cluster_hold_last_message(struct tls_multi *multi, struct tls_session *session)
{
    struct key_state *ks = &session->key[KS_PRIMARY];

    if (!ks->cluster_ks && is_waiting() && is_last_message(multi, session)
        && make_pending(session, ks))
    {
        /* it is encrypted, but stays where packets wait to be sent */
        ks->send_reliable->hold = cluster_reply_hold(&ks->cluster_ks->last_message, now);
    }
}

/**
 * The message that a client's newest key waits for, NULL if none does.
 */
static struct cluster_reply *
waiting_message(const struct tls_multi *multi)
{
    const struct key_state *ks = &multi->session[TM_ACTIVE].key[KS_PRIMARY];

    return ks->cluster_ks && ks->cluster_ks->last_message.held ? &ks->cluster_ks->last_message : NULL;
}

static void
release(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_reply *message = waiting_message(multi);

    if (message && cluster_reply_release(message))
    {
        reliable_schedule_now(multi->session[TM_ACTIVE].key[KS_PRIMARY].send_reliable);
        cluster_wake(m, mi, 0);
    }
    if (cluster_reply_release(&cluster_client_get(multi)->reply))
    {
        set_prefix(mi);
        process_incoming_push_request(&mi->context);
        cluster_wake(m, mi, 0);
        clear_prefix();
    }
}

void
cluster_wait_expire(struct multi_context *m, struct multi_instance *mi)
{
    const struct tls_multi *multi = mi->context.c2.tls_multi;
    const struct cluster_reply *message = waiting_message(multi);

    expect_management_client();
    if (cluster_reply_due(&multi->cluster_client->reply, cluster->wait, now)
        || (message && cluster_reply_due(message, cluster->wait, now)))
    {
        ++cluster->unreleased;
        if (cluster->wait && ++cluster->wait_missed == CLUSTER_REPLY_MISSES)
        {
            msg(M_WARN, "CLUSTER: nobody releases clients, they do not wait any more");
        }
        release(m, mi);
    }
}

void
cluster_wait_gone(void *arg)
{
    /* what waits now is sent within a second */
    if (cluster)
    {
        cluster_quiesce_end();
        cluster->successor_until = is_waiting() ? now + CLUSTER_SUCCESSOR_MEMORY : 0;
        cluster->wait = false;
    }
}

bool
cluster_has_successor(void)
{
    return is_waiting() || now < cluster->successor_until;
}

/**
 * Send all that waits.
 */
static void
release_all(struct multi_context *m)
{
    struct hash_iterator hi;
    struct hash_element *he;

    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        struct multi_instance *mi = he->value;
        const struct tls_multi *multi = mi->context.c2.tls_multi;
        if (!mi->halt && multi->cluster_client
            && (multi->cluster_client->reply.held || waiting_message(multi)))
        {
            release(m, mi);
        }
    }
    hash_iterator_free(&hi);
}

void
cluster_wait_set(struct multi_context *m, bool on, int lease)
{
    /* said again by one who is there, it forgives no miss */
    if (on != cluster->wait)
    {
        cluster->wait_missed = 0;
    }
    cluster->wait = on;
    cluster->wait_lease = lease;
    cluster->wait_said = now;
    cluster->successor_until = 0;
    if (!on)
    {
        release_all(m);
    }
}

void
cluster_wait_release(struct multi_context *m, struct multi_instance *mi)
{
    cluster->wait_missed = 0;
    release(m, mi);
}

#endif /* ifdef ENABLE_CLUSTER */
