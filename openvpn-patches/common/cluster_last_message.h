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
 * @file cluster_last_message.h
 * The last message of a renegotiation, sent by another server.
 *
 * A client makes its new key when it gets the server's key-method-2 message,
 * which only the TLS object of that handshake can encrypt. So the server that
 * has it encrypts the message before it is held back (see cluster_wait.h), and
 * the control packets that carry it go into the client's record beside the
 * pending key. A server that is promoted sends them until the client has
 * acknowledged all of them, and acknowledges what the client repeats because
 * the acknowledgement was lost with the old server. Then the client has the
 * key, and nobody needs the TLS object any more.
 */

#ifndef CLUSTER_LAST_MESSAGE_H
#define CLUSTER_LAST_MESSAGE_H

#ifdef ENABLE_CLUSTER

#include "buffer.h"
#include "interval.h"
#include "cluster_record.h"

struct key_state;
struct link_socket_actual;
struct tls_session;

/**
 * Write down what would give the client a pending key.
 *
 * @param message       empty if there is no such thing, or too much of it
 */
void cluster_last_message_export(const struct key_state *ks, struct cluster_last_message *message);

/**
 * Let an imported key have its message, for as long as it is pending. One that it
 * has stays as it is.
 */
void cluster_last_message_import(const struct tls_session *session, struct key_state *ks,
                                 const struct cluster_last_message *message);

/** The client has the key, says the server that has its TLS object: what was
 *  imported of a message is of no use any more. */
void cluster_last_message_forget(struct key_state *ks);

/** Is there a message that the client has not acknowledged? */
bool cluster_last_message_due(const struct key_state *ks);

/** Send all that is due at once, also what was sent not long ago. */
void cluster_last_message_hasten(struct key_state *ks);

/**
 * Send what is due of a message, or an acknowledgement.
 *
 * @param to_link       is set if it is empty and something is to be sent
 * @param to_link_addr  then is set to where
 * @param wakeup        seconds until there is more to do
 */
void cluster_last_message_send(struct tls_session *session, struct key_state *ks,
                               struct buffer *to_link, struct link_socket_actual **to_link_addr,
                               interval_t *wakeup);

/**
 * A control packet came for a key that has a message. Once all of the message is
 * acknowledged the key is not pending any more.
 *
 * @param buf           the packet, behind its wrap
 *
 * @return false if it is news, which belongs to the TLS object and cannot be
 *         taken
 */
bool cluster_last_message_receive(const struct tls_session *session, struct key_state *ks,
                                  struct buffer *buf, int op);

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_LAST_MESSAGE_H */
