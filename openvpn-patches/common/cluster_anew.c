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
 * @file cluster_anew.c
 * A connected client begins a new session; see cluster_reset.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "cluster_reset.h"
#include "forward.h"
#include "multi.h"
#include "push.h"
#include "ssl.h"
#include "ssl_util.h"
#include "ssl_verify.h"
#include "tls_crypt.h"

#include "memdbg.h"

/** Where the clients that were dropped last are. */
static struct dropped
{
    struct mroute_addr real;
    time_t when;
} dropped[CLUSTER_ANEW_DROPPED];

static int n_dropped;

void
cluster_anew_drop(const struct multi_instance *mi)
{
    struct dropped *d = &dropped[n_dropped];

    d->real = mi->real;
    d->when = now;
    n_dropped = (n_dropped + 1) % CLUSTER_ANEW_DROPPED;
}

static bool
was_dropped(const struct multi_instance *mi)
{
    for (int i = 0; i < CLUSTER_ANEW_DROPPED; ++i)
    {
        const struct dropped *d = &dropped[i];
        if (d->when && now < d->when + CLUSTER_ANEW_REMEMBERED
            && mroute_addr_equal(&d->real, &mi->real))
        {
            return true;
        }
    }
    return false;
}

void
cluster_anew_connect(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;

    if (was_dropped(mi))
    {
        cluster_anew_note(&multi->cluster_client->anew, extract_iv_proto(multi->peer_info), now);
        cluster_go_on_anew(m, mi);
    }
}

void
cluster_begin_anew(struct tls_multi *multi)
{
    struct tls_session *session = &multi->session[TM_ACTIVE];

    if (!session->opt->cluster)
    {
        return;
    }
    if ((session->opt->crypto_flags & CO_USE_DYNAMIC_TLS_CRYPT)
        && !tls_session_generate_dynamic_tls_crypt_key(multi, session))
    {
        msg(D_TLS_ERRORS, "CLUSTER: no dynamic tls-crypt key for a new session");
    }
    if (multi->cluster_client)
    {
        cluster_doubt_close(&multi->cluster_client->doubt);
        cluster_anew_note(&multi->cluster_client->anew, extract_iv_proto(multi->peer_info), now);
    }
}

/**
 * What is pushed waits for a second that a first session does without.
 */
static void
hurry(struct multi_context *m, struct multi_instance *mi)
{
    struct context *c = &mi->context;
    struct tls_multi *multi = c->c2.tls_multi;

    c->c2.sent_push_reply_expiry = 0;
    if (multi->multi_state == CAS_RECONNECT_PENDING
        && (extract_iv_proto(multi->peer_info) & IV_PROTO_REQUEST_PUSH))
    {
        multi->cluster_client->anew.push = true;
        c->c2.wait_for_connect.last = 0;
        reset_coarse_timers(c);
        cluster_wake(m, mi, 0);
    }
}

void
cluster_go_on_anew(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_client *cc = multi->cluster_client;

    if (cc && cc->anew.begun)
    {
        cc->anew.begun = false;
        hurry(m, mi);
    }
    if (cc && cc->anew.push && multi->multi_state == CAS_CONNECT_DONE
        && tls_authentication_status(multi) != TLS_AUTHENTICATION_DEFERRED)
    {
        cc->anew.push = false;
        process_incoming_push_request(&mi->context);
        cluster_wake(m, mi, 0);
    }
    if (cc && cc->anew.due)
    {
        cc->anew.due = false;
        msg(D_MULTI_LOW, "CLUSTER: the client begins anew, and its kernel cannot: "
            "telling it to reconnect");
        send_control_channel_string(&mi->context, CLUSTER_RESTART, D_PUSH);
    }
}

#endif /* ifdef ENABLE_CLUSTER */
