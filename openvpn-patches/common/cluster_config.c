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
 * @file cluster_config.c
 * The options of --cluster; see cluster_config.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_address.h"
#include "cluster_config.h"
#include "cluster_record.h"
#include "crypto.h"
#include "manage.h"
#include "tun.h"

#include "memdbg.h"

/** Highest --verb: from 7 on keys are printed. */
#define CLUSTER_VERB_MAX 6

/** OpenVPN's own. */
#define VERB_MAX 15

void
cluster_options_enable(struct options *o)
{
    o->cluster = true;
    o->sockflags |= SF_FREEBIND;
    o->management_flags |= MF_CLUSTER;
    limit_debug_level(CLUSTER_VERB_MAX);
    wipe_lines = true;
}

static const struct connection_entry *
first_entry(const struct options *o)
{
    return o->connection_list ? o->connection_list->array[0] : &o->ce;
}

static bool
is_wildcard(const char *local)
{
    struct in_addr ipv4;
    struct in6_addr ipv6;

    return (inet_aton(local, &ipv4) && ipv4.s_addr == INADDR_ANY)
           || (inet_pton(AF_INET6, local, &ipv6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&ipv6));
}

/** OpenVPN itself would only say that it cannot resolve the address. */
static void
verify_family(const struct connection_entry *ce)
{
    struct in_addr ipv4;
    struct in6_addr ipv6;

    if (ce->af == AF_INET6 && inet_pton(AF_INET, ce->local, &ipv4) == 1)
    {
        msg(M_USAGE, "--cluster with --local %s needs --proto udp4: %s is for IPv6", ce->local,
            proto2ascii(ce->proto, ce->af, false));
    }
    if (ce->af == AF_INET && inet_pton(AF_INET6, ce->local, &ipv6) == 1)
    {
        msg(M_USAGE, "--cluster with --local %s needs --proto udp6: %s is for IPv4", ce->local,
            proto2ascii(ce->proto, ce->af, false));
    }
}

static bool
is_any(const struct connection_entry *ce)
{
    return !ce->local || is_wildcard(ce->local);
}

void
cluster_options_address(struct options *o, const char *text)
{
    const char *bad = cluster_addresses_add(&o->cluster_addresses, text);

    if (bad)
    {
        msg(M_USAGE, "--cluster-address %s %s: give an address that the nodes share, at most %d of "
            "them", text, bad, CLUSTER_ADDRESSES_MAX);
    }
}

void
cluster_options_mutate(struct options *o)
{
    if (o->cluster && is_any(&o->ce))
    {
        /* answers come from the address that was spoken to, and never from one
         * that is not here: without freebind the kernel sees to that */
        o->sockflags |= SF_USE_IP_PKTINFO;
        o->sockflags &= ~SF_FREEBIND;
    }
}

/** Which addresses clients speak to, and whether the socket takes them. */
static void
verify_addresses(const struct options *o)
{
    const struct connection_entry *ce = first_entry(o);
    const struct cluster_addresses *addresses = &o->cluster_addresses;
    const bool ipv4 = cluster_addresses_of_family(addresses, AF_INET);
    const bool ipv6 = cluster_addresses_of_family(addresses, AF_INET6);

    if (!is_any(ce) && addresses->n)
    {
        msg(M_USAGE, "--cluster-address is for a server without --local: remove one of them");
    }
    if (!is_any(ce))
    {
        verify_family(ce);
    }
    else if (!addresses->n)
    {
        msg(M_USAGE, "--cluster needs the address that the nodes share: use --local ADDRESS, or "
            "--cluster-address ADDRESS for each of several");
    }
    else if (ipv6 && ce->af != AF_INET6)
    {
        msg(M_USAGE, "--cluster-address with an IPv6 address needs --proto udp6, which takes IPv4, too");
    }
    else if (ipv4 && ce->bind_ipv6_only)
    {
        msg(M_USAGE, "--cluster-address with an IPv4 address cannot be used with --bind ipv6only");
    }
}

static void
verify_transport(const struct options *o)
{
    const struct connection_entry *ce = first_entry(o);

    if (o->mode != MODE_SERVER || !o->tls_server)
    {
        msg(M_USAGE, "--cluster needs a TLS server: use --server, or --mode server with --tls-server");
    }
    if (!proto_is_udp(ce->proto))
    {
        msg(M_USAGE, "--cluster cannot move TCP connections: use --proto udp");
    }
    verify_addresses(o);
    if (o->dev && dev_type_enum(o->dev, o->dev_type) == DEV_TYPE_TAP
        && o->max_routes_per_client > CLUSTER_MACS_MAX)
    {
        msg(M_USAGE, "--cluster with --dev tap moves at most %d MAC addresses of a client: use "
            "--max-routes-per-client %d or less", CLUSTER_MACS_MAX, CLUSTER_MACS_MAX);
    }
    if (dco_enabled(o))
    {
        msg(M_USAGE, "--cluster cannot move keys that are in the kernel: use --disable-dco");
    }
}

static void
verify_data_channel(const struct options *o)
{
    struct gc_arena gc = gc_new();
    char *ciphers = string_alloc(o->ncp_ciphers, &gc);

    if (!o->replay)
    {
        msg(M_USAGE, "--cluster cannot be used with --no-replay: remove it");
    }
    for (char *cipher; (cipher = strsep(&ciphers, ":")); )
    {
        if (cipher_kt_mode_ofb_cfb(cipher))
        {
            msg(M_USAGE, "--cluster cannot be used with cipher %s: remove it from --data-ciphers", cipher);
        }
    }
    gc_free(&gc);
}

/** The sidecar is the only management client, and answers no questions. */
static void
verify_questions(const struct options *o)
{
    const struct
    {
        unsigned int flag;
        const char *option;
    } questions[] = {
        { MF_CLIENT_AUTH, "--management-client-auth" },
        { MF_HOLD, "--management-hold" },
        { MF_QUERY_PASSWORDS, "--management-query-passwords" },
        { MF_EXTERNAL_KEY, "--management-external-key" },
        { MF_EXTERNAL_CERT, "--management-external-cert" },
    };

    for (size_t i = 0; i < SIZE(questions); ++i)
    {
        if (o->management_flags & questions[i].flag)
        {
            msg(M_USAGE, "--cluster cannot be used with %s: the management interface belongs to "
                "ovpnha, which answers no questions; remove it", questions[i].option);
        }
    }
}

static void
verify_management(const struct options *o)
{
    if (!o->management_addr || !(o->management_flags & MF_UNIX_SOCK)
        || strcmp(np(o->management_port), "unix")
        || (o->management_flags & MF_CONNECT_AS_CLIENT))
    {
        msg(M_USAGE, "--cluster hands out keys through the management interface: use "
            "--management PATH unix, once, without --management-client");
    }
    verify_questions(o);
    if (o->auth_token_generate && !o->auth_token_secret_file)
    {
        msg(M_USAGE, "--cluster with --auth-gen-token needs the same --auth-gen-token-secret "
            "on all nodes");
    }
    if (o->cluster_port < 0 || o->cluster_port > 65535)
    {
        msg(M_USAGE, "--cluster-port is a UDP port, 1 to 65535");
    }
}

/**
 * Locked memory has a limit for whoever is not root. It is lifted now, while
 * we may: imported clients would reach it, and an allocation that fails ends
 * the server.
 */
static void
verify_memory(const struct options *o)
{
#if defined(HAVE_GETRLIMIT) && defined(RLIMIT_MEMLOCK)
    const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

    if (o->mlock && setrlimit(RLIMIT_MEMLOCK, &none) < 0)
    {
        msg(M_USAGE, "--cluster with --mlock needs an unlimited RLIMIT_MEMLOCK: set "
            "LimitMEMLOCK=infinity in the unit of the service, or remove --mlock");
    }
#endif
}

void
cluster_options_add_config(struct options *o, const char *name)
{
    const char *before = o->cluster_configs ? o->cluster_configs : "";
    struct buffer all = alloc_buf_gc(strlen(before) + strlen(name) + 2, &o->gc);

    buf_printf(&all, "%s%s%s", before, before[0] ? "\n" : "", name);
    o->cluster_configs = BSTR(&all);
}

const struct connection_entry *
cluster_options_entry(const struct options *o)
{
    return first_entry(o);
}

void
cluster_options_verify(const struct options *o)
{
    if (o->cluster)
    {
        verify_memory(o);
        verify_transport(o);
        verify_data_channel(o);
        verify_management(o);
        cluster_digest_read_files(o, first_entry(o));
    }
    else if (o->cluster_broadcast_address || o->cluster_port || o->cluster_spare
             || o->cluster_addresses.n)
    {
        msg(M_USAGE, "--cluster-address, --cluster-broadcast-address, --cluster-port and "
            "--cluster-spare need --cluster");
    }
    else
    {
        /* it may have been in the configuration before a SIGHUP */
        limit_debug_level(VERB_MAX);
        wipe_lines = false;
    }
}

#endif /* ifdef ENABLE_CLUSTER */
