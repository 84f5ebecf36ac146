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
 * @file cluster_event.h
 * What happens to a client from packet to packet, told by the rest of OpenVPN and
 * passed on to whom it concerns: a control packet came or could be sent, the
 * instance was processed.
 */

#ifndef CLUSTER_EVENT_H
#define CLUSTER_EVENT_H

#include "interval.h"

struct buffer;
struct link_socket_actual;
struct multi_context;
struct multi_instance;
struct tls_multi;
struct tls_session;

#ifdef ENABLE_CLUSTER

/**
 * An authenticated control packet came for this session. If its key was
 * imported, the TLS object is gone with the server it came from: the packet
 * cannot be taken and must not be acknowledged. If it has something to say, the
 * client is asked for a renegotiation after a moment: it may say goodbye.
 *
 * @param buf           the packet, behind its wrap
 *
 * @return true if the packet is to be dropped
 */
bool cluster_drop_control(struct tls_multi *multi, struct tls_session *session,
                          struct buffer *buf, int op, int key_id);

/**
 * Is there no control channel to be processed, since the session's key was
 * imported and is not renegotiated yet? Once it is, the instance has all that
 * others have. Until then there can be only the last message to be
 * sent, see cluster_last_message_send().
 *
 * @param wakeup        is set to when the key is to be renegotiated
 */
bool cluster_skip_control(struct tls_multi *multi, struct tls_session *session,
                          struct buffer *to_link, struct link_socket_actual **to_link_addr,
                          interval_t *wakeup);

/** An instance was processed: announce it if need be, and do what is due. */
void cluster_client_changed(struct multi_context *m, struct multi_instance *mi);

/** A packet was received by a socket that takes what comes for any address. */
void cluster_received(struct link_socket_actual *from);

/**
 * A client has proved, by a packet or a new session, that it is where it was. It
 * may speak to another of our addresses than before: OpenVPN knows no such float.
 * Answer it from there.
 *
 * @param actual        where the client is, and which address it speaks to
 * @param from          the same as it was heard now
 */
void cluster_follow(struct tls_multi *multi, struct link_socket_actual *actual,
                    const struct link_socket_actual *from);

#else  /* ifdef ENABLE_CLUSTER */

static inline void
cluster_received(struct link_socket_actual *from)
{
}

static inline void
cluster_follow(struct tls_multi *multi, struct link_socket_actual *actual,
               const struct link_socket_actual *from)
{
}

static inline bool
cluster_drop_control(struct tls_multi *multi, struct tls_session *session,
                     struct buffer *buf, int op, int key_id)
{
    return false;
}

static inline bool
cluster_skip_control(struct tls_multi *multi, struct tls_session *session,
                     struct buffer *to_link, struct link_socket_actual **to_link_addr,
                     interval_t *wakeup)
{
    return false;
}

static inline void
cluster_client_changed(struct multi_context *m, struct multi_instance *mi)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_EVENT_H */
