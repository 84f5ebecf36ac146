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
 * The PUSH_REPLY of a new client waits; see cluster_wait.h.
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

bool
cluster_hold_reply(struct context *c)
{
    struct tls_multi *multi = c->c2.tls_multi;

    if (!cluster || !cluster->wait || cluster->wait_missed >= CLUSTER_REPLY_MISSES
        || cluster_silent())
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

static void
release(struct multi_context *m, struct multi_instance *mi)
{
    if (cluster_reply_release(&cluster_client_get(mi->context.c2.tls_multi)->reply))
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
    const struct cluster_client *cc = mi->context.c2.tls_multi->cluster_client;

    if (cluster_reply_due(&cc->reply, cluster->wait, now))
    {
        if (cluster->wait && ++cluster->wait_missed == CLUSTER_REPLY_MISSES)
        {
            msg(M_WARN, "CLUSTER: nobody releases new clients, they do not wait any more");
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
        const struct cluster_client *cc = mi->context.c2.tls_multi->cluster_client;
        if (!mi->halt && cc && cc->reply.held)
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
