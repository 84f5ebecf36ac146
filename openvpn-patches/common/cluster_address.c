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
 * @file cluster_address.c
 * Addresses that servers share; see cluster_address.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_address.h"
#include "cluster_record.h"
#include "socket.h"

#include "memdbg.h"

static struct in6_addr
mapped(const struct in_addr *in4)
{
    struct in6_addr ret = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

    memcpy(ret.s6_addr + 12, in4, sizeof(*in4));
    return ret;
}

static bool
read_text(const char *text, struct in6_addr *addr)
{
    struct in_addr in4;

    if (inet_pton(AF_INET, text, &in4) == 1)
    {
        *addr = mapped(&in4);
        return true;
    }
    return inet_pton(AF_INET6, text, addr) == 1;
}

/** No host has it, or each has one of its own. */
static bool
is_no_shared(const struct in6_addr *addr)
{
    const uint8_t first = addr->s6_addr[12];

    if (IN6_IS_ADDR_V4MAPPED(addr))
    {
        return first == 0 || first == 127 || first >= 224;
    }
    return IN6_IS_ADDR_UNSPECIFIED(addr) || IN6_IS_ADDR_LOOPBACK(addr)
           || IN6_IS_ADDR_MULTICAST(addr) || IN6_IS_ADDR_LINKLOCAL(addr);
}

static bool
has(const struct cluster_addresses *addresses, const struct in6_addr *addr)
{
    for (int i = 0; i < addresses->n; ++i)
    {
        if (IN6_ARE_ADDR_EQUAL(&addresses->list[i], addr))
        {
            return true;
        }
    }
    return false;
}

const char *
cluster_addresses_add(struct cluster_addresses *addresses, const char *text)
{
    struct in6_addr addr;
    int at = addresses->n;

    if (!read_text(text, &addr))
    {
        return "is no address";
    }
    if (is_no_shared(&addr))
    {
        return "is no address that servers can share";
    }
    if (has(addresses, &addr))
    {
        return NULL;
    }
    if (addresses->n == CLUSTER_ADDRESSES_MAX)
    {
        return "is one too many";
    }
    for (; at > 0 && memcmp(&addr, &addresses->list[at - 1], sizeof(addr)) < 0; --at)
    {
        addresses->list[at] = addresses->list[at - 1];
    }
    addresses->list[at] = addr;
    ++addresses->n;
    return NULL;
}

bool
cluster_addresses_of_family(const struct cluster_addresses *addresses, sa_family_t family)
{
    for (int i = 0; i < addresses->n; ++i)
    {
        if (!IN6_IS_ADDR_V4MAPPED(&addresses->list[i]) == (family == AF_INET6))
        {
            return true;
        }
    }
    return false;
}

bool
cluster_addresses_have(const struct cluster_addresses *addresses, const struct sockaddr *sa)
{
    struct in6_addr addr;

    if (sa->sa_family == AF_INET)
    {
        addr = mapped(&((const struct sockaddr_in *)sa)->sin_addr);
        return has(addresses, &addr);
    }
    return sa->sa_family == AF_INET6
           && has(addresses, &((const struct sockaddr_in6 *)sa)->sin6_addr);
}

const char *
cluster_addresses_print(const struct cluster_addresses *addresses, struct gc_arena *gc)
{
    struct buffer out = alloc_buf_gc(CLUSTER_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 1) + 1, gc);
    char text[INET6_ADDRSTRLEN];

    for (int i = 0; i < addresses->n; ++i)
    {
        const struct in6_addr *addr = &addresses->list[i];
        const bool v4 = IN6_IS_ADDR_V4MAPPED(addr);

        inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr->s6_addr + 12 : addr->s6_addr,
                  text, sizeof(text));
        buf_printf(&out, "%s%s", i ? " " : "", text);
    }
    return addresses->n ? BSTR(&out) : "-";
}

void
cluster_address_read(const struct link_socket_actual *actual, struct cluster_addr *spoken_to)
{
    CLEAR(*spoken_to);
    if (actual->dest.addr.sa.sa_family == AF_INET && actual->pi.in4.ipi_spec_dst.s_addr)
    {
        spoken_to->family = AF_INET;
        spoken_to->ip.in4 = actual->pi.in4.ipi_spec_dst;
    }
    else if (actual->dest.addr.sa.sa_family == AF_INET6
             && !IN6_IS_ADDR_UNSPECIFIED(&actual->pi.in6.ipi6_addr))
    {
        spoken_to->family = AF_INET6;
        spoken_to->ip.in6 = actual->pi.in6.ipi6_addr;
    }
}

void
cluster_address_write(struct link_socket_actual *actual, const struct cluster_addr *spoken_to)
{
    CLEAR(actual->pi);
    if (spoken_to->family == AF_INET)
    {
        actual->pi.in4.ipi_spec_dst = spoken_to->ip.in4;
    }
    else if (spoken_to->family == AF_INET6)
    {
        actual->pi.in6.ipi6_addr = spoken_to->ip.in6;
    }
}

bool
cluster_address_fit(struct cluster_addr *addr, sa_family_t family)
{
    if (addr->family == AF_INET && family == AF_INET6)
    {
        addr->ip.in6 = mapped(&(const struct in_addr){ addr->ip.in4.s_addr });
        addr->family = AF_INET6;
    }
    else if (addr->family == AF_INET6 && family == AF_INET
             && IN6_IS_ADDR_V4MAPPED(&addr->ip.in6))
    {
        const struct in6_addr in6 = addr->ip.in6;
        memcpy(&addr->ip.in4, in6.s6_addr + 12, sizeof(addr->ip.in4));
        addr->family = AF_INET;
    }
    return addr->family == family;
}

void
cluster_address_route(struct link_socket_actual *from)
{
    if (from->dest.addr.sa.sa_family == AF_INET)
    {
        from->pi.in4.ipi_ifindex = 0;
    }
    else if (!IN6_IS_ADDR_LINKLOCAL(&from->pi.in6.ipi6_addr))
    {
        /* a link-local address is one of an interface only */
        from->pi.in6.ipi6_ifindex = 0;
    }
}

bool
cluster_address_floats(const struct link_socket_actual *before,
                       const struct link_socket_actual *from)
{
    struct cluster_addr was, is;

    cluster_address_read(before, &was);
    cluster_address_read(from, &is);
    return is.family && link_socket_actual_match(before, from) && memcmp(&was, &is, sizeof(is));
}

bool
cluster_address_moves(const struct cluster_addresses *addresses,
                      const struct link_socket_actual *actual)
{
    struct cluster_addr spoken_to;
    struct sockaddr_storage ss;

    if (!addresses->n)
    {
        return true;
    }
    cluster_address_read(actual, &spoken_to);
    if (!spoken_to.family)
    {
        return false;
    }
    cluster_addr_to_sockaddr(&spoken_to, &ss);
    return cluster_addresses_have(addresses, (const struct sockaddr *)&ss);
}

#endif /* ifdef ENABLE_CLUSTER */
