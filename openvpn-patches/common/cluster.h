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
 * @file cluster.h
 * --cluster: the role of this process, and what follows from it.
 *
 * Of several OpenVPN servers that share an address one is \e master, the
 * others are \e standby. A standby holds every client of the master, with its
 * keys, ready to go on; it is told by a management client which drives the
 * cluster, see doc/management-notes.txt. What this file must never do:
 *
 * - A standby or held process sends nothing to a client, writes nothing into
 *   the tun and runs no client's timers, whatever arrives.
 * - A process that was promoted imports nothing until it was demoted, which
 *   drops all clients and keys and draws a new holder id.
 *
 * The role is changed here and nowhere else. Everything is inert, and compiles
 * to nothing, unless --cluster is used. What the rest of OpenVPN calls is in the
 * headers that this one includes.
 */

#ifndef CLUSTER_H
#define CLUSTER_H

#include "cluster_client.h"
#include "cluster_event.h"
#include "cluster_quiesce.h"
#include "cluster_range.h"
#include "cluster_rekey.h"
#include "cluster_reset.h"
#include "cluster_route.h"
#include "cluster_spare_hook.h"
#include "cluster_state.h"
#include "cluster_wait.h"

struct multi_context;

#ifdef ENABLE_CLUSTER

/** Start as standby, if the options say --cluster. */
void cluster_init(struct multi_context *m);

/** Forget the state; to be called when all instances are closed. */
void cluster_uninit(void);

/**
 * Become master: constant small work per client. A master or a held server that
 * is given another epoch than its own has heard of another master: its senders
 * then jump over every range that was granted.
 *
 * @param epoch         remembered for cluster-status, may be NULL
 *
 * @return number of clients
 */
int cluster_promote(struct multi_context *m, const char *epoch);

/** Fall silent, keeping everything. Returns the number of clients. */
int cluster_hold(struct multi_context *m);

/** Drop everything in silence and draw a new holder id. Returns the number of
 * clients that were dropped. */
int cluster_demote(struct multi_context *m);

/**
 * A signal ends or restarts this process. Are the clients to be left without a
 * word? A goodbye makes them reconnect, and is for those who have nobody else:
 * not while another server has them and goes on, nor once the address that they
 * know has left this host. A master that leaves so is silent from here on; one
 * that says goodbye begins no session any more, see cluster_doubt_reset().
 */
bool cluster_leave(struct multi_context *m);

/** Read and drop what arrived on the link and the tun of a silent process. */
void cluster_drain(struct multi_context *m, unsigned int status);

/** See that cluster_per_second() is called every second of a busy master, and
 *  that a new one says what it has to. */
void cluster_limit_timeout(struct multi_context *m);

#else  /* ifdef ENABLE_CLUSTER */

static inline void
cluster_init(struct multi_context *m)
{
}

static inline void
cluster_uninit(void)
{
}

static inline bool
cluster_leave(struct multi_context *m)
{
    return false;
}

static inline void
cluster_drain(struct multi_context *m, unsigned int status)
{
}

static inline void
cluster_limit_timeout(struct multi_context *m)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_H */
