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
 * @file cluster_word.h
 * The last word of a renegotiation, said by another server.
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

#ifndef CLUSTER_WORD_H
#define CLUSTER_WORD_H

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
 * @param word          empty if there is no such thing, or too much of it
 */
void cluster_word_export(const struct key_state *ks, struct cluster_word *word);

/**
 * Let an imported key have its word, for as long as it is pending. A word that
 * it has stays as it is.
 */
void cluster_word_import(const struct tls_session *session, struct key_state *ks,
                         const struct cluster_word *word);

/** The client has the key, says the server that has its TLS object: what was
 *  imported of a word is of no use any more. */
void cluster_word_forget(struct key_state *ks);

/** Is there a word that the client has not acknowledged? */
bool cluster_word_due(const struct key_state *ks);

/** Say all that is due at once, also what was said not long ago. */
void cluster_word_hasten(struct key_state *ks);

/**
 * Send what is due of a word, or an acknowledgement.
 *
 * @param to_link       is set if it is empty and something is to be sent
 * @param to_link_addr  then is set to where
 * @param wakeup        seconds until there is more to do
 */
void cluster_word_say(struct tls_session *session, struct key_state *ks, struct buffer *to_link,
                      struct link_socket_actual **to_link_addr, interval_t *wakeup);

/**
 * A control packet came for a key that has a word. Once all of the word is
 * acknowledged the key is not pending any more.
 *
 * @param buf           the packet, behind its wrap
 *
 * @return false if it is news, which belongs to the TLS object and cannot be
 *         taken
 */
bool cluster_word_heard(const struct tls_session *session, struct key_state *ks,
                        struct buffer *buf, int op);

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_WORD_H */
