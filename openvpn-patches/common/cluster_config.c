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

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "cluster_config.h"
#include "crypto.h"
#include "manage.h"
#include "pushlist.h"
#include "ssl_backend.h"
#include "ssl_openssl.h"
#include "tun.h"

#include "memdbg.h"

/** Highest --verb: from 7 on keys are printed. */
#define CLUSTER_VERB_MAX 6

void
cluster_options_enable(struct options *o)
{
    o->cluster = true;
    o->sockflags |= SF_FREEBIND;
    o->management_flags |= MF_CLUSTER;
    limit_debug_level(CLUSTER_VERB_MAX);
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
    if (!ce->local || is_wildcard(ce->local))
    {
        msg(M_USAGE, "--cluster needs the address that the nodes share: use --local ADDRESS");
    }
    if (o->sockflags & SF_USE_IP_PKTINFO)
    {
        msg(M_USAGE, "--cluster cannot be used with --multihome: remove it, --local names the address");
    }
    if (o->dev && dev_type_enum(o->dev, o->dev_type) != DEV_TYPE_TUN)
    {
        msg(M_USAGE, "--cluster cannot move learnt MAC addresses: use --dev tun instead of tap");
    }
    if (dco_enabled(o))
    {
        msg(M_USAGE, "--cluster cannot move keys that are in the kernel: use --disable-dco");
    }
}

static void
verify_data_channel(const struct options *o)
{
    const struct connection_entry *ce = first_entry(o);
    struct gc_arena gc = gc_new();
    char *ciphers = string_alloc(o->ncp_ciphers, &gc);

#ifdef ENABLE_FRAGMENT
    if (ce->fragment)
    {
        msg(M_USAGE, "--cluster cannot be used with --fragment: remove it, --mssfix does without");
    }
#endif
    if (comp_non_stub_enabled(&o->comp)
        || (o->comp.flags & (COMP_F_ALLOW_COMPRESS|COMP_F_ALLOW_ASYM)))
    {
        msg(M_USAGE, "--cluster cannot be used with compression: remove --allow-compression, "
            "and --compress or --comp-lzo unless it only sets the framing");
    }
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

static void
verify_management(const struct options *o)
{
    if (!o->management_addr || !(o->management_flags & MF_UNIX_SOCK)
        || (o->management_flags & MF_CONNECT_AS_CLIENT))
    {
        msg(M_USAGE, "--cluster hands out keys through the management interface: use "
            "--management PATH unix, without --management-client");
    }
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
cluster_options_verify(const struct options *o)
{
    if (o->cluster)
    {
        verify_memory(o);
        verify_transport(o);
        verify_data_channel(o);
        verify_management(o);
    }
    else if (o->cluster_broadcast_address || o->cluster_port)
    {
        msg(M_USAGE, "--cluster-broadcast-address and --cluster-port need --cluster");
    }
}

/*
 * Digest
 */

/**
 * What is compared between nodes: the options, and of each group of options
 * one byte more that tells which group differs.
 */
struct options_digest
{
    md_ctx_t *all;
    uint8_t hint[CLUSTER_DIGEST_GROUPS];
};

static void
add(struct options_digest *od, enum cluster_digest_group group, const char *name,
    const char *format, ...)
{
    char value[1024];
    uint8_t text[1 + 64 + sizeof(value)];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct buffer buf;
    va_list arglist;

    va_start(arglist, format);
    vsnprintf(value, sizeof(value), format, arglist);
    va_end(arglist);

    buf_set_write(&buf, text, sizeof(text));
    buf_write_u8(&buf, od->hint[group]);
    buf_write(&buf, name, (int)strlen(name) + 1);
    buf_write(&buf, value, (int)strlen(value) + 1);
    md_ctx_update(od->all, BPTR(&buf) + 1, BLEN(&buf) - 1);
    ASSERT(md_full("SHA256", BPTR(&buf), BLEN(&buf), digest));
    od->hint[group] = digest[0];
}

static void
add_transport(struct options_digest *od, const struct options *o)
{
    const struct connection_entry *ce = &o->ce;
    const char *wrap = ce->tls_crypt_file ? "tls-crypt" : ce->tls_auth_file ? "tls-auth" : "none";

    add(od, CLUSTER_DIGEST_SOCKET, "proto", "%d %d", ce->proto, ce->af);
    add(od, CLUSTER_DIGEST_SOCKET, "local", "%s", np(ce->local));
    add(od, CLUSTER_DIGEST_SOCKET, "port", "%s", np(ce->local_port));
    add(od, CLUSTER_DIGEST_CONTROL, "control channel", "%s %s", wrap,
        ce->tls_crypt_v2_file ? "tls-crypt-v2" : "");
    add(od, CLUSTER_DIGEST_CONTROL, "key-direction", "%d", ce->key_direction);
    add(od, CLUSTER_DIGEST_SSL, "ssl flags", "%x", o->ssl_flags);
    add(od, CLUSTER_DIGEST_WINDOWS, "hand-window", "%d", o->handshake_window);
    add(od, CLUSTER_DIGEST_WINDOWS, "tran-window", "%d", o->transition_window);
    add(od, CLUSTER_DIGEST_RENEG, "reneg", "%d %d %d", o->renegotiate_seconds,
        o->renegotiate_bytes, o->renegotiate_packets);
    add(od, CLUSTER_DIGEST_TOKEN, "auth-gen-token", "%d %u %u", o->auth_token_generate,
        o->auth_token_lifetime, o->auth_token_renewal);
}

static void
add_data_channel(struct options_digest *od, const struct options *o)
{
    add(od, CLUSTER_DIGEST_CIPHERS, "data-ciphers", "%s", np(o->ncp_ciphers));
    add(od, CLUSTER_DIGEST_CIPHERS, "data-ciphers-fallback", "%s",
        o->enable_ncp_fallback ? np(o->ciphername) : "");
    add(od, CLUSTER_DIGEST_AUTH, "auth", "%s", np(o->authname));
    add(od, CLUSTER_DIGEST_REPLAY, "replay-window", "%d %d", o->replay_window, o->replay_time);
    add(od, CLUSTER_DIGEST_KEEPALIVE, "keepalive", "%d %d %d", o->ping_send_timeout,
        o->ping_rec_timeout, o->inactivity_timeout);
    add(od, CLUSTER_DIGEST_MTU, "tun-mtu", "%d", o->ce.tun_mtu);
    add(od, CLUSTER_DIGEST_MTU, "mssfix", "%d", o->ce.mssfix);
    add(od, CLUSTER_DIGEST_COMPRESS, "compress", "%d %x", o->comp.alg, o->comp.flags);
}

static void
add_network(struct options_digest *od, const struct options *o)
{
    struct gc_arena gc = gc_new();

    add(od, CLUSTER_DIGEST_SERVER, "topology", "%d", o->topology);
    add(od, CLUSTER_DIGEST_SERVER, "ifconfig", "%s %s", np(o->ifconfig_local),
        np(o->ifconfig_remote_netmask));
    add(od, CLUSTER_DIGEST_SERVER, "ifconfig-ipv6", "%s %d", np(o->ifconfig_ipv6_local),
        o->ifconfig_ipv6_netbits);
    add(od, CLUSTER_DIGEST_POOL, "ifconfig-pool", "%d %x %x %x", o->ifconfig_pool_defined,
        o->ifconfig_pool_start, o->ifconfig_pool_end, o->ifconfig_pool_netmask);
    add(od, CLUSTER_DIGEST_POOL, "ifconfig-ipv6-pool", "%d %s %d", o->ifconfig_ipv6_pool_defined,
        print_in6_addr(o->ifconfig_ipv6_pool_base, 0, &gc), o->ifconfig_ipv6_pool_netbits);
    add(od, CLUSTER_DIGEST_CLIENTS, "max-clients", "%d", o->max_clients);
    add(od, CLUSTER_DIGEST_CLIENTS, "duplicate-cn", "%d", o->duplicate_cn);
    add(od, CLUSTER_DIGEST_CLIENTS, "client-to-client", "%d", o->enable_c2c);
    for (const struct push_entry *e = o->push_list.head; e; e = e->next)
    {
        add(od, CLUSTER_DIGEST_PUSH, "push", "%s", e->enable ? e->option : "");
    }
    gc_free(&gc);
}

static void
to_hex(const uint8_t *digest, char *hex)
{
    struct gc_arena gc = gc_new();

    strncpynt(hex, format_hex_ex(digest, SHA256_DIGEST_LENGTH, 0, 1, NULL, &gc),
              CLUSTER_DIGEST_SIZE);
    gc_free(&gc);
}

void
cluster_options_digest(const struct options *o, char *hex)
{
    struct options_digest od = { .all = md_ctx_new() };
    uint8_t digest[SHA256_DIGEST_LENGTH];

    md_ctx_init(od.all, "SHA256");
    add_transport(&od, o);
    add_data_channel(&od, o);
    add_network(&od, o);
    md_ctx_final(od.all, digest);
    md_ctx_free(od.all);
    memcpy(digest + sizeof(digest) - sizeof(od.hint), od.hint, sizeof(od.hint));
    to_hex(digest, hex);
}

void
cluster_cert_digest(const struct tls_root_ctx *ctx, char *cert, char *issuer)
{
    const X509 *x509 = SSL_CTX_get0_certificate(ctx->ctx);
    uint8_t digest[SHA256_DIGEST_LENGTH];

    strncpynt(cert, "-", CLUSTER_DIGEST_SIZE);
    strncpynt(issuer, "-", CLUSTER_DIGEST_SIZE);
    if (x509 && X509_digest(x509, EVP_sha256(), digest, NULL))
    {
        to_hex(digest, cert);
    }
    if (x509 && X509_NAME_digest(X509_get_issuer_name(x509), EVP_sha256(), digest, NULL))
    {
        to_hex(digest, issuer);
    }
}

#endif /* ifdef ENABLE_CLUSTER */
