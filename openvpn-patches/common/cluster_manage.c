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
 * @file cluster_manage.c
 * The cluster- commands of the management interface; see cluster_manage.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_address.h"
#include "cluster_config.h"
#include "cluster_manage.h"
#include "cluster_report.h"
#include "multi.h"

#include "memdbg.h"

/** Version of the grammar, as cluster-status tells it. 2: errors have a code. */
#define CLUSTER_VERSION 2

/** Renegotiations a second unless the command says otherwise. */
#define RENEG_RATE 50

void
cluster_fail_with(const char *command, const char *object, const struct cluster_reason *why)
{
    struct gc_arena gc = gc_new();

    msg(M_CLIENT, "%s", cluster_error(command, object, why, &gc));
    gc_free(&gc);
}

void
cluster_fail(const char *command, const char *object, enum cluster_code code, const char *text)
{
    struct cluster_reason why;

    cluster_refuse(&why, code, "%s", text);
    cluster_fail_with(command, object, &why);
}

bool
cluster_parse_hex(const char *text, uint8_t *out, size_t size)
{
    if (!text || strlen(text) != 2 * size || strspn(text, "0123456789abcdefABCDEF") != 2 * size)
    {
        return false;
    }
    for (size_t i = 0; i < size; ++i)
    {
        unsigned int byte;
        sscanf(text + 2 * i, "%2x", &byte);
        out[i] = (uint8_t)byte;
    }
    return true;
}

bool
cluster_parse_u64(const char *text, uint64_t *value)
{
    char *end;

    if (!text || !isdigit((unsigned char)text[0]))
    {
        return false;
    }
    errno = 0;
    *value = strtoull(text, &end, 10);
    return !errno && !*end;
}

bool
cluster_parse_packet_id(const char *text, packet_id_type *id)
{
    uint64_t value;

    if (!cluster_parse_u64(text, &value) || value > PACKET_ID_MAX)
    {
        return false;
    }
    *id = (packet_id_type)value;
    return true;
}

/**
 * The instance that a command names, or an error to its sender.
 */
struct multi_instance *
cluster_find_instance(const char *const *p)
{
    uint8_t uid[CLUSTER_UID_SIZE];
    struct multi_instance *mi = NULL;

    if (!cluster_parse_hex(p[1], uid, sizeof(uid)))
    {
        cluster_fail(p[0], NULL, CLUSTER_CODE_MALFORMED, "needs a UID of 16 hex digits");
    }
    else if (!(mi = cluster_lookup(uid)))
    {
        cluster_fail(p[0], p[1], CLUSTER_CODE_UNKNOWN_CLIENT, "unknown client");
    }
    return mi;
}

bool
cluster_need_role(const char *const *p, bool ok)
{
    if (!ok)
    {
        struct cluster_reason why;
        cluster_refuse(&why, CLUSTER_CODE_WRONG_ROLE, "not possible while %s", cluster_role_name());
        cluster_fail_with(p[0], p[1], &why);
    }
    return ok;
}

/*
 * Status and list
 */

/**
 * Does the kernel let this host send from an IPv6 address of the servers' that it
 * does not have? It refuses that without freebind, unless it was told not to.
 */
static bool
sends_early(const struct cluster_addresses *addresses)
{
    FILE *file = fopen("/proc/sys/net/ipv6/ip_nonlocal_bind", "r");
    const int value = file ? fgetc(file) : EOF;

    if (file)
    {
        fclose(file);
    }
    return value != '0' && cluster_addresses_of_family(addresses, AF_INET6);
}

static void
command_status(struct multi_context *m, const char **p)
{
    const struct options *o = &m->top.options;
    const struct link_socket_info *info = &m->top.c2.link_socket->info;
    char digest[CLUSTER_DIGEST_SIZE], cert[CLUSTER_DIGEST_SIZE], issuer[CLUSTER_DIGEST_SIZE];
    struct gc_arena gc = gc_new();

    struct buffer spare = alloc_buf_gc(128, &gc);
    cluster_status_spare(m, &spare);
    cluster_options_digest(o, info->af, digest);
    cluster_cert_digest(&m->top.c1.ks.ssl_ctx, cert, issuer);
    msg(M_CLIENT, "SUCCESS: cluster-status version=%d,format=%d,role=%s,instances=%d,holder=%s,"
        "epoch=%s,openvpn=" PACKAGE_VERSION ",local=%s,port=%s,proto=%s,broadcast=%s,bcn-port=%d,"
        "digest=%s,cert=%s,issuer=%s,max-clients=%d,capped=%u,lapses=%u,unreleased=%u,"
        "addresses=%s,apart=%d,early=%d%s",
        CLUSTER_VERSION, CLUSTER_RECORD_FORMAT, cluster_role_name(),
        hash_n_elements(cluster->uids),
        format_hex_ex(cluster->holder.id, CLUSTER_HOLDER_SIZE, 0, 1, NULL, &gc),
        cluster->epoch, o->ce.local ? o->ce.local : "-", o->ce.local_port,
        proto2ascii(info->proto, info->af, false),
        o->cluster_broadcast_address ? o->cluster_broadcast_address : "-", o->cluster_port,
        digest, cert, issuer, m->max_clients, cluster->capped,
        cluster->lapses, cluster->unreleased,
        cluster_addresses_print(&o->cluster_addresses, &gc), cluster->apart,
        sends_early(&o->cluster_addresses), BSTR(&spare));
    gc_free(&gc);
}

static void
command_list(struct multi_context *m, const char **p)
{
    struct hash_iterator hi;
    struct hash_element *he;

    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        const struct multi_instance *mi = he->value;
        struct tls_multi *multi = mi->context.c2.tls_multi;
        const struct cluster_client *cc = multi->cluster_client;
        if (cc && cc->announced)
        {
            struct gc_arena gc = gc_new();
            struct buffer out = alloc_buf_gc(128, &gc);
            buf_printf(&out, "%s,%" PRIu64 ",%lu", cluster_hex(cc->uid, &gc), cc->generation,
                       mi->context.c2.mda_context.cid);
            if (cluster->role != CLUSTER_STANDBY && cluster_rekey_pending(multi))
            {
                buf_printf(&out, ",moved," packet_id_format ",%s,%d", cluster_rekey_room(multi),
                           cluster_rekey_auth(multi), cluster_rekey_wait(multi));
            }
            msg(M_CLIENT, "%s", BSTR(&out));
            gc_free(&gc);
        }
    }
    hash_iterator_free(&hi);
    msg(M_CLIENT, "END");
}

static void
command_room(struct multi_context *m, const char **p)
{
    struct hash_iterator hi;
    struct hash_element *he;
    packet_id_type lowest = 0;
    int keys = 0;

    if (!cluster_need_role(p, cluster->role != CLUSTER_STANDBY))
    {
        return;
    }
    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        const struct multi_instance *mi = he->value;
        struct tls_multi *multi = mi->context.c2.tls_multi;
        if (multi->cluster_client && multi->cluster_client->announced)
        {
            const packet_id_type room = cluster_rekey_room(multi);
            lowest = keys++ && lowest < room ? lowest : room;
        }
    }
    hash_iterator_free(&hi);
    msg(M_CLIENT, "SUCCESS: cluster-room clients=%d,lowest=" packet_id_format, keys, lowest);
}

/*
 * Roles
 */

static void
command_promote(struct multi_context *m, const char **p)
{
    static const char legal[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._:/-";
    struct timeval start, end;

    /* a master takes another epoch when it has heard of a higher one */
    if (!cluster_need_role(p, cluster->role != CLUSTER_MASTER
                           || (p[1] && strcmp(p[1], cluster->epoch))))
    {
        return;
    }
    if (p[1] && (strlen(p[1]) >= CLUSTER_EPOCH_SIZE || strspn(p[1], legal) != strlen(p[1])))
    {
        cluster_fail(p[0], NULL, CLUSTER_CODE_MALFORMED,
                     "an EPOCH has at most 64 characters of [0-9A-Za-z._:/-]");
        return;
    }
    openvpn_gettimeofday(&start, NULL);
    const int n = cluster_promote(m, p[1]);
    openvpn_gettimeofday(&end, NULL);
    msg(M_CLIENT, "SUCCESS: cluster-promote instances=%d,usec=%d", n,
        tv_subtract(&end, &start, 10));
}

static void
command_hold(struct multi_context *m, const char **p)
{
    if (cluster_need_role(p, cluster->role == CLUSTER_MASTER))
    {
        const int n = cluster_hold(m);
        cluster_report_last(m);
        msg(M_CLIENT, "SUCCESS: cluster-hold instances=%d", n);
    }
}

static void
command_demote(struct multi_context *m, const char **p)
{
    struct gc_arena gc = gc_new();
    const int n = cluster_demote(m);

    msg(M_CLIENT, "SUCCESS: cluster-demote instances=%d,holder=%s", n,
        format_hex_ex(cluster->holder.id, CLUSTER_HOLDER_SIZE, 0, 1, NULL, &gc));
    gc_free(&gc);
}

/*
 * Single clients
 */

static void
command_drop(struct multi_context *m, const char **p)
{
    struct multi_instance *mi;

    if (cluster_need_role(p, cluster->role == CLUSTER_STANDBY) && (mi = cluster_find_instance(p)))
    {
        cluster_anew_drop(mi);
        multi_close_instance(m, mi, false);
        clear_prefix();
        msg(M_CLIENT, "SUCCESS: cluster-drop %s", p[1]);
    }
}

static void
reneg_all(struct multi_context *m, const char **p)
{
    const int rate = p[2] ? atoi(p[2]) : RENEG_RATE;
    struct hash_iterator hi;
    struct hash_element *he;
    int n = 0;

    if (rate <= 0)
    {
        cluster_fail(p[0], p[1], CLUSTER_CODE_MALFORMED, "RATE is a number of clients a second");
        return;
    }
    cluster->reneg_rate = rate;
    hash_iterator_init(m->iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        const struct multi_instance *mi = he->value;
        struct cluster_client *cc = mi->context.c2.tls_multi->cluster_client;
        if (cc && cc->announced)
        {
            cc->reneg_wanted = true;
            ++n;
        }
    }
    hash_iterator_free(&hi);
    msg(M_CLIENT, "SUCCESS: cluster-reneg all instances=%d", n);
}

static void
command_reneg(struct multi_context *m, const char **p)
{
    struct multi_instance *mi;

    if (!cluster_need_role(p, cluster->role == CLUSTER_MASTER))
    {
        return;
    }
    if (p[1] && !strcmp(p[1], "all"))
    {
        reneg_all(m, p);
    }
    else if ((mi = cluster_find_instance(p)))
    {
        /* one that is too young has its turn when it may */
        cluster_client_get(mi->context.c2.tls_multi)->reneg_wanted = true;
        cluster->reneg_rate = p[2] && atoi(p[2]) > 0 ? atoi(p[2]) : RENEG_RATE;
        if (cluster_reneg_possible(mi))
        {
            cluster_reneg(m, mi);
        }
        msg(M_CLIENT, "SUCCESS: cluster-reneg %s", p[1]);
    }
}

static void
command_kick(struct multi_context *m, const char **p)
{
    struct multi_instance *mi;

    if (cluster_need_role(p, cluster->role == CLUSTER_MASTER) && (mi = cluster_find_instance(p)))
    {
        cluster_kick(m, mi);
        msg(M_CLIENT, "SUCCESS: cluster-kick %s", p[1]);
    }
}

static const struct
{
    const char *name;
    void (*run)(struct multi_context *m, const char **p);
    bool lines;                         /**< lines follow up to END */
} commands[] = {
    { "cluster-status", command_status, false },
    { "cluster-list", command_list, false },
    { "cluster-room", command_room, false },
    { "cluster-export", cluster_command_export, false },
    { "cluster-import", cluster_command_collect, true },
    { "cluster-update", cluster_command_collect, true },
    { "cluster-cookie", cluster_command_collect, true },
    { "cluster-stored", cluster_command_stored, false },
    { "cluster-drop", command_drop, false },
    { "cluster-promote", command_promote, false },
    { "cluster-hold", command_hold, false },
    { "cluster-demote", command_demote, false },
    { "cluster-reneg", command_reneg, false },
    { "cluster-kick", command_kick, false },
    { "cluster-wait", cluster_command_wait, false },
    { "cluster-release", cluster_command_release, false },
    { "cluster-quiesce", cluster_command_quiesce, false },
    { "cluster-descriptors", cluster_command_descriptors, false },
    { "cluster-take", cluster_command_take, false },
    { "cluster-silence", cluster_command_silence, false },
    { "cluster-retire", cluster_command_retire, false },
};

void
cluster_help(void)
{
    static const char *const lines[] = {
        "cluster-status         : Show role, holder id and what must be equal on all nodes.",
        "cluster-list           : Show UID,GEN,CID of each client.",
        "cluster-export UID [H] : Show the record of client UID, with packet ids granted to holders H.",
        "cluster-import UID GEN : Import the record of client UID (MULTILINE)",
        "cluster-update         : Import counters of many clients (MULTILINE)",
        "cluster-cookie         : Set the key of cookies that clients bring back (MULTILINE)",
        "cluster-stored UID FP H E : Holder H has stored its packet ids of key FP up to E.",
        "cluster-drop UID       : Remove client UID from a standby.",
        "cluster-promote [E]    : Become master, in epoch E.",
        "cluster-hold           : Fall silent, but keep clients and keys.",
        "cluster-demote         : Drop all clients and keys in silence, become standby.",
        "cluster-reneg {UID|all} [N] : Renegotiate keys, N clients a second.",
        "cluster-kick UID       : Tell client UID to reconnect.",
        "cluster-wait on [S]|off : Let each new client wait for cluster-release, for S seconds.",
        "cluster-release UID    : Let client UID finish its connection.",
        "cluster-quiesce S      : Begin no handshake for S seconds, 0: begin again.",
        "cluster-descriptors    : Give the socket and the tun to a spare process.",
        "cluster-take           : Take them, which come along, and go on.",
        "cluster-silence drain|leave : While silent, drop what arrives, or leave it to the other.",
        "cluster-retire         : End without a word: another process goes on.",
    };

    for (size_t i = 0; i < SIZE(lines); ++i)
    {
        msg(M_CLIENT, "%s", lines[i]);
    }
}

bool
cluster_refuse_command(const char *name)
{
    static const char *const names[] = {
        "kill", "client-kill", "client-deny", "client-auth-nt", "client-pending-auth",
    };

    for (size_t i = 0; cluster_silent() && i < SIZE(names); ++i)
    {
        if (streq(name, names[i]))
        {
            struct cluster_reason why;
            cluster_refuse(&why, CLUSTER_CODE_WRONG_ROLE, "this server is %s and serves no client: "
                           "use the command on the master", cluster_role_name());
            cluster_fail_with(name, NULL, &why);
            return true;
        }
    }
    return false;
}

void
cluster_respect_socket(const struct sockaddr_un *path)
{
    /* a socket of another type is never connected to, and the error tells apart
     * whether the path is that of an open one */
    const int sd = socket(AF_UNIX, SOCK_DGRAM, 0);
    const bool taken = sd >= 0 && (!connect(sd, (const struct sockaddr *)path, sizeof(*path))
                                   || errno == EPROTOTYPE);

    if (sd >= 0)
    {
        close(sd);
    }
    if (taken)
    {
        msg(M_FATAL, "MANAGEMENT: another process has the socket %s open: it may be this server; "
            "end it first", path->sun_path);
    }
}

void
cluster_not_ready(const char *name)
{
    if (!cluster_waiting_command(name))
    {
        cluster_fail(name, NULL, CLUSTER_CODE_NOT_READY, cluster_spare.waiting
                     ? "OpenVPN waits for descriptors" : "OpenVPN starts or ends");
    }
}

bool
cluster_management_command(void *arg, const char **p)
{
    if (!cluster)
    {
        cluster_fail(p[0], NULL, CLUSTER_CODE_NO_CLUSTER, "needs --cluster in the configuration");
        return false;
    }
    for (size_t i = 0; i < SIZE(commands); ++i)
    {
        if (streq(p[0], commands[i].name))
        {
            commands[i].run(arg, p);
            return commands[i].lines;
        }
    }
    cluster_fail(p[0], NULL, CLUSTER_CODE_UNKNOWN_COMMAND, "unknown command, enter 'help' for more options");
    return false;
}

#endif /* ifdef ENABLE_CLUSTER */
