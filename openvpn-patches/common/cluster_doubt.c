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
 * @file cluster_doubt.c
 * Has a client begun anew? See cluster_reset.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "cluster_quiesce.h"
#include "cluster_reset.h"
#include "cluster_state.h"
#include "multi.h"
#include "otime.h"
#include "reliable.h"
#include "ssl.h"
#include "ssl_pkt.h"

#include "memdbg.h"

static int64_t
milliseconds(void)
{
    struct timeval tv;

    ASSERT(!openvpn_gettimeofday(&tv, NULL));
    return (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000;
}

/**
 * Does the client have a connection, and a session that it can be asked in?
 */
static bool
can_be_asked(const struct tls_multi *multi)
{
    const struct key_state *ks = &multi->session[TM_ACTIVE].key[KS_PRIMARY];

    return multi->opt.cluster && multi->multi_state >= CAS_RECONNECT_PENDING
           && ks->state > S_UNDEF && session_id_defined(&ks->session_id_remote)
           && link_socket_actual_defined(&ks->remote_addr);
}

static void
forget_packet(struct cluster_client *cc)
{
    free_buf(&cc->reset);
}

bool
cluster_doubt_reset(struct tls_multi *multi, const struct link_socket_actual *from,
                    const struct buffer *buf)
{
    if (cluster && cluster->leaving)
    {
        return true;
    }
    if (!can_be_asked(multi))
    {
        return cluster_quiesce_drops();
    }

    struct cluster_client *cc = cluster_client_get(multi);
    const enum cluster_doubt_step step = cluster_doubt_arrive(&cc->doubt, milliseconds());

    if (step == CLUSTER_DOUBT_KEEP)
    {
        forget_packet(cc);
        cc->reset = clone_buf(buf);
        cc->reset_from = *from;
    }
    return step != CLUSTER_DOUBT_TAKE || cluster_quiesce_drops();
}

void
cluster_doubt_hear(struct tls_multi *multi, const struct tls_session *session)
{
    struct cluster_client *cc = multi->cluster_client;

    if (cc && cc->doubt.waiting && session == &multi->session[TM_ACTIVE])
    {
        cluster_doubt_answer(&cc->doubt);
        forget_packet(cc);
    }
}

/**
 * Write the first control packet of a key's handshake again, which is empty.
 */
static void
write_question(struct tls_session *session, struct key_state *ks, struct buffer *to_link,
               struct link_socket_actual **to_link_addr)
{
    const struct frame *frame = &session->opt->frame;
    struct reliable_ack none = { 0 };
    struct reliable_ack used = { 0 };
    const bool bare = !ks->rec_ack; /* imported */
    struct buffer buf;

    if (!ks->ack_write_buf.data)
    {
        ks->ack_write_buf = alloc_buf(BUF_SIZE(frame));
    }
    buf = ks->ack_write_buf;
    ASSERT(buf_init(&buf, frame->buf.headroom) && buf_write_u32(&buf, 0));
    if (bare)
    {
        ks->rec_ack = &none;
        ks->lru_acks = &used;
    }
    write_control_auth(session, ks, &buf, to_link_addr, P_CONTROL_V1, CONTROL_SEND_ACK_MAX, true);
    if (bare)
    {
        ks->rec_ack = ks->lru_acks = NULL;
    }
    *to_link = buf;
}

bool
cluster_doubt_ask(struct tls_multi *multi, struct tls_session *session,
                  struct buffer *to_link, struct link_socket_actual **to_link_addr)
{
    struct cluster_client *cc = multi->cluster_client;
    struct key_state *ks = &session->key[KS_PRIMARY];

    if (!cc || !cc->doubt.question || session != &multi->session[TM_ACTIVE] || to_link->len)
    {
        return false;
    }
    cc->doubt.question = false;
    if (ks->send_reliable && !reliable_empty(ks->send_reliable))
    {
        /* what waits for an acknowledgement is as good a question */
        reliable_schedule_now(ks->send_reliable);
        return false;
    }
    if (ks->state == S_INITIAL && !cluster_ks_imported(ks))
    {
        return false; /* a soft reset is about to be sent */
    }
    write_question(session, ks, to_link, to_link_addr);
    return true;
}

/**
 * The client has not answered: let the packet go where it would have gone.
 */
static void
take_reset(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_client *cc = multi->cluster_client;
    struct buffer packet = cc->reset;
    struct buffer left = packet;
    struct crypto_options *opt;
    const uint8_t *ad_start;

    CLEAR(cc->reset);
    msg(D_TLS_DEBUG_LOW, "CLUSTER: a hard reset, and the client is not in its session any more");
    tls_pre_decrypt(multi, &cc->reset_from, &left, &opt, false, &ad_start);
    free_buf(&packet);
    cluster_wake(m, mi, 0);
}

/**
 * Microseconds until the next step is due, less than a second: no longer than
 * that is anything else of the instance put off.
 */
static unsigned int
microseconds_left(const struct cluster_doubt *doubt, int64_t when)
{
    const int64_t left = cluster_doubt_next(doubt) - when;

    return (unsigned int)(left < CLUSTER_DOUBT_EVERY ? left : CLUSTER_DOUBT_EVERY - 1) * 1000;
}

void
cluster_doubt_go_on(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_client *cc = multi->cluster_client;

    if (!cc || !cc->doubt.waiting)
    {
        return;
    }

    const int64_t when = milliseconds();
    const int64_t window = 1000 * (int64_t)multi->opt.handshake_window;

    switch (cluster_doubt_due(&cc->doubt, when, window))
    {
        case CLUSTER_DOUBT_ASK:
            cluster_wake(m, mi, 0);
            break;

        case CLUSTER_DOUBT_TAKE:
            take_reset(m, mi);
            break;

        default:
            cluster_wake(m, mi, microseconds_left(&cc->doubt, when));
            break;
    }
}

#endif /* ifdef ENABLE_CLUSTER */
