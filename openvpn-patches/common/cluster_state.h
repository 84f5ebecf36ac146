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
 * @file cluster_state.h
 * The state of this process, as far as it concerns no single client. It is
 * changed by cluster.c, and each counter by who counts.
 */

#ifndef CLUSTER_STATE_H
#define CLUSTER_STATE_H

#include "cluster_range.h"

struct cluster_announce;
struct multi_instance;

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
    uint64_t arrivals;                  /**< the highest ever heard of */
    bool importing;                     /**< a record's client learns its addresses */
    int apart;                          /**< clients that speak to an address of
                                         *   this host alone, as last told */
    unsigned int capped;                /**< packets dropped for want of an id */
    int reneg_rate;                     /**< per second, for those that wait */
    int renegs;                         /**< renegotiations that were under way a
                                         *   second ago: so many fewer begin */
    unsigned int read_all;              /**< seconds, from 1 on, in which all
                                         *   that came was read */
    time_t bytes_reported;              /**< when byte counts were told last */
    bool wait;                          /**< new clients wait to be released */
    int wait_lease;                     /**< seconds for which that counts, 0 for ever */
    time_t wait_said;                   /**< when it was said last */
    unsigned int lapses;                /**< how often it was not said again in time */
    unsigned int unreleased;            /**< what waited and went out by itself */
    int wait_missed;                    /**< nobody released the last ones */
    time_t successor_until;             /**< another server has the clients */
    time_t quiesced_until;              /**< nothing begins up to this second, or 0 */
    unsigned int unanswered;            /**< packets that would have begun something */
    int answered;                       /**< first packets that were, and did not come
                                         *   to an instance yet */
    time_t answered_last;               /**< when the last one was */
    struct cluster_announce *announce;  /**< what is left to say of a takeover */
    bool leaving;                       /**< has said goodbye: begins no session */
};

/** The state, NULL unless --cluster runs. */
extern struct cluster *cluster;

/** Must this process keep still? */
static inline bool
cluster_silent(void)
{
    return cluster && cluster->role != CLUSTER_MASTER;
}

/** Name of the role, for the management interface. */
const char *cluster_role_name(void);

/** Instance with this uid, or NULL. */
struct multi_instance *cluster_lookup(const uint8_t *uid);

#else  /* ifdef ENABLE_CLUSTER */

static inline bool
cluster_silent(void)
{
    return false;
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_STATE_H */
