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
 * The role is known here and nowhere else. Everything is inert, and compiles
 * to nothing, unless --cluster is used.
 */

#ifndef CLUSTER_H
#define CLUSTER_H

#include "cluster_range.h"
#include "cluster_client.h"

struct multi_context;

#ifdef ENABLE_CLUSTER

/** What this process does with its clients. */
enum cluster_role
{
    CLUSTER_STANDBY,            /**< imports, in silence */
    CLUSTER_MASTER,             /**< serves */
    CLUSTER_HELD                /**< was master: keeps all, in silence */
};

/** Room for an epoch word and its NUL. */
#define CLUSTER_EPOCH_SIZE 65

/** State of this process. */
struct cluster
{
    enum cluster_role role;
    struct cluster_holder holder;       /**< what ranges are granted to */
    char epoch[CLUSTER_EPOCH_SIZE];     /**< last one promoted with, or "-" */
    struct hash *uids;                  /**< instances by uid */
    unsigned int capped;                /**< packets dropped for want of an id */
    int reneg_rate;                     /**< per second, for those that wait */
    time_t bytes_reported;              /**< when byte counts were told last */
    bool wait;                          /**< new clients wait to be released */
    int wait_missed;                    /**< nobody released the last ones */
};

/** The state, NULL unless --cluster runs. */
extern struct cluster *cluster;

/** Start as standby, if the options say --cluster. */
void cluster_init(struct multi_context *m);

/** Forget the state; to be called when all instances are closed. */
void cluster_uninit(void);

/** Must this process keep still? */
static inline bool
cluster_silent(void)
{
    return cluster && cluster->role != CLUSTER_MASTER;
}

/** Name of the role, for the management interface. */
const char *cluster_role_name(void);

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

/** Read and drop what arrived on the link and the tun of a silent process. */
void cluster_drain(struct multi_context *m, unsigned int status);

/**
 * Let the control channel of a session send in an epoch that is later than any
 * other server's, whose clock may be ahead of ours.
 */
void cluster_advance_wraps(struct tls_session *session);

/** See that cluster_per_second() is called every second of a busy master. */
void cluster_limit_timeout(struct multi_context *m);

/** Tell what changed in the last second, and start renegotiations. */
void cluster_per_second(struct multi_context *m);

/** Instance with this uid, or NULL. */
struct multi_instance *cluster_lookup(const uint8_t *uid);

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
cluster_silent(void)
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

static inline void
cluster_per_second(struct multi_context *m)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_H */
