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
 * @file cluster_config.h
 * The options of --cluster: what it cannot be combined with, and a digest of
 * what has to be equal on all nodes.
 */

#ifndef CLUSTER_CONFIG_H
#define CLUSTER_CONFIG_H

#include "options.h"

struct tls_root_ctx;

#ifdef ENABLE_CLUSTER

/** Text of a SHA-256, with its NUL. */
#define CLUSTER_DIGEST_SIZE 65

/** --cluster was read. */
void cluster_options_enable(struct options *o);

/** --config was read on the command line: OpenVPN itself keeps the first one. */
void cluster_options_add_config(struct options *o, const char *name);

/** The connection entry that a server uses. */
const struct connection_entry *cluster_options_entry(const struct options *o);

/** --cluster-address was read. */
void cluster_options_address(struct options *o, const char *text);

/** All options were read: a socket for any address has to answer from the right one. */
void cluster_options_mutate(struct options *o);

/** Refuse what cannot work with --cluster, one clear line each. */
void cluster_options_verify(const struct options *o);

/**
 * Groups of options, in the order of their bytes in the digest. The sidecar
 * knows their names; new ones go into the group that they fit best.
 */
enum cluster_digest_group
{
    CLUSTER_DIGEST_SOCKET,    /**< proto, local, port */
    CLUSTER_DIGEST_CONTROL,   /**< tls-auth, tls-crypt, tls-crypt-v2 and their keys, key-direction */
    CLUSTER_DIGEST_SSL,       /**< tls-version-min and -max, verify-client-cert, ... */
    CLUSTER_DIGEST_WINDOWS,   /**< hand-window, tran-window */
    CLUSTER_DIGEST_RENEG,     /**< reneg-sec, reneg-bytes, reneg-pkts */
    CLUSTER_DIGEST_TOKEN,     /**< auth-gen-token */
    CLUSTER_DIGEST_CIPHERS,   /**< data-ciphers, data-ciphers-fallback */
    CLUSTER_DIGEST_AUTH,      /**< auth */
    CLUSTER_DIGEST_REPLAY,    /**< replay-window */
    CLUSTER_DIGEST_KEEPALIVE, /**< keepalive, ping, inactive */
    CLUSTER_DIGEST_MTU,       /**< tun-mtu, mssfix */
    CLUSTER_DIGEST_COMPRESS,  /**< compress, comp-lzo */
    CLUSTER_DIGEST_SERVER,    /**< topology, server, ifconfig */
    CLUSTER_DIGEST_POOL,      /**< ifconfig-pool, ifconfig-ipv6-pool */
    CLUSTER_DIGEST_CLIENTS,   /**< max-clients, duplicate-cn, client-to-client */
    CLUSTER_DIGEST_PUSH,      /**< push */
    CLUSTER_DIGEST_ACCESS,    /**< ca, crl-verify, remote-cert-tls, tls-verify, ... */
    CLUSTER_DIGEST_SCRIPTS,   /**< client-config-dir, client-connect, learn-address, ... */
    CLUSTER_DIGEST_GROUPS
};

/**
 * Read what the digest needs of files, while they can be read: before a change
 * of user or root, and anew when the options are read anew.
 *
 * @param ce  the connection entry that will be used
 */
void cluster_digest_read_files(const struct options *o, const struct connection_entry *ce);

/**
 * Digest over the options that must be equal on all nodes: its version, a
 * colon, and 31 bytes in hex. The first ones are those of a SHA-256 over all of
 * them, then comes one byte of each group: it tells which group differs, in 255
 * of 256 cases. Digests of different versions cannot be compared.
 *
 * @param family  of the socket
 * @param text    of CLUSTER_DIGEST_SIZE bytes
 */
void cluster_options_digest(const struct options *o, sa_family_t family, char *text);

/**
 * SHA-256 of the server's certificate and of its issuer's name, in hex; "-"
 * without a certificate.
 */
void cluster_cert_digest(const struct tls_root_ctx *ctx, char *cert, char *issuer);

#else  /* ifdef ENABLE_CLUSTER */

static inline void
cluster_options_mutate(struct options *o)
{
}

static inline void
cluster_options_verify(const struct options *o)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_CONFIG_H */
