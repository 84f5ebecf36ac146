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
 * @file cluster_import.c
 * From the record of a client to an instance; see cluster_import.h.
 *
 * First everything is checked that can be refused without an instance; what
 * can be found out only with one (its options, what --learn-address says) ends
 * in the instance being closed, in silence, before anybody has seen it.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_address.h"
#include "cluster_client.h"
#include "cluster_import.h"
#include "cluster_mac.h"
#include "cluster_route.h"
#include "cluster_state.h"
#include "init.h"
#include "mss.h"
#include "multi.h"
#include "ssl.h"

#include "memdbg.h"

static void
set_timer_age(struct event_timeout *et, uint32_t age)
{
    if (event_timeout_defined(et) && age != CLUSTER_AGE_NONE)
    {
        et->last = now - age;
    }
}

/**
 * What may change as long as the client lives.
 */
static void
update_context(struct context *c, const struct cluster_record *rec,
               const struct link_socket_actual *remote)
{
    c->c2.from = *remote;
    c->c2.to_link_addr = &c->c2.from;
    c->c2.link_socket_info->lsa->actual = *remote;
    c->c2.link_socket_info->connection_established = true;
    setenv_trusted(c->c2.es, c->c2.link_socket_info);
    c->c2.link_read_bytes = cluster_max_counter(c->c2.link_read_bytes, rec->bytes_read);
    c->c2.link_write_bytes = cluster_max_counter(c->c2.link_write_bytes, rec->bytes_written);
    c->c2.mda_context.flags = rec->mda_flags;
    set_timer_age(&c->c2.session_interval, rec->session_age);
    set_timer_age(&c->c2.auth_token_renewal_interval, rec->token_age);
    set_timer_age(&c->c2.inactivity_interval, rec->inactivity_age);
}

static void
import_environment(struct env_set *es, const char *text)
{
    struct gc_arena gc = gc_new();
    char *rest = string_alloc(text ? text : "", &gc);

    for (char *line; (line = strsep(&rest, "\n")); )
    {
        char *value = strchr(line, '=');
        /* setenv_str() insists on two characters */
        if (value && value - line > 1)
        {
            *value++ = '\0';
            setenv_str(es, line, value);
        }
    }
    gc_free(&gc);
}

static void
import_options(struct multi_instance *mi, const struct cluster_record *rec)
{
    struct context *c = &mi->context;
    unsigned int found = 0;

    if (rec->options)
    {
        options_string_import(&c->options, rec->options, D_IMPORT_ERRORS|M_OPTERR,
                              CLIENT_CONNECT_OPT_MASK, &found, c->c2.es);
        do_deferred_options(c, found);
        cluster_client_get(c->c2.tls_multi)->options = string_alloc_buf(rec->options, NULL);
    }
    c->options.use_peer_id = rec->flags & CLUSTER_RECORD_USE_PEER_ID;
    c->options.imported_protocol_flags = rec->imported_protocol_flags;
}

static void
import_ifconfig(struct multi_instance *mi, const struct cluster_record *rec)
{
    struct context_2 *c2 = &mi->context.c2;

    c2->push_ifconfig_defined = rec->ifconfig_defined;
    c2->push_ifconfig_local = rec->ifconfig_local;
    c2->push_ifconfig_remote_netmask = rec->ifconfig_remote_netmask;
    c2->push_ifconfig_local_alias = rec->ifconfig_local_alias;
    c2->push_ifconfig_ipv6_defined = rec->ifconfig_ipv6_defined;
    c2->push_ifconfig_ipv6_local = rec->ifconfig_ipv6_local;
    c2->push_ifconfig_ipv6_remote = rec->ifconfig_ipv6_remote;
    c2->push_ifconfig_ipv6_netbits = rec->ifconfig_ipv6_netbits;
    mi->reporting_addr = rec->reporting_addr;
    mi->reporting_addr_ipv6 = rec->reporting_addr_ipv6;
}

/*
 * Instances
 */

/**
 * The parts of a record that a known instance takes too.
 */
static void
update_instance(struct multi_context *m, struct multi_instance *mi,
                const struct cluster_record *rec, const struct link_socket_actual *remote,
                const struct cluster_import_grants *grants)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_client *cc = cluster_client_get(multi);

    cluster_import_session(multi, rec, grants, remote);
    update_context(&mi->context, rec, remote);
    cluster_macs_import(m, mi, rec);
    cc->generation = rec->generation;
    cc->moved = true;
    cluster_client_snapshot(mi, &cc->told);
}

/**
 * What an instance needs once before it can take keys.
 */
static bool
prepare_instance(struct multi_context *m, struct multi_instance *mi,
                 const struct cluster_record *rec, const struct link_socket_actual *remote,
                 struct cluster_reason *why)
{
    struct context *c = &mi->context;
    struct tls_multi *multi = c->c2.tls_multi;

    mi->created = (time_t)rec->created;
    multi->peer_id = rec->peer_id;
    m->instances[rec->peer_id] = mi;
    ASSERT(hash_add(m->hash, &mi->real, mi, false));
    mi->did_real_hash = true;

    import_options(mi, rec);
    import_ifconfig(mi, rec);
    import_environment(c->c2.es, rec->environment);
    multi_set_virtual_addr_env(mi);
    /* --learn-address is told of it */
    cluster_import_identity(multi, rec);
    generate_prefix(mi);

    c->c2.link_socket_info->lsa->actual = *remote;
    if (!cluster_check_crypto(&c->options, rec, why))
    {
        return false;
    }
    c->options.ciphername = string_alloc(rec->cipher, &c->options.gc);
    init_key_type(&multi->opt.key_type, c->options.ciphername, c->options.authname, true, false);
    frame_calculate_dynamic(&c->c2.frame, &multi->opt.key_type, &c->options,
                            c->c2.link_socket_info);
#ifdef ENABLE_FRAGMENT
    if (c->c2.fragment)
    {
        frame_calculate_dynamic(&c->c2.frame_fragment, &multi->opt.key_type, &c->options,
                                c->c2.link_socket_info);
    }
#endif

    cluster_pool_import(m, mi, rec);
    return cluster_routes_import(m, mi, rec, why);
}

/**
 * An instance's options begin as a copy of the server's, and with it those of
 * --dns share the server's memory. OpenVPN before 2.6.21 frees that when it sets
 * the options of the instance back to what they were. Lend it none.
 */
static struct multi_instance *
create_with_own_options(struct multi_context *m, const struct mroute_addr *real)
{
    struct dns_options *dns = &m->top.options.dns_options;
    const struct gc_arena theirs = dns->gc;

    dns->gc = gc_new();
    struct multi_instance *mi = multi_create_instance(m, real);
    dns->gc = theirs;
    return mi;
}

static struct multi_instance *
create_instance(struct multi_context *m, const struct cluster_record *rec,
                const struct mroute_addr *real, const struct link_socket_actual *remote,
                struct cluster_reason *why)
{
    struct multi_instance *mi = create_with_own_options(m, real);

    if (!mi)
    {
        cluster_refuse(why, CLUSTER_CODE_FAILED, "no instance could be created");
        return NULL;
    }
    if (!prepare_instance(m, mi, rec, remote, why))
    {
        multi_close_instance(m, mi, false);
        return NULL;
    }
    ++m->n_clients;
    --mi->n_clients_delta;
    cluster_client_name(mi, rec->uid);
    return mi;
}

/**
 * The client's address has changed.
 */
static void
move_instance(struct multi_context *m, struct multi_instance *mi, const struct mroute_addr *real)
{
    if (!mroute_addr_equal(&mi->real, real))
    {
        ASSERT(hash_remove(m->hash, &mi->real));
        ASSERT(hash_remove(m->iter, &mi->real));
        mi->real = *real;
        ASSERT(hash_add(m->hash, &mi->real, mi, false));
        ASSERT(hash_add(m->iter, &mi->real, mi, false));
    }
}

/**
 * A link-local address is one on an interface: the one of that name here, or
 * the one that OpenVPN's own link-local address is on.
 */
static bool
import_scope(const struct multi_context *m, const struct cluster_record *rec,
             struct sockaddr_storage *ss, struct cluster_reason *why)
{
    const struct addrinfo *local = m->top.c2.link_socket->info.lsa->bind_local;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

    if (ss->ss_family != AF_INET6 || !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
    {
        return true;
    }
    if (rec->interface)
    {
        in6->sin6_scope_id = if_nametoindex(rec->interface);
    }
    if (!in6->sin6_scope_id && local && local->ai_family == AF_INET6)
    {
        in6->sin6_scope_id = ((const struct sockaddr_in6 *)local->ai_addr)->sin6_scope_id;
    }
    return in6->sin6_scope_id
           || cluster_refuse(why, CLUSTER_CODE_UNSUITABLE,
                             "its link-local address needs an interface %s",
                             rec->interface ? rec->interface : "of the same name");
}

/**
 * Where the client is, as our socket says it.
 */
static bool
import_remote(const struct multi_context *m, const struct cluster_record *rec,
              struct link_socket_actual *remote, struct cluster_reason *why)
{
    const sa_family_t family = m->top.c2.link_socket->info.af;
    struct cluster_addr addr = rec->remote;
    struct sockaddr_storage ss;

    if (family != AF_UNSPEC && !cluster_address_fit(&addr, family))
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE,
                              "the socket of this server has no IPv6, which the client uses");
    }
    cluster_addr_to_sockaddr(&addr, &ss);
    if (!import_scope(m, rec, &ss, why))
    {
        return false;
    }
    memcpy(&remote->dest.addr, &ss, sizeof(remote->dest.addr));
    return true;
}

/**
 * Of several addresses the client believes what comes from the one that it
 * speaks to.
 */
static bool
import_spoken_to(const struct options *o, const struct cluster_record *rec,
                 struct link_socket_actual *remote, struct cluster_reason *why)
{
    if (o->sockflags & SF_USE_IP_PKTINFO)
    {
        struct cluster_addr spoken_to = rec->spoken_to;
        if (cluster_address_fit(&spoken_to, remote->dest.addr.sa.sa_family))
        {
            cluster_address_write(remote, &spoken_to);
        }
        if (!cluster_address_moves(&o->cluster_addresses, remote))
        {
            return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE,
                                  "it speaks to no --cluster-address of this server");
        }
    }
    return true;
}

struct multi_instance *
cluster_import(struct multi_context *m, const struct cluster_record *rec,
               const struct cluster_import_grants *grants, struct cluster_reason *why)
{
    struct multi_instance *mi = cluster_lookup(rec->uid);
    struct link_socket_actual remote;
    struct mroute_addr real;

    CLEAR(remote);
    if (!import_remote(m, rec, &remote, why))
    {
        return NULL;
    }
    if (!mroute_extract_openvpn_sockaddr(&real, &remote.dest, true))
    {
        cluster_refuse(why, CLUSTER_CODE_BAD_RECORD, "address of the client cannot be used");
        return NULL;
    }
    if (!import_spoken_to(&m->top.options, rec, &remote, why)
        || !cluster_import_check(m, mi, rec, &real, grants, why))
    {
        return NULL;
    }

    update_time();
    if (mi)
    {
        move_instance(m, mi, &real);
    }
    else
    {
        mi = create_instance(m, rec, &real, &remote, why);
    }
    if (mi)
    {
        update_instance(m, mi, rec, &remote, grants);
        generate_prefix(mi);
    }
    clear_prefix();
    return mi;
}

#endif /* ifdef ENABLE_CLUSTER */
