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
 * @file cluster_export.c
 * The record of a client; see cluster_export.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_address.h"
#include "cluster_client.h"
#include "cluster_export.h"
#include "cluster_route.h"
#include "cluster_last_message.h"
#include "multi.h"
#include "ssl.h"
#include "ssl_pkt.h"

#include "memdbg.h"

static uint32_t
timer_age(const struct event_timeout *et)
{
    return event_timeout_defined(et) ? (uint32_t)(now - et->last) : CLUSTER_AGE_NONE;
}

/**
 * A link-local address means nothing without the interface that it is on, whose
 * number may be another elsewhere.
 */
static void
record_interface(const struct openvpn_sockaddr *remote, struct cluster_record *rec)
{
    const struct sockaddr_in6 *in6 = &remote->addr.in6;
    char name[IF_NAMESIZE];

    if (remote->addr.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr)
        && if_indextoname(in6->sin6_scope_id, name))
    {
        cluster_record_set_text(&rec->interface, name);
    }
}

static void
record_context(const struct context *c, struct cluster_record *rec)
{
    rec->imported_protocol_flags = c->options.imported_protocol_flags;
    cluster_addr_from_sockaddr(&rec->remote, &c->c2.link_socket_info->lsa->actual.dest.addr.sa);
    record_interface(&c->c2.link_socket_info->lsa->actual.dest, rec);
    if (c->options.sockflags & SF_USE_IP_PKTINFO)
    {
        cluster_address_read(&c->c2.link_socket_info->lsa->actual, &rec->spoken_to);
    }
    rec->ifconfig_defined = c->c2.push_ifconfig_defined;
    rec->ifconfig_local = c->c2.push_ifconfig_local;
    rec->ifconfig_remote_netmask = c->c2.push_ifconfig_remote_netmask;
    rec->ifconfig_local_alias = c->c2.push_ifconfig_local_alias;
    rec->ifconfig_ipv6_defined = c->c2.push_ifconfig_ipv6_defined;
    rec->ifconfig_ipv6_local = c->c2.push_ifconfig_ipv6_local;
    rec->ifconfig_ipv6_remote = c->c2.push_ifconfig_ipv6_remote;
    rec->ifconfig_ipv6_netbits = c->c2.push_ifconfig_ipv6_netbits;
    rec->inactivity_age = timer_age(&c->c2.inactivity_interval);
    rec->session_age = timer_age(&c->c2.session_interval);
    rec->token_age = timer_age(&c->c2.auth_token_renewal_interval);
    rec->bytes_read = c->c2.link_read_bytes;
    rec->bytes_written = c->c2.link_write_bytes;
    rec->mda_flags = c->c2.mda_context.flags;
}

static void
record_wrap(const struct tls_wrap_ctx *wrap, struct cluster_wrap_pid *pid)
{
    pid->defined = wrap->mode != TLS_WRAP_NONE;
    if (pid->defined)
    {
        pid->send_time = (uint32_t)wrap->opt.packet_id.send.time;
        pid->send_id = wrap->opt.packet_id.send.id;
        pid->rec_time = (uint32_t)wrap->opt.packet_id.rec.time;
        pid->rec_id = wrap->opt.packet_id.rec.id;
    }
}

static void
record_certs(const struct cert_hash_set *set, struct cluster_record *rec)
{
    for (int depth = 0; set && depth < MAX_CERT_DEPTH; ++depth)
    {
        if (set->ch[depth])
        {
            rec->cert_depths |= 1u << depth;
            rec->cert_hash[depth] = *set->ch[depth];
        }
    }
}

static void
record_session(const struct tls_session *session, struct cluster_record *rec)
{
    rec->flags |= session->verified ? CLUSTER_RECORD_VERIFIED : 0;
    rec->session_id = session->session_id;
    record_wrap(&session->tls_wrap, &rec->wrap);
    record_wrap(&session->tls_wrap_reneg, &rec->wrap_reneg);
    cluster_record_set_text(&rec->common_name, session->common_name);
    record_certs(session->cert_hash_set, rec);

    /* a wrap with a key context of its own has a key of its own */
    if (session->tls_wrap.cleanup_key_ctx)
    {
        rec->client_key = session->tls_wrap.original_wrap_keydata;
    }
    if (session->tls_wrap_reneg.mode != TLS_WRAP_NONE)
    {
        rec->dynamic_key = session->tls_wrap_reneg.original_wrap_keydata;
    }
}

static void
record_multi(const struct tls_multi *multi, struct cluster_record *rec)
{
    rec->peer_id = multi->peer_id;
    rec->flags |= multi->use_peer_id ? CLUSTER_RECORD_USE_PEER_ID : 0;
    rec->flags |= multi->locked_cert_hash_set ? CLUSTER_RECORD_CERT_LOCKED : 0;
    strncpynt(rec->cipher, cipher_kt_name(multi->opt.key_type.cipher), sizeof(rec->cipher));
    strncpynt(rec->digest, md_defined(multi->opt.key_type.digest)
              ? md_kt_name(multi->opt.key_type.digest) : "none", sizeof(rec->digest));
    rec->crypto_flags = multi->opt.crypto_flags;
    cluster_record_set_text(&rec->locked_cn, multi->locked_cn);
    cluster_record_set_text(&rec->locked_username, multi->locked_username);
    cluster_record_set_text(&rec->peer_info, multi->peer_info);
    cluster_record_set_text(&rec->auth_token, multi->auth_token);
    cluster_record_set_text(&rec->auth_token_initial, multi->auth_token_initial);
}

static uint32_t
time_left(time_t until)
{
    return until > now ? (uint32_t)(until - now) : 0;
}

static void
record_key(const struct key_state *ks, enum cluster_key_slot slot, struct cluster_key *key)
{
    *key = ks->cluster_ks->key;
    key->slot = slot;
    key->flags = cluster_ks_pending(ks) ? CLUSTER_KEY_PENDING : 0;
    key->key_id = ks->key_id;
    key->auth_token_state_flags = ks->auth_token_state_flags;
    key->session_id_remote = ks->session_id_remote;
    key->established_age = ks->established && ks->established < now
                           ? (uint32_t)(now - ks->established) : 0;
    key->must_die_in = ks->must_die ? time_left(ks->must_die) : CLUSTER_AGE_NONE;
    key->deferred_expire_in = time_left(ks->auth_deferred_expire);
    key->n_bytes = ks->n_bytes;
    key->n_packets = ks->n_packets;
    key->rec_id = ks->crypto_options.packet_id.rec.id;
    key->rec_time = (uint32_t)ks->crypto_options.packet_id.rec.time;
}

/**
 * The key of the session before. A client that began anew goes on sending with it
 * until the new one is some time old. It is another session's, so that it may be
 * of another length; then it cannot travel in this record.
 */
static void
record_kept_key(const struct key_state *ks, struct cluster_record *rec)
{
    const struct cluster_key *newest = &rec->keys[0];

    if (cluster_ks_usable(ks) && ks->cluster_ks->key.cipher_len == newest->cipher_len
        && ks->cluster_ks->key.hmac_len == newest->hmac_len)
    {
        record_key(ks, CLUSTER_SLOT_KEPT, &rec->keys[rec->n_keys++]);
    }
}

/**
 * The keys of the newest key's session, and the one that is kept beside it. In the
 * middle of a renegotiation that session has one, and the next key id is the one
 * that the client uses next.
 */
static void
record_keys(struct tls_multi *multi, struct cluster_record *rec)
{
    struct tls_session *session = cluster_client_session(multi);

    for (int i = 0; i < KS_SIZE; ++i)
    {
        if (cluster_ks_usable(&session->key[i]))
        {
            record_key(&session->key[i],
                       rec->n_keys ? CLUSTER_SLOT_LAME_DUCK : CLUSTER_SLOT_PRIMARY,
                       &rec->keys[rec->n_keys]);
            ++rec->n_keys;
        }
    }
    if (rec->n_keys)
    {
        rec->key_id = (rec->keys[0].key_id + 1) & P_KEY_ID_MASK;
        rec->key_id = rec->key_id ? rec->key_id : 1;
        cluster_last_message_export(&session->key[KS_PRIMARY], &rec->last_message);
    }
    if (rec->n_keys && session == &multi->session[TM_ACTIVE])
    {
        record_kept_key(&multi->session[TM_LAME_DUCK].key[KS_LAME_DUCK], rec);
    }
}

/**
 * What the environment has that the server's own has not, one variable a line.
 * One that there is no room for stays away whole.
 */
static void
record_environment(const struct env_set *own, const struct env_set *es,
                   struct cluster_record *rec)
{
    struct gc_arena gc = gc_new();
    struct buffer out = alloc_buf_gc(CLUSTER_RECORD_MAX / 2, &gc);

    for (const struct env_item *e = es->list; e; e = e->next)
    {
        const char *value = strchr(e->string, '=');
        char name[256];

        if (!value || value - e->string >= (ptrdiff_t)sizeof(name)
            || strchr(e->string, '\n') || is_password_env_var(e->string))
        {
            continue;
        }
        strncpynt(name, e->string, (size_t)(value - e->string) + 1);
        const char *inherited = env_set_get(own, name);
        if ((!inherited || strcmp(inherited, e->string))
            && buf_safe(&out, (int)strlen(e->string) + 2))
        {
            buf_printf(&out, "%s\n", e->string);
        }
    }
    cluster_record_set_text(&rec->environment, BSTR(&out));
    gc_free(&gc);
}

bool
cluster_client_record(const struct multi_context *m, struct multi_instance *mi,
                      struct cluster_record *rec)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_client *cc = cluster_client_get(multi);

    cluster_record_init(rec);
    memcpy(rec->uid, cc->uid, CLUSTER_UID_SIZE);
    rec->generation = cc->generation;
    rec->created = (uint64_t)mi->created;
    rec->reporting_addr = mi->reporting_addr;
    rec->reporting_addr_ipv6 = mi->reporting_addr_ipv6;
    rec->arrival = cc->arrival;
    rec->routes = cluster_routes_held(m, mi);
    for (int i = 0; i < cc->macs.n; ++i)
    {
        cluster_macs_add(&rec->macs, &cc->macs.list[i]);
    }
    record_context(&mi->context, rec);
    record_multi(multi, rec);
    record_session(cluster_client_session(multi), rec);
    record_keys(multi, rec);
    record_environment(m->top.c2.es, mi->context.c2.es, rec);
    if (cc->options.data)
    {
        cluster_record_set_text(&rec->options, BSTR(&cc->options));
    }
    return rec->n_keys > 0;
}

#endif /* ifdef ENABLE_CLUSTER */
