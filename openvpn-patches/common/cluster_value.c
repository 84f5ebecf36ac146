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
 * @file cluster_value.c
 * The types of value in a client's record, see cluster_value.h: numbers,
 * addresses, counters, control channel keys and certificate hashes. Bytes that
 * are read come from a network and nobody vouches for them.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_value.h"
#include "ssl_pkt.h"

#include "memdbg.h"

/** All flags of struct crypto_options that this format knows. */
#define CRYPTO_FLAGS ((CO_USE_DYNAMIC_TLS_CRYPT << 1) - 1)

static bool
all_zero(const uint8_t *data, size_t length)
{
    uint8_t any = 0;
    for (size_t i = 0; i < length; i++)
    {
        any |= data[i];
    }
    return !any;
}

static const char *
read_u32(void *at, struct buffer *in)
{
    *(uint32_t *)at = cluster_get_u32(in);
    return NULL;
}

static bool
write_u32(const void *at, uint16_t tag, struct buffer *out)
{
    return cluster_put_head(out, tag, 4) && buf_write_u32(out, *(const uint32_t *)at);
}

const struct cluster_value_type cluster_type_u32 = { 4, 4, 1, read_u32, write_u32 };

static const char *
read_u64(void *at, struct buffer *in)
{
    *(uint64_t *)at = cluster_get_u64(in);
    return NULL;
}

static bool
write_u64(const void *at, uint16_t tag, struct buffer *out)
{
    return cluster_put_head(out, tag, 8) && cluster_put_u64(out, *(const uint64_t *)at);
}

const struct cluster_value_type cluster_type_u64 = { 8, 8, 1, read_u64, write_u64 };

static const char *
read_peer_id(void *at, struct buffer *in)
{
    const uint32_t value = cluster_get_u32(in);
    *(uint32_t *)at = value;
    return value > 0xFFFFFF ? "above 0xFFFFFF" : NULL;
}

const struct cluster_value_type cluster_type_peer_id = { 4, 4, 1, read_peer_id, write_u32 };

static const char *
read_record_flags(void *at, struct buffer *in)
{
    const uint32_t value = cluster_get_u32(in);
    *(uint32_t *)at = value;
    return value & ~(uint32_t)CLUSTER_RECORD_FLAGS ? "unknown flag" : NULL;
}

const struct cluster_value_type cluster_type_record_flags = { 4, 4, 1, read_record_flags, write_u32 };

static const char *
read_crypto_flags(void *at, struct buffer *in)
{
    const uint32_t value = cluster_get_u32(in);
    *(uint32_t *)at = value;
    return value & ~(uint32_t)CRYPTO_FLAGS ? "unknown flag" : NULL;
}

const struct cluster_value_type cluster_type_crypto_flags = { 4, 4, 1, read_crypto_flags, write_u32 };

static const char *
read_key_id(void *at, struct buffer *in)
{
    const int value = buf_read_u8(in);
    *(int *)at = value;
    return value > P_KEY_ID_MASK ? "above 7" : NULL;
}

static bool
write_key_id(const void *at, uint16_t tag, struct buffer *out)
{
    return cluster_put_head(out, tag, 1) && cluster_put_u8(out, (unsigned int)*(const int *)at);
}

const struct cluster_value_type cluster_type_key_id = { 1, 1, 1, read_key_id, write_key_id };

/** uid and session id: 8 bytes, not all of them zero. */
static const char *
read_id8(void *at, struct buffer *in)
{
    buf_read(in, at, 8);
    return all_zero(at, 8) ? "zero" : NULL;
}

static bool
write_id8(const void *at, uint16_t tag, struct buffer *out)
{
    return cluster_put_head(out, tag, 8) && buf_write(out, at, 8);
}

const struct cluster_value_type cluster_type_id8 = { 8, 8, 1, read_id8, write_id8 };

/*
 * Addresses
 */

static const char *
check_ipv4(uint32_t addr)
{
    return addr == 0 || addr >= 0xE0000000 ? "not a unicast address" : NULL;
}

static const char *
check_ipv6(const struct in6_addr *addr)
{
    return IN6_IS_ADDR_UNSPECIFIED(addr) || IN6_IS_ADDR_MULTICAST(addr)
           ? "not a unicast address" : NULL;
}

static const char *
read_in6(void *at, struct buffer *in)
{
    buf_read(in, at, sizeof(struct in6_addr));
    return NULL;
}

static bool
write_in6(const void *at, uint16_t tag, struct buffer *out)
{
    return cluster_put_head(out, tag, 16) && buf_write(out, at, 16);
}

const struct cluster_value_type cluster_type_in6 = { 16, 16, 1, read_in6, write_in6 };

static const char *
read_remote(void *at, struct buffer *in)
{
    struct cluster_addr *remote = at;
    const char *bad = NULL;

    if (BLEN(in) == 6)
    {
        remote->family = AF_INET;
        buf_read(in, &remote->ip.in4, 4);
        bad = check_ipv4(ntohl(remote->ip.in4.s_addr));
    }
    else if (BLEN(in) == 18)
    {
        remote->family = AF_INET6;
        buf_read(in, &remote->ip.in6, 16);
        bad = check_ipv6(&remote->ip.in6);
    }
    else
    {
        return "neither IPv4 nor IPv6";
    }
    remote->port = (uint16_t)buf_read_u16(in);
    return remote->port ? bad : "no port";
}

static bool
write_remote(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_addr *remote = at;
    const bool v4 = remote->family == AF_INET;
    const int size = v4 ? 4 : 16;

    return (v4 || remote->family == AF_INET6)
           && cluster_put_head(out, tag, size + 2)
           && buf_write(out, &remote->ip, size)
           && buf_write_u16(out, remote->port);
}

const struct cluster_value_type cluster_type_remote = { 6, 18, 1, read_remote, write_remote };

static const char *
read_spoken_to(void *at, struct buffer *in)
{
    struct cluster_addr *addr = at;

    if (BLEN(in) == 4)
    {
        addr->family = AF_INET;
        buf_read(in, &addr->ip.in4, 4);
        return check_ipv4(ntohl(addr->ip.in4.s_addr));
    }
    if (BLEN(in) == 16)
    {
        addr->family = AF_INET6;
        buf_read(in, &addr->ip.in6, 16);
        return check_ipv6(&addr->ip.in6);
    }
    return "neither IPv4 nor IPv6";
}

static bool
write_spoken_to(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_addr *addr = at;
    const int size = addr->family == AF_INET ? 4 : 16;

    return !addr->family
           || (cluster_put_head(out, tag, (size_t)size) && buf_write(out, &addr->ip, (size_t)size));
}

const struct cluster_value_type cluster_type_spoken_to = {
    4, 16, 1, read_spoken_to, write_spoken_to
};

static const char *
read_ifconfig(void *at, struct buffer *in)
{
    struct cluster_record *rec = at;
    rec->ifconfig_defined = true;
    rec->ifconfig_local = cluster_get_u32(in);
    rec->ifconfig_remote_netmask = cluster_get_u32(in);
    rec->ifconfig_local_alias = cluster_get_u32(in);
    return rec->ifconfig_local ? NULL : "zero";
}

static bool
write_ifconfig(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_record *rec = at;
    return !rec->ifconfig_defined
           || (cluster_put_head(out, tag, 12)
               && buf_write_u32(out, rec->ifconfig_local)
               && buf_write_u32(out, rec->ifconfig_remote_netmask)
               && buf_write_u32(out, rec->ifconfig_local_alias));
}

const struct cluster_value_type cluster_type_ifconfig = { 12, 12, 1, read_ifconfig, write_ifconfig };

static const char *
read_ifconfig_ipv6(void *at, struct buffer *in)
{
    struct cluster_record *rec = at;
    rec->ifconfig_ipv6_defined = true;
    buf_read(in, &rec->ifconfig_ipv6_local, 16);
    buf_read(in, &rec->ifconfig_ipv6_remote, 16);
    rec->ifconfig_ipv6_netbits = buf_read_u8(in);
    return rec->ifconfig_ipv6_netbits > 128 ? "prefix longer than 128" : NULL;
}

static bool
write_ifconfig_ipv6(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_record *rec = at;
    return !rec->ifconfig_ipv6_defined
           || (cluster_put_head(out, tag, 33)
               && buf_write(out, &rec->ifconfig_ipv6_local, 16)
               && buf_write(out, &rec->ifconfig_ipv6_remote, 16)
               && cluster_put_u8(out, (unsigned int)rec->ifconfig_ipv6_netbits));
}

const struct cluster_value_type cluster_type_ifconfig_ipv6 = {
    33, 33, 1, read_ifconfig_ipv6, write_ifconfig_ipv6
};

static const char *
read_arrival(void *at, struct buffer *in)
{
    struct cluster_record *rec = at;
    rec->arrival = cluster_get_u64(in);
    rec->routes = (uint32_t)buf_read_u8(in) & CLUSTER_ROUTE_ALL;
    return NULL;
}

static bool
write_arrival(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_record *rec = at;
    return (!rec->arrival && rec->routes == CLUSTER_ROUTE_ALL)
           || (cluster_put_head(out, tag, 9)
               && cluster_put_u64(out, rec->arrival)
               && cluster_put_u8(out, rec->routes));
}

const struct cluster_value_type cluster_type_arrival = { 9, 9, 1, read_arrival, write_arrival };

/*
 * MAC addresses
 */

/** Bytes of an address and its VLAN. */
#define MAC_SIZE (CLUSTER_MAC_SIZE + 2)

/** Highest VLAN id. */
#define VID_MAX 4094

static const char *
read_macs(void *at, struct buffer *in)
{
    struct cluster_macs *macs = at;

    if (BLEN(in) % MAC_SIZE)
    {
        return "not a list of MAC addresses";
    }
    while (BLEN(in))
    {
        struct cluster_mac mac;

        buf_read(in, mac.addr, sizeof(mac.addr));
        mac.vid = (uint16_t)buf_read_u16(in);
        if ((mac.addr[0] & 1) || mac.vid > VID_MAX)
        {
            return "one that no host has, or a VLAN that there is not";
        }
        cluster_macs_add(macs, &mac);
    }
    return NULL;
}

static bool
write_macs(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_macs *macs = at;
    bool good = !macs->n || cluster_put_head(out, tag, (size_t)macs->n * MAC_SIZE);

    for (int i = 0; good && i < macs->n; i++)
    {
        good = buf_write(out, macs->list[i].addr, CLUSTER_MAC_SIZE)
               && buf_write_u16(out, macs->list[i].vid);
    }
    return good;
}

const struct cluster_value_type cluster_type_macs = {
    MAC_SIZE, CLUSTER_MACS_MAX * MAC_SIZE, 1, read_macs, write_macs
};

bool
cluster_addr_from_sockaddr(struct cluster_addr *addr, const struct sockaddr *sa)
{
    CLEAR(*addr);
    addr->family = sa->sa_family;
    if (sa->sa_family == AF_INET)
    {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)sa;
        addr->ip.in4 = in4->sin_addr;
        addr->port = ntohs(in4->sin_port);
        return true;
    }
    if (sa->sa_family == AF_INET6)
    {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        addr->ip.in6 = in6->sin6_addr;
        addr->port = ntohs(in6->sin6_port);
        return true;
    }
    return false;
}

void
cluster_addr_to_sockaddr(const struct cluster_addr *addr, struct sockaddr_storage *ss)
{
    CLEAR(*ss);
    ss->ss_family = addr->family;
    if (addr->family == AF_INET)
    {
        struct sockaddr_in *in4 = (struct sockaddr_in *)ss;
        in4->sin_addr = addr->ip.in4;
        in4->sin_port = htons(addr->port);
    }
    else
    {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
        in6->sin6_addr = addr->ip.in6;
        in6->sin6_port = htons(addr->port);
    }
}

/*
 * Ages, counters, packet ids of the control channel
 */

static const char *
read_ages(void *at, struct buffer *in)
{
    struct cluster_record *rec = at;
    rec->inactivity_age = cluster_get_u32(in);
    rec->session_age = cluster_get_u32(in);
    rec->token_age = cluster_get_u32(in);
    return NULL;
}

static bool
write_ages(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_record *rec = at;
    return cluster_put_head(out, tag, 12)
           && buf_write_u32(out, rec->inactivity_age)
           && buf_write_u32(out, rec->session_age)
           && buf_write_u32(out, rec->token_age);
}

const struct cluster_value_type cluster_type_ages = { 12, 12, 1, read_ages, write_ages };

static const char *
read_bytes(void *at, struct buffer *in)
{
    struct cluster_record *rec = at;
    rec->bytes_read = cluster_get_u64(in);
    rec->bytes_written = cluster_get_u64(in);
    return NULL;
}

static bool
write_bytes(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_record *rec = at;
    return cluster_put_head(out, tag, 16)
           && cluster_put_u64(out, rec->bytes_read)
           && cluster_put_u64(out, rec->bytes_written);
}

const struct cluster_value_type cluster_type_bytes = { 16, 16, 1, read_bytes, write_bytes };

static const char *
read_wrap_pid(void *at, struct buffer *in)
{
    struct cluster_wrap_pid *pid = at;
    pid->defined = true;
    pid->send_time = cluster_get_u32(in);
    pid->send_id = cluster_get_u32(in);
    pid->rec_time = cluster_get_u32(in);
    pid->rec_id = cluster_get_u32(in);
    return NULL;
}

static bool
write_wrap_pid(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_wrap_pid *pid = at;
    return !pid->defined
           || (cluster_put_head(out, tag, 16)
               && buf_write_u32(out, pid->send_time)
               && buf_write_u32(out, pid->send_id)
               && buf_write_u32(out, pid->rec_time)
               && buf_write_u32(out, pid->rec_id));
}

const struct cluster_value_type cluster_type_wrap_pid = { 16, 16, 1, read_wrap_pid, write_wrap_pid };

/*
 * The message of a pending key
 */

/** The id below which all is received, one packet's length, id and a byte. */
#define MESSAGE_MIN (4 + 2 + 4 + 1)

static const char *
check_message(struct buffer in)
{
    int packets = 0;

    buf_advance(&in, 4);
    while (BLEN(&in))
    {
        const int length = buf_read_u16(&in);
        if (length < 5 || length > BLEN(&in) || ++packets > CLUSTER_LAST_MESSAGE_PACKETS)
        {
            return "not a list of control packets";
        }
        buf_advance(&in, length);
    }
    return NULL;
}

static const char *
read_message(void *at, struct buffer *in)
{
    struct cluster_last_message *message = at;
    const char *bad = check_message(*in);

    message->len = BLEN(in);
    buf_read(in, message->bytes, message->len);
    return bad;
}

static bool
write_message(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_last_message *message = at;

    return !message->len
           || (cluster_put_head(out, tag, (size_t)message->len)
               && buf_write(out, message->bytes, (size_t)message->len));
}

const struct cluster_value_type cluster_type_last_message = {
    MESSAGE_MIN, CLUSTER_LAST_MESSAGE_MAX, 1, read_message, write_message
};

/*
 * Control channel keys, certificate hashes
 */

/** What tls-crypt uses of each part of a struct key: AES-256-CTR, HMAC-SHA256. */
#define WRAP_KEY_SIZE 32

/** Two directions, a cipher and an HMAC key each. */
#define WRAP_FIELD_SIZE (2 * 2 * WRAP_KEY_SIZE)

static const char *
read_key2(void *at, struct buffer *in)
{
    struct key2 *key2 = at;

    secure_memzero(key2->keys, sizeof(key2->keys));
    key2->n = 2;
    for (int i = 0; i < 2; i++)
    {
        buf_read(in, key2->keys[i].cipher, WRAP_KEY_SIZE);
        buf_read(in, key2->keys[i].hmac, WRAP_KEY_SIZE);
    }
    return NULL;
}

static bool
write_key2(const void *at, uint16_t tag, struct buffer *out)
{
    const struct key2 *key2 = at;
    bool good = key2->n != 2 || cluster_put_head(out, tag, WRAP_FIELD_SIZE);

    for (int i = 0; good && i < key2->n; i++)
    {
        good = buf_write(out, key2->keys[i].cipher, WRAP_KEY_SIZE)
               && buf_write(out, key2->keys[i].hmac, WRAP_KEY_SIZE);
    }
    return good;
}

const struct cluster_value_type cluster_type_key2 = {
    WRAP_FIELD_SIZE, WRAP_FIELD_SIZE, 1, read_key2, write_key2
};

static const char *
read_cert_hash(void *at, struct buffer *in)
{
    struct cluster_record *rec = at;
    const int depth = buf_read_u8(in);

    if (depth >= MAX_CERT_DEPTH || (rec->cert_depths & (1u << depth)))
    {
        return "depth too large or given twice";
    }
    rec->cert_depths |= 1u << depth;
    buf_read(in, rec->cert_hash[depth].sha256_hash, sizeof(rec->cert_hash[depth].sha256_hash));
    return NULL;
}

static bool
write_cert_hashes(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_record *rec = at;
    bool good = true;

    for (int depth = 0; good && depth < MAX_CERT_DEPTH; depth++)
    {
        const struct cert_hash *hash = &rec->cert_hash[depth];
        good = !(rec->cert_depths & (1u << depth))
               || (cluster_put_head(out, tag, 1 + sizeof(hash->sha256_hash))
                   && cluster_put_u8(out, (unsigned int)depth)
                   && buf_write(out, hash->sha256_hash, sizeof(hash->sha256_hash)));
    }
    return good;
}

const struct cluster_value_type cluster_type_cert_hashes = {
    33, 33, MAX_CERT_DEPTH, read_cert_hash, write_cert_hashes
};

#endif /* ifdef ENABLE_CLUSTER */
