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
 * @file cluster_value.h
 * Inside of the record codec: one type of value is written by one function and
 * read by another. What fields there are is the table in cluster_record.c.
 */

#ifndef CLUSTER_VALUE_H
#define CLUSTER_VALUE_H

#ifdef ENABLE_CLUSTER

#include "cluster_record.h"

/** Longest value of a field. */
#define CLUSTER_VALUE_MAX UINT16_MAX

/** How one type of value is written and read. */
struct cluster_value_type
{
    uint16_t min;               /**< bytes */
    uint16_t max;
    int most;                   /**< how often in a record */

    /** Gets the bytes of one value, min to max of them; answers NULL or what
     *  is wrong with them. */
    const char *(*read)(void *at, struct buffer *in);

    /** Writes no, one or several fields; false if that is impossible. */
    bool (*write)(const void *at, uint16_t tag, struct buffer *out);
};

/** @name Types whose value is one member of struct cluster_record
 *  @{ */
extern const struct cluster_value_type cluster_type_u32;
extern const struct cluster_value_type cluster_type_u64;
extern const struct cluster_value_type cluster_type_peer_id;
extern const struct cluster_value_type cluster_type_record_flags;
extern const struct cluster_value_type cluster_type_crypto_flags;
extern const struct cluster_value_type cluster_type_key_id;
extern const struct cluster_value_type cluster_type_id8;
extern const struct cluster_value_type cluster_type_in6;
extern const struct cluster_value_type cluster_type_remote;
extern const struct cluster_value_type cluster_type_wrap_pid;
extern const struct cluster_value_type cluster_type_key2;
extern const struct cluster_value_type cluster_type_last_message;
extern const struct cluster_value_type cluster_type_algorithm;
extern const struct cluster_value_type cluster_type_raw;
extern const struct cluster_value_type cluster_type_line;
extern const struct cluster_value_type cluster_type_environment;
extern const struct cluster_value_type cluster_type_macs;
extern const struct cluster_value_type cluster_type_spoken_to;
/** @} */

/** @name Types that take the whole struct cluster_record
 *  @{ */
extern const struct cluster_value_type cluster_type_ifconfig;
extern const struct cluster_value_type cluster_type_ifconfig_ipv6;
extern const struct cluster_value_type cluster_type_arrival;
extern const struct cluster_value_type cluster_type_ages;
extern const struct cluster_value_type cluster_type_bytes;
extern const struct cluster_value_type cluster_type_keys;
extern const struct cluster_value_type cluster_type_cert_hashes;
/** @} */

static inline uint32_t
cluster_get_u32(struct buffer *in)
{
    bool good;
    return buf_read_u32(in, &good);
}

static inline uint64_t
cluster_get_u64(struct buffer *in)
{
    const uint64_t high = cluster_get_u32(in);
    return (high << 32) | cluster_get_u32(in);
}

static inline bool
cluster_put_u64(struct buffer *out, uint64_t value)
{
    return buf_write_u32(out, (uint32_t)(value >> 32)) && buf_write_u32(out, (uint32_t)value);
}

/** Fails instead of cutting off what a byte does not hold. */
static inline bool
cluster_put_u8(struct buffer *out, unsigned int value)
{
    return value <= UINT8_MAX && buf_write_u8(out, (uint8_t)value);
}

static inline bool
cluster_put_head(struct buffer *out, uint16_t tag, size_t length)
{
    return length <= CLUSTER_VALUE_MAX && buf_write_u16(out, tag) && buf_write_u16(out, (uint16_t)length);
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_VALUE_H */
