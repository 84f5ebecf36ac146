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
 * @file cluster_reset.c
 * A moved client begins anew; see cluster_rekey.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster.h"
#include "multi.h"
#include "occ.h"
#include "ssl.h"

#include "memdbg.h"

/**
 * Has this client keys of another server only?
 */
static bool
is_borrowed(const struct tls_multi *multi)
{
    return multi->cluster_client && multi->cluster_client->moved && !multi->cluster_client->rekeyed;
}

/**
 * The key that a client which begins anew goes on sending with, NULL if it has
 * none.
 */
static struct key_state *
key_in_use(struct tls_session *session)
{
    for (int i = 0; i < KS_SIZE; ++i)
    {
        struct key_state *ks = &session->key[i];
        if (cluster_ks_usable(ks) && !cluster_ks_pending(ks))
        {
            return ks;
        }
    }
    return NULL;
}

bool
cluster_defer_reset(struct tls_multi *multi)
{
    struct cluster_client *cc = multi->cluster_client;
    struct tls_session *session = &multi->session[TM_ACTIVE];
    struct multi_instance *mi;

    if (!is_borrowed(multi))
    {
        return false;
    }
    if (cluster_ks_pending(&session->key[KS_PRIMARY]))
    {
        cluster_stuck_control(multi, 0);
        return now < cc->heal.since + CLUSTER_HEAL_RESET;
    }

    /* the first key of the new session would hide one with the same id */
    const struct key_state *ks = key_in_use(session);
    if (ks && !ks->key_id && (mi = cluster_lookup(cc->uid)))
    {
        msg(D_TLS_DEBUG_LOW, "CLUSTER: a handshake was given up, telling the client to reconnect");
        mi->context.c2.occ_op = OCC_EXIT;
    }
    return false;
}

void
cluster_keep_session(struct tls_multi *multi)
{
    struct tls_session *active = &multi->session[TM_ACTIVE];
    struct tls_session *kept = &multi->session[TM_LAME_DUCK];
    struct key_state *ks = key_in_use(active);
    struct key_state *lame = &active->key[KS_LAME_DUCK];

    if (!is_borrowed(multi) || !ks || !ks->key_id)
    {
        return;
    }
    if (ks != lame)
    {
        key_state_free(lame, true);
        *lame = *ks;
        CLEAR(*ks);
        lame->must_die = now + active->opt->transition_window;
    }
    else
    {
        key_state_free(&active->key[KS_PRIMARY], true);
    }
    tls_session_free(kept, false);
    *kept = *active;
    CLEAR(*active);
    msg(D_TLS_DEBUG_LOW, "CLUSTER: the client begins anew, key %d is kept", kept->key[KS_LAME_DUCK].key_id);
}

#endif /* ifdef ENABLE_CLUSTER */
