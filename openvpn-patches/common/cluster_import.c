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
 * can be found out only with one (addresses of a pool, options, ranges) ends
 * in the instance being closed, in silence, before anybody has seen it.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster.h"
#include "cluster_import.h"
#include "init.h"
#include "mss.h"
#include "multi.h"
#include "push.h"
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
    struct buffer buf;
    char line[OPTION_LINE_SIZE * 16];

    if (!text)
    {
        return;
    }
    buf_set_read(&buf, (const uint8_t *)text, strlen(text));
    while (buf_parse(&buf, '\n', line, sizeof(line)))
    {
        char *value = strchr(line, '=');
        /* setenv_str() insists on two characters */
        if (value && value - line > 1)
        {
            *value++ = '\0';
            setenv_str(es, line, value);
        }
    }
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
    c->options.ciphername = string_alloc(rec->cipher, &c->options.gc);
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

/**
 * An address that was not set by an option comes from the pool.
 */
static bool
reserve_address(struct multi_context *m, struct multi_instance *mi,
                const struct cluster_record *rec, struct cluster_reason *why)
{
    const struct options *o = &mi->context.options;
    const bool pool_ipv6 = rec->ifconfig_ipv6_defined && !o->push_ifconfig_ipv6_defined;

    if (!m->ifconfig_pool || o->push_ifconfig_defined
        || (!rec->ifconfig_defined && !rec->ifconfig_ipv6_defined))
    {
        return true;
    }
    mi->vaddr_handle = ifconfig_pool_reserve(m->ifconfig_pool, rec->ifconfig_local,
                                             pool_ipv6 ? &rec->ifconfig_ipv6_local : NULL,
                                             o->duplicate_cn ? NULL : rec->common_name);
    return mi->vaddr_handle >= 0 || cluster_refuse(why, "virtual address is not free in the pool");
}

static bool
learn_addresses(struct multi_context *m, struct multi_instance *mi, struct cluster_reason *why)
{
    const struct context_2 *c2 = &mi->context.c2;

    if (c2->push_ifconfig_defined
        && multi_learn_in_addr_t(m, mi, c2->push_ifconfig_local, -1, true) != mi)
    {
        return cluster_refuse(why, "virtual address was not accepted");
    }
    if (c2->push_ifconfig_ipv6_defined
        && multi_learn_in6_addr(m, mi, c2->push_ifconfig_ipv6_local, -1, true) != mi)
    {
        return cluster_refuse(why, "virtual IPv6 address was not accepted");
    }
    multi_add_iroutes(m, mi);
    remove_iroutes_from_push_route_list(&mi->context.options);
    return true;
}

/*
 * Instances
 */

/**
 * The parts of a record that a known instance takes too.
 */
static void
update_instance(struct multi_instance *mi, const struct cluster_record *rec,
                const struct link_socket_actual *remote,
                const struct cluster_import_grants *grants)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_client *cc = cluster_client_get(multi);

    cluster_import_session(multi, rec, grants, remote);
    update_context(&mi->context, rec, remote);
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

    c->c2.link_socket_info->lsa->actual = *remote;
    init_key_type(&multi->opt.key_type, c->options.ciphername, c->options.authname, true, false);
    frame_calculate_dynamic(&c->c2.frame, &multi->opt.key_type, &c->options,
                            c->c2.link_socket_info);

    return reserve_address(m, mi, rec, why) && learn_addresses(m, mi, why);
}

static struct multi_instance *
create_instance(struct multi_context *m, const struct cluster_record *rec,
                const struct mroute_addr *real, const struct link_socket_actual *remote,
                struct cluster_reason *why)
{
    struct multi_instance *mi = multi_create_instance(m, real);

    if (!mi)
    {
        cluster_refuse(why, "no instance could be created");
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

struct multi_instance *
cluster_import(struct multi_context *m, const struct cluster_record *rec,
               const struct cluster_import_grants *grants, struct cluster_reason *why)
{
    struct multi_instance *mi = cluster_lookup(rec->uid);
    struct link_socket_actual remote;
    struct sockaddr_storage ss;
    struct mroute_addr real;

    CLEAR(remote);
    cluster_addr_to_sockaddr(&rec->remote, &ss);
    memcpy(&remote.dest.addr, &ss, sizeof(remote.dest.addr));
    if (!mroute_extract_openvpn_sockaddr(&real, &remote.dest, true))
    {
        cluster_refuse(why, "address of the client cannot be used");
        return NULL;
    }
    if (!cluster_import_check(m, mi, rec, &real, grants, why))
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
        update_instance(mi, rec, &remote, grants);
        generate_prefix(mi);
    }
    clear_prefix();
    return mi;
}

#endif /* ifdef ENABLE_CLUSTER */
