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
 * @file cluster_last_message.c
 * The last message of a renegotiation, sent by another server; see
 * cluster_last_message.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "cluster_last_message.h"
#include "reliable.h"
#include "ssl.h"
#include "ssl_pkt.h"

#include "memdbg.h"

/*
 * In the record
 */

/**
 * The client's packets below this one have been received.
 */
static packet_id_type
received_below(const struct key_state *ks)
{
    return ks->rec_reliable ? ks->rec_reliable->packet_id : ks->cluster_ks->message_received;
}

static bool
write_packet(const struct reliable_entry *e, struct buffer *out)
{
    return e->opcode == P_CONTROL_V1
           && buf_write_u16(out, (uint16_t)BLEN(&e->buf))
           && buf_write(out, BPTR(&e->buf), (size_t)BLEN(&e->buf));
}

void
cluster_last_message_export(const struct key_state *ks, struct cluster_last_message *message)
{
    struct buffer out;
    bool good;

    message->len = 0;
    if (!cluster_ks_pending(ks) || !cluster_last_message_due(ks))
    {
        return;
    }
    buf_set_write(&out, message->bytes, sizeof(message->bytes));
    good = buf_write_u32(&out, received_below(ks));
    for (int i = 0; i < ks->send_reliable->size; ++i)
    {
        const struct reliable_entry *e = &ks->send_reliable->array[i];
        good = good && (!e->active || write_packet(e, &out));
    }
    message->len = good ? BLEN(&out) : 0;
}

/**
 * @return how many packets there are, 0 if they are too many or cut off
 */
static int
count_packets(struct buffer in)
{
    int n = 0;

    while (BLEN(&in))
    {
        const int len = buf_read_u16(&in);
        if (len < 0 || !buf_advance(&in, len) || ++n > CLUSTER_LAST_MESSAGE_PACKETS)
        {
            return 0;
        }
    }
    return n;
}

/**
 * Put the next packet of a message where packets wait to be sent.
 */
static bool
load_packet(struct reliable *rel, struct buffer *in)
{
    const int len = buf_read_u16(in) - (int)sizeof(packet_id_type);
    bool good;

    rel->packet_id = buf_read_u32(in, &good);
    struct buffer *buf = reliable_get_buf(rel);
    if (!good || !buf || !buf_copy_n(buf, in, len))
    {
        return false;
    }
    reliable_mark_active_outgoing(rel, buf, P_CONTROL_V1);
    return true;
}

/**
 * The client may have missed the acknowledgement of what it sent last: it goes
 * out with the message.
 */
static void
load_acks(struct reliable_ack *acks, packet_id_type received)
{
    while (received && acks->len < CONTROL_SEND_ACK_MAX)
    {
        acks->packet_id[acks->len++] = --received;
    }
}

static void
free_message(struct key_state *ks)
{
    reliable_free(ks->send_reliable);
    free(ks->rec_ack);
    free(ks->lru_acks);
    free_buf(&ks->ack_write_buf);
    ks->send_reliable = NULL;
    ks->rec_ack = ks->lru_acks = NULL;
}

void
cluster_last_message_import(const struct tls_session *session, struct key_state *ks,
                            const struct cluster_last_message *message)
{
    const struct frame *frame = &session->opt->frame;
    struct buffer in;
    bool good;

    if (!cluster_ks_imported(ks) || ks->send_reliable || !ks->cluster_ks->pending || !message->len)
    {
        return;
    }
    buf_set_read(&in, message->bytes, (size_t)message->len);
    const packet_id_type received = buf_read_u32(&in, &good);
    const int packets = count_packets(in);
    if (!good || !packets)
    {
        return;
    }
    ALLOC_OBJ_CLEAR(ks->send_reliable, struct reliable);
    ALLOC_OBJ_CLEAR(ks->rec_ack, struct reliable_ack);
    ALLOC_OBJ_CLEAR(ks->lru_acks, struct reliable_ack);
    ks->ack_write_buf = alloc_buf(BUF_SIZE(frame));
    reliable_init(ks->send_reliable, BUF_SIZE(frame), frame->buf.headroom,
                  packets, false);
    reliable_set_timeout(ks->send_reliable, session->opt->packet_timeout);

    ks->cluster_ks->message_received = received;
    load_acks(ks->lru_acks, received);
    while (good && BLEN(&in))
    {
        good = load_packet(ks->send_reliable, &in);
    }
    if (!good)
    {
        free_message(ks);
    }
}

void
cluster_last_message_forget(struct key_state *ks)
{
    if (cluster_ks_imported(ks) && ks->send_reliable)
    {
        free_message(ks);
    }
}

/*
 * On the wire
 */

bool
cluster_last_message_due(const struct key_state *ks)
{
    return ks->send_reliable && !reliable_empty(ks->send_reliable);
}

void
cluster_last_message_hasten(struct key_state *ks)
{
    if (cluster_last_message_due(ks))
    {
        reliable_schedule_now(ks->send_reliable);
    }
}

void
cluster_last_message_send(struct tls_session *session, struct key_state *ks,
                          struct buffer *to_link, struct link_socket_actual **to_link_addr,
                          interval_t *wakeup)
{
    struct buffer buf;
    int opcode;

    if (!ks->send_reliable)
    {
        return;
    }
    if (!to_link->len && reliable_can_send(ks->send_reliable))
    {
        buf = *reliable_send(ks->send_reliable, &opcode);
        write_control_auth(session, ks, &buf, to_link_addr, opcode, CONTROL_SEND_ACK_MAX, true);
        *to_link = buf;
    }
    else if (!to_link->len && !reliable_ack_empty(ks->rec_ack))
    {
        buf = ks->ack_write_buf;
        ASSERT(buf_init(&buf, session->opt->frame.buf.headroom));
        write_control_auth(session, ks, &buf, to_link_addr, P_ACK_V1, RELIABLE_ACK_SIZE, false);
        *to_link = buf;
    }
    *wakeup = min_int(*wakeup, max_int(1, reliable_send_timeout(ks->send_reliable)));
}

/**
 * Has this packet been received by the server where the TLS object is? It is to
 * be acknowledged again.
 */
static bool
is_repeated(struct key_state *ks, struct buffer *buf)
{
    packet_id_type id;

    if (!reliable_ack_read_packet_id(buf, &id) || id >= ks->cluster_ks->message_received)
    {
        return false;
    }
    reliable_ack_acknowledge_packet_id(ks->rec_ack, id);
    return true;
}

bool
cluster_last_message_receive(const struct tls_session *session, struct key_state *ks,
                             struct buffer *buf, int op)
{
    struct reliable_ack ack;

    if (!ks->send_reliable || !reliable_ack_read(&ack, buf, &session->session_id))
    {
        return false;
    }
    reliable_send_purge(ks->send_reliable, &ack);
    if (cluster_ks_pending(ks) && reliable_empty(ks->send_reliable))
    {
        msg(D_TLS_DEBUG_LOW, "CLUSTER: the client has key %d, which another server made", ks->key_id);
        cluster_ks_confirm(ks);
    }
    return op == P_ACK_V1 || is_repeated(ks, buf);
}

#endif /* ifdef ENABLE_CLUSTER */
