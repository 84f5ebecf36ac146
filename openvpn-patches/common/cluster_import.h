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
 * @file cluster_import.h
 * From the record of a client to an instance that can go on serving it.
 *
 * @code
 *   record ── check ──► no instance of this uid ──► create ──┐
 *               │                                            ├─► update: keys,
 *               │       one, with the same options ─► move ──┘   session, counters
 *               └─────► refused, with a code: what was here stays as it was
 * @endcode
 *
 * What can go wrong, and what answers it:
 *
 * - The record comes from the network: cluster_record_decode() has checked its
 *   form, cluster_import_check() what it says, before anything is changed.
 * - Another client has the address, or the virtual address: which of the two
 *   goes is decided by arrival, see cluster_route.h.
 * - The ranges are another holder's, or this process has sent with such keys:
 *   an import is an order for a standby only (rules R4 and R5).
 * - It has a key that the client sends with, but that nobody sends with any more:
 *   no packet id of it will ever be here, see cluster_range_receive_only().
 * - It is older than what is here: counters and replay windows never go back.
 */

#ifndef CLUSTER_IMPORT_H
#define CLUSTER_IMPORT_H

#ifdef ENABLE_CLUSTER

#include "cluster_range.h"
#include "cluster_record.h"

struct link_socket_actual;
struct mroute_addr;
struct multi_context;
struct multi_instance;
struct options;
struct tls_multi;

/** A range for this process, as a record brings it. */
struct cluster_import_grant
{
    uint8_t fp[CLUSTER_FP_SIZE];
    struct cluster_range range;
};

/** Most grants a record brings. */
#define CLUSTER_IMPORT_GRANTS_MAX 32

/** What came with a record. */
struct cluster_import_grants
{
    int n;
    struct cluster_import_grant list[CLUSTER_IMPORT_GRANTS_MAX];
};

/**
 * Create the instance of a record, or bring an existing one up to date in
 * place: keys that it has keep their packet ids. A record is refused whole:
 * then nothing has changed and no half-made instance is left.
 *
 * @param rec           as decoded
 * @param grants        ranges granted to this process
 * @param why           the reason if it is refused
 *
 * @return the instance, NULL if the record is refused
 */
struct multi_instance *cluster_import(struct multi_context *m,
                                      const struct cluster_record *rec,
                                      const struct cluster_import_grants *grants,
                                      struct cluster_reason *why);

/** @name Shared by the files that import
 *  @{ */

/** The record's key in this slot, or NULL. */
const struct cluster_key *cluster_key_in_slot(const struct cluster_record *rec,
                                              enum cluster_key_slot slot);

/** Is there a key, and is this its fingerprint? */
bool cluster_fp_equal(const struct cluster_key *key, const uint8_t *fp);

/**
 * Can this record become, or update, an instance?
 *
 * @param mi            the instance with its uid, or NULL
 * @param real          its address
 */
bool cluster_import_check(struct multi_context *m, const struct multi_instance *mi,
                          const struct cluster_record *rec, const struct mroute_addr *real,
                          const struct cluster_import_grants *grants,
                          struct cluster_reason *why);

/**
 * Are cipher and digest of a record what a client with these options may have?
 * Its own options may name ciphers that those of the server do not.
 */
bool cluster_check_crypto(const struct options *o, const struct cluster_record *rec,
                          struct cluster_reason *why);

/** Who a client is: all that a script or plugin is told of it. */
void cluster_import_identity(struct tls_multi *multi, const struct cluster_record *rec);

/** Bring keys and control channel of a client up to date. */
void cluster_import_session(struct tls_multi *multi, const struct cluster_record *rec,
                            const struct cluster_import_grants *grants,
                            const struct link_socket_actual *remote);

/** Counters never go back. */
static inline counter_type
cluster_max_counter(counter_type a, counter_type b)
{
    return a > b ? a : b;
}

/** @} name Shared by the files that import */

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_IMPORT_H */
