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

#include "cluster_manage.h"
#include "cluster_report.h"
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
 * Is there anybody to wait for?
 */
static bool
is_waiting(void)
{
    return cluster && cluster->wait && cluster->wait_missed < CLUSTER_REPLY_MISSES
           && !cluster_silent();
}

bool
cluster_hold_reply(struct context *c)
{
    struct tls_multi *multi = c->c2.tls_multi;

    if (!is_waiting())
    {
        return false;
    }

    struct cluster_client *cc = cluster_client_get(multi);

    if (!is_announced(multi, cc))
    {
        cc->reply.released = false;
    }
    else if (cc->moved)
    {
        return false;
    }
    return cluster_reply_hold(&cc->reply, now);
}

/**
 * Does the server's last word of a renegotiation stand here, that of a client
 * which standbys know?
 */
static bool
is_last_word(const struct tls_multi *multi, const struct tls_session *session)
{
    const struct key_state *ks = &session->key[KS_PRIMARY];

    return session == &multi->session[TM_ACTIVE] && session->opt->server
           && ks->key_id && ks->state == S_SENT_KEY && ks->authenticated == KS_AUTH_TRUE
           && multi->multi_state == CAS_CONNECT_DONE
           && multi->cluster_client && multi->cluster_client->announced;
}

/**
 * Make the key that the client will have once it gets the word.
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
cluster_hold_word(struct tls_multi *multi, struct tls_session *session)
{
    struct key_state *ks = &session->key[KS_PRIMARY];

    if (!ks->cluster_ks && is_waiting() && is_last_word(multi, session)
        && make_pending(session, ks))
    {
        /* it is encrypted, but stays where packets wait to be sent */
        ks->send_reliable->hold = cluster_reply_hold(&ks->cluster_ks->word, now);
    }
}

/**
 * The word that a client's newest key waits for, NULL if none does.
 */
static struct cluster_reply *
waiting_word(const struct tls_multi *multi)
{
    const struct key_state *ks = &multi->session[TM_ACTIVE].key[KS_PRIMARY];

    return ks->cluster_ks && ks->cluster_ks->word.held ? &ks->cluster_ks->word : NULL;
}

static void
release(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_reply *word = waiting_word(multi);

    if (word && cluster_reply_release(word))
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
    const struct cluster_reply *word = waiting_word(multi);

    if (cluster_reply_due(&multi->cluster_client->reply, cluster->wait, now)
        || (word && cluster_reply_due(word, cluster->wait, now)))
    {
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
        cluster->wait = false;
    }
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
            && (multi->cluster_client->reply.held || waiting_word(multi)))
        {
            release(m, mi);
        }
    }
    hash_iterator_free(&hi);
}

void
cluster_command_wait(struct multi_context *m, const char **p)
{
    const bool on = p[1] && !strcmp(p[1], "on");

    if (!on && (!p[1] || strcmp(p[1], "off")))
    {
        cluster_fail(p[0], NULL, "needs 'on' or 'off'");
    }
    else if (cluster_need_role(p, cluster->role == CLUSTER_MASTER))
    {
        cluster->wait = on;
        cluster->wait_missed = 0;
        if (!on)
        {
            release_all(m);
        }
        msg(M_CLIENT, "SUCCESS: cluster-wait %s", p[1]);
    }
}

void
cluster_command_release(struct multi_context *m, const char **p)
{
    struct multi_instance *mi;

    if (cluster_need_role(p, cluster->role == CLUSTER_MASTER) && (mi = cluster_find_instance(p)))
    {
        cluster->wait_missed = 0;
        release(m, mi);
        msg(M_CLIENT, "SUCCESS: cluster-release %s", p[1]);
    }
}

#endif /* ifdef ENABLE_CLUSTER */
