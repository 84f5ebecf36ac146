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
 * @file cluster_rekey.h
 * A client that came from another server (\e moved) gets keys of this one.
 *
 * Until its first renegotiation here, a moved client sends under keys that the
 * other server made, and has a control channel whose TLS object is gone. Who
 * is renegotiated when is up to the management client, which finds here what
 * it decides by. What must not wait for anybody is done here, and decided in
 * cluster_heal.h.
 */

#ifndef CLUSTER_REKEY_H
#define CLUSTER_REKEY_H

struct buffer;
struct key_state;
struct multi_context;
struct multi_instance;
struct tls_multi;

#ifdef ENABLE_CLUSTER

#include "packet_id.h"

/**
 * A data packet came whose key id no key of the client has.
 *
 * @param floated       it came from another address than the client's, which
 *                      means nothing
 */
void cluster_unknown_key(struct tls_multi *multi, bool floated, int key_id);

/** Likewise a control packet, which was authenticated. */
void cluster_unknown_control(struct tls_multi *multi, int op, int key_id);

/** A control packet came for a pending key: the client has not finished that
 *  handshake, and nobody here can. */
void cluster_stuck_control(struct tls_multi *multi);

/** A control packet came for a key that was imported: what it says is lost. */
void cluster_spoke(struct tls_multi *multi);

/** Does the client still have to be rekeyed here? */
bool cluster_rekey_pending(struct tls_multi *multi);

/** Say so, once, when it is done. */
void cluster_rekey_tell(struct tls_multi *multi);

/**
 * What a renegotiation asks of the client's user: "cert" nothing at all,
 * "token" nothing as long as its auth-token is good, which this server finds
 * it to be, "user" a name and password, or whatever the user gave once.
 */
const char *cluster_rekey_auth(struct tls_multi *multi);

/** Packet ids that are left to the key which a moved client is sent to with. */
packet_id_type cluster_rekey_room(struct tls_multi *multi);

/** Seconds until the newest key is old enough to be renegotiated. */
int cluster_rekey_wait(struct tls_multi *multi);

/** May this client be renegotiated now, without harm to a handshake? */
bool cluster_reneg_possible(const struct multi_instance *mi);

/** Renegotiate the client's key. */
void cluster_reneg(struct multi_context *m, struct multi_instance *mi);

/** Tell a client to reconnect, through the data channel. */
void cluster_kick(struct multi_context *m, struct multi_instance *mi);

/** Help a moved client that needs it. To be called every second. */
void cluster_heal(struct multi_context *m, struct multi_instance *mi);

#else  /* ifdef ENABLE_CLUSTER */

static inline void
cluster_unknown_key(struct tls_multi *multi, bool floated, int key_id)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_REKEY_H */
