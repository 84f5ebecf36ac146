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
 * @file cluster_reset.h
 * A client that has an instance begins anew: what is done about it.
 *
 * Who sends a hard reset proves nothing by it: it is as good as recorded. Whether
 * it is meant is decided in cluster_doubt.h, and what the new session calls for in
 * cluster_anew.h. What the client uses is kept until its certificate was verified,
 * and beyond.
 */

#ifndef CLUSTER_RESET_H
#define CLUSTER_RESET_H

struct buffer;
struct key_state;
struct link_socket_actual;
struct multi_context;
struct multi_instance;
struct tls_multi;
struct tls_session;

#ifdef ENABLE_CLUSTER

/** @name Hooks
 *  @{ */

/**
 * A hard reset came that belongs to no session. Is it put aside, or dropped?
 *
 * A server that has said goodbye drops it, as OpenVPN does from addresses that
 * are new to it: a client that comes again by the address that it had would hold
 * to the answer of a process that is about to end until its hand-window is over.
 * One that hears nothing asks again after 2 s, and finds the next server. While
 * nothing begins (cluster_quiesce.h) the client is asked all the same: what it
 * sends next is then taken at once.
 *
 * @param buf           the packet, nothing of which was verified
 */
bool cluster_doubt_reset(struct tls_multi *multi, const struct link_socket_actual *from,
                         const struct buffer *buf);

/** A connected client has authenticated itself in a new session, which has
 *  become the active one. */
void cluster_begin_anew(struct tls_multi *multi);

/**
 * A new session takes the place of the active one: a client has begun anew, perhaps
 * since a handshake has timed out. Then it goes on sending under the key it has
 * until the new one is some time old. Keep that key. OpenVPN itself would not, and
 * be deaf until then.
 */
void cluster_keep_session(struct tls_multi *multi);

/**
 * The key that is kept may have the key id of the new session's first one. Is
 * this packet for the former, and this key the latter? It is a guess by the packet
 * id, which ends with the first packet that the new key opens. A guess that was
 * wrong is not repeated with the next packet: the client may have started anew, and
 * then has its old key no more.
 *
 * @param buf           the packet, from its opcode on
 */
bool cluster_skip_key(struct tls_multi *multi, const struct key_state *ks,
                      const struct buffer *buf);

/**
 * Is this the key that is kept beside a new session whose user is still to be found
 * good or bad? Then it is no proof of that user.
 */
bool cluster_is_no_proof(struct tls_multi *multi, const struct key_state *ks);

/**
 * A client that begins has another name, user or certificate than the one whose
 * instance this is: in a session of its own, it is another client, which has
 * been given the address that the former one had. AUTH_FAILED would end its
 * process, though nothing is wrong with it.
 */
void cluster_lock_broken(struct tls_multi *multi);

/**
 * An instance is about to end with this word to the client.
 *
 * @param text          is "RESTART" then, if another client is there
 */
void cluster_refusal(const struct tls_multi *multi, struct buffer *text);

/** @} name Hooks */

/** An authenticated packet came in this session. */
void cluster_doubt_hear(struct tls_multi *multi, const struct tls_session *session);

/**
 * Is there a question to be sent in this session?
 *
 * @return true if it is in \c to_link
 */
bool cluster_doubt_ask(struct tls_multi *multi, struct tls_session *session,
                       struct buffer *to_link, struct link_socket_actual **to_link_addr);

/** Do what is due about a reset that was put aside. */
void cluster_doubt_go_on(struct multi_context *m, struct multi_instance *mi);

/** A standby drops a client, whose record may be out of date: remember where it
 *  is. It believes that it is connected, and may begin anew here. */
void cluster_anew_drop(const struct multi_instance *mi);

/** A client has connected. Is it one that was dropped, and begins anew? */
void cluster_anew_connect(struct multi_context *m, struct multi_instance *mi);

/** Do what the client's new session calls for. */
void cluster_go_on_anew(struct multi_context *m, struct multi_instance *mi);

#else  /* ifdef ENABLE_CLUSTER */

static inline bool
cluster_doubt_reset(struct tls_multi *multi, const struct link_socket_actual *from,
                    const struct buffer *buf)
{
    return false;
}

static inline void
cluster_begin_anew(struct tls_multi *multi)
{
}

static inline void
cluster_keep_session(struct tls_multi *multi)
{
}

static inline void
cluster_lock_broken(struct tls_multi *multi)
{
}

static inline void
cluster_refusal(const struct tls_multi *multi, struct buffer *text)
{
}

static inline bool
cluster_is_no_proof(struct tls_multi *multi, const struct key_state *ks)
{
    return false;
}

static inline bool
cluster_skip_key(struct tls_multi *multi, const struct key_state *ks, const struct buffer *buf)
{
    return false;
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_RESET_H */
