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
 * @file cluster_wait.h
 * What completes a connection or a renegotiation waits until another server
 * can go on with that client.
 *
 * A client whose server is lost in the moment after it connected would have to
 * start anew. So the master can hold back what completes a connection until the
 * management client says that the client's record has been imported elsewhere
 * (cluster-release). A reply never waits for longer than
 * CLUSTER_REPLY_PATIENCE, not at all after CLUSTER_REPLY_MISSES of them waited
 * in vain, nor when nobody is there to release it: waiting is off until
 * cluster-wait switches it on, and off again as soon as the role changes or the
 * management client is gone. One that hangs is still connected: it says for how
 * many seconds its word counts, and is not waited for when it does not say it
 * again.
 *
 * In a renegotiation the client makes the new key as soon as it has the server's
 * key-method-2 message, one round trip before the server does. So that message
 * waits in the same way: it fixes the key, which is made ahead as \e pending,
 * announced ("pending") and exported like any other, together with the message
 * as it was encrypted (see cluster_last_message.h). While it waits the client is
 * acknowledged and goes on under its old key. A standby that is promoted sends
 * the message itself and receives under the pending key, but sends under it only
 * once the client has acknowledged that message, or a packet has shown that it
 * has the key.
 */

#ifndef CLUSTER_WAIT_H
#define CLUSTER_WAIT_H

struct context;
struct key_state;
struct multi_context;
struct multi_instance;
struct tls_multi;
struct tls_session;

#ifdef ENABLE_CLUSTER

/** The longest time in seconds for which one cluster-wait counts. */
#define CLUSTER_LEASE_MAX 3600

/** Seconds for which it is still believed, once the management client is gone,
 * that another server has the clients. */
#define CLUSTER_SUCCESSOR_MEMORY 10

/** Must this client's PUSH_REPLY wait? */
bool cluster_hold_reply(struct context *c);

/**
 * What stands in the session's plaintext buffer is about to be encrypted. If it
 * is the server's last message of a renegotiation, that makes the new key pending,
 * and its packets wait.
 */
void cluster_hold_last_message(struct tls_multi *multi, struct tls_session *session);

/** Send what has waited for too long. To be called every second. */
void cluster_wait_expire(struct multi_context *m, struct multi_instance *mi);

/** The management client is gone: nobody will release anything, nor say that what
 *  waits to begin may. */
void cluster_wait_gone(void *arg);

/**
 * Does another server have the clients, as far as was told? While it is in sync
 * new clients wait for it.
 */
bool cluster_has_successor(void);

/**
 * From now on new clients wait, or nobody does and all that wait go on.
 *
 * @param lease         seconds for which that counts, 0 for ever
 */
void cluster_wait_set(struct multi_context *m, bool on, int lease);

/** Another server has this client: it need not wait any more. */
void cluster_wait_release(struct multi_context *m, struct multi_instance *mi);

#else  /* ifdef ENABLE_CLUSTER */

static inline bool
cluster_hold_reply(struct context *c)
{
    return false;
}

static inline void
cluster_hold_last_message(struct tls_multi *multi, struct tls_session *session)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_WAIT_H */
