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
 * @file cluster_frame.c
 * Frames that say where addresses are; see cluster_frame.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_frame.h"

#include "memdbg.h"

/** Shortest frame, without its checksum. */
#define FRAME_MIN 60

#define ETHERTYPE_OF_ARP 0x0806
#define ETHERTYPE_OF_RARP 0x8035
#define ETHERTYPE_OF_IPV6 0x86dd

/** @name What an ARP message asks
 *  @{ */
#define ARP_IS_REQUEST 1
#define RARP_IS_REQUEST 3
/** @} */

/** Bytes of an advertisement with the option that has the MAC address. */
#define ADVERTISEMENT_SIZE 32

/** @name Where what is looked for stands in a frame
 *  @{ */
#define AT_ETHERTYPE 12
#define AT_ARP 14
#define AT_ARP_TARGET 38
#define AT_NEXT_HEADER 20
#define AT_ICMPV6 54
#define AT_SOLICITED 62
/** @} */

static const uint8_t everybody[CLUSTER_MAC_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/** Of the group of all nodes, ff02::1. */
static const uint8_t all_nodes[CLUSTER_MAC_SIZE] = { 0x33, 0x33, 0, 0, 0, 1 };

static void
put_head(struct buffer *out, const uint8_t *to, const uint8_t *from, uint16_t ethertype)
{
    buf_write(out, to, CLUSTER_MAC_SIZE);
    buf_write(out, from, CLUSTER_MAC_SIZE);
    buf_write_u16(out, ethertype);
}

static void
put_zeros(struct buffer *out, int n)
{
    while (n-- > 0)
    {
        buf_write_u8(out, 0);
    }
}

/** @param target        NULL: unknown */
static void
put_arp(struct buffer *out, uint16_t operation, const uint8_t *mac, const uint8_t *target,
        struct in_addr address)
{
    buf_write_u16(out, 1); /* Ethernet */
    buf_write_u16(out, 0x0800);
    buf_write_u8(out, CLUSTER_MAC_SIZE);
    buf_write_u8(out, sizeof(address));
    buf_write_u16(out, operation);
    buf_write(out, mac, CLUSTER_MAC_SIZE);
    buf_write(out, &address, sizeof(address));
    if (target)
    {
        buf_write(out, target, CLUSTER_MAC_SIZE);
    }
    else
    {
        put_zeros(out, CLUSTER_MAC_SIZE);
    }
    buf_write(out, &address, sizeof(address));
    put_zeros(out, FRAME_MIN - BLEN(out));
}

void
cluster_frame_rarp(struct buffer *out, const uint8_t *mac)
{
    const struct in_addr unknown = { 0 };

    put_head(out, everybody, mac, ETHERTYPE_OF_RARP);
    put_arp(out, RARP_IS_REQUEST, mac, mac, unknown);
}

void
cluster_frame_arp(struct buffer *out, const uint8_t *mac, struct in_addr address)
{
    put_head(out, everybody, mac, ETHERTYPE_OF_ARP);
    put_arp(out, ARP_IS_REQUEST, mac, NULL, address);
}

/** The sum of the Internet checksum (RFC 1071) over an even number of bytes. */
static uint32_t
sum_of(const uint8_t *bytes, int n)
{
    uint32_t sum = 0;

    for (int i = 0; i < n; i += 2)
    {
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    }
    return sum;
}

static uint16_t
fold(uint32_t sum)
{
    while (sum >> 16)
    {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static void
put_advertisement(struct buffer *out, const uint8_t *mac, const struct in6_addr *address)
{
    buf_write_u8(out, 136);
    buf_write_u8(out, 0);
    buf_write_u16(out, 0);          /* the checksum */
    buf_write_u32(out, 0xa0000000); /* from a router, overrides */
    buf_write(out, address, sizeof(*address));
    buf_write_u8(out, 2);           /* the MAC address, in one unit of 8 bytes */
    buf_write_u8(out, 1);
    buf_write(out, mac, CLUSTER_MAC_SIZE);
}

void
cluster_frame_advertisement(struct buffer *out, const uint8_t *mac, const struct in6_addr *address)
{
    const struct in6_addr group = { .s6_addr = { 0xff, 2, [15] = 1 } };

    put_head(out, all_nodes, mac, ETHERTYPE_OF_IPV6);
    buf_write_u32(out, 0x60000000);
    buf_write_u16(out, ADVERTISEMENT_SIZE);
    buf_write_u8(out, IPPROTO_ICMPV6);
    buf_write_u8(out, 255);
    buf_write(out, address, sizeof(*address));
    buf_write(out, &group, sizeof(group));

    uint8_t *message = BEND(out);
    put_advertisement(out, mac, address);
    const uint16_t sum = fold(sum_of(address->s6_addr, sizeof(*address))
                              + sum_of(group.s6_addr, sizeof(group))
                              + ADVERTISEMENT_SIZE + IPPROTO_ICMPV6
                              + sum_of(message, ADVERTISEMENT_SIZE));
    message[2] = (uint8_t)(sum >> 8);
    message[3] = (uint8_t)sum;
}

static bool
is_ethertype(const struct buffer *frame, uint16_t ethertype)
{
    const uint8_t *at = BPTR(frame) + AT_ETHERTYPE;

    return (at[0] << 8 | at[1]) == ethertype;
}

bool
cluster_frame_question(const struct buffer *frame, struct cluster_addr *target)
{
    const uint8_t request[] = { 0, 1, 8, 0, CLUSTER_MAC_SIZE, 4, 0, ARP_IS_REQUEST };
    const uint8_t *bytes = BPTR(frame);

    CLEAR(*target);
    if (BLEN(frame) >= AT_ARP_TARGET + 4 && is_ethertype(frame, ETHERTYPE_OF_ARP)
        && !memcmp(bytes + AT_ARP, request, sizeof(request)))
    {
        target->family = AF_INET;
        memcpy(&target->ip.in4, bytes + AT_ARP_TARGET, sizeof(target->ip.in4));
    }
    else if (BLEN(frame) >= AT_SOLICITED + 16 && is_ethertype(frame, ETHERTYPE_OF_IPV6)
             && bytes[AT_NEXT_HEADER] == IPPROTO_ICMPV6 && bytes[AT_ICMPV6] == 135)
    {
        target->family = AF_INET6;
        memcpy(&target->ip.in6, bytes + AT_SOLICITED, sizeof(target->ip.in6));
    }
    return target->family;
}

#endif /* ifdef ENABLE_CLUSTER */
