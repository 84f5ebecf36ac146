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
 * @file cluster_client.c
 * What is kept of a client and of its keys, and when it is announced; see
 * cluster_client.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_address.h"
#include "cluster_client.h"
#include "cluster_quiesce.h"
#include "cluster_state.h"
#include "manage.h"
#include "multi.h"
#include "ssl.h"
#include "ssl_pkt.h"
#include "ssl_util.h"

#include "memdbg.h"

/** Seconds that a control channel is moved on at promotion. */
#define CLUSTER_EPOCH_STEP 120

const char *
cluster_hex(const uint8_t *id, struct gc_arena *gc)
{
    return format_hex_ex(id, CLUSTER_UID_SIZE, 0, 1, NULL, gc);
}

/*
 * Keys
 */

static unsigned int
next_serial(void)
{
    static unsigned int serial = 0; /* GLOBAL */

    return ++serial;
}

struct cluster_ks *
cluster_ks_new(void)
{
    struct cluster_ks *ret;

    ALLOC_OBJ_CLEAR(ret, struct cluster_ks);
    ret->serial = next_serial();
    return ret;
}

void
cluster_ks_confirm(struct key_state *ks)
{
    ks->cluster_ks->serial = next_serial();
    ks->cluster_ks->pending = false;
}

void
cluster_ks_free(struct key_state *ks)
{
    if (ks->cluster_ks)
    {
        cluster_range_keep(&ks->crypto_options.packet_id.send, ks->cluster_ks->key.fp);
        secure_memzero(ks->cluster_ks, sizeof(*ks->cluster_ks));
        free(ks->cluster_ks);
        ks->cluster_ks = NULL;
    }
}

void
cluster_keep_key(struct tls_session *session, struct key_state *ks,
                 const struct key2 *key2)
{
    if (!session->opt->cluster)
    {
        return;
    }
    if (ks->cluster_ks)
    {
        /* it was pending: what was granted is granted */
        cluster_ks_confirm(ks);
    }
    else
    {
        ks->cluster_ks = cluster_ks_new();
        cluster_range_generate(&ks->crypto_options.packet_id.send);
    }
    cluster_key_set(&ks->cluster_ks->key, key2, &session->opt->key_type);
}

bool
cluster_ks_usable(const struct key_state *ks)
{
    return ks->cluster_ks && ks->authenticated == KS_AUTH_TRUE
           && (ks->state >= S_GENERATED_KEYS || (ks->cluster_ks->pending && ks->state > S_UNDEF));
}

bool
cluster_ks_imported(const struct key_state *ks)
{
    return ks->cluster_ks && ks->cluster_ks->imported;
}

bool
cluster_reneg_waits(const struct key_state *ks)
{
    return cluster_ks_pending(ks) || cluster_quiesced();
}

int
cluster_client_keys(struct tls_multi *multi, struct key_state **ks)
{
    int n = 0;

    for (int i = 0; i < KEY_SCAN_SIZE; ++i)
    {
        struct key_state *candidate = get_key_scan(multi, i);
        if (cluster_ks_usable(candidate))
        {
            ks[n++] = candidate;
        }
    }
    return n;
}

struct tls_session *
cluster_client_session(struct tls_multi *multi)
{
    struct tls_session *active = &multi->session[TM_ACTIVE];

    if (cluster_ks_usable(&active->key[KS_PRIMARY]) || cluster_ks_usable(&active->key[KS_LAME_DUCK]))
    {
        return active;
    }
    return &multi->session[TM_LAME_DUCK];
}

void
cluster_wake_initial(struct tls_multi *multi)
{
    struct tls_session *session = &multi->session[TM_INITIAL];

    if (multi->opt.cluster && session->key[KS_PRIMARY].state == S_UNDEF)
    {
        tls_session_free(session, true); /* it may have been given text to send */
        tls_session_init(multi, session);
    }
}

/**
 * What is to be said waits for a renegotiation, which has its turn later: so does
 * a new auth-token, which every renegotiation brings.
 */
static void
renegotiate_later(const struct tls_session *session)
{
    const struct multi_instance *mi = cluster_lookup(session->session_id.id);

    if (mi)
    {
        cluster_client_get(mi->context.c2.tls_multi)->reneg_wanted = true;
    }
    msg(D_MULTI_LOW, "CLUSTER: nothing can be said to a moved client while nothing begins");
}

bool
cluster_prepare_control(struct tls_session *session)
{
    const struct key_state *ks = &session->key[KS_PRIMARY];

    if (!cluster_ks_imported(ks))
    {
        return true;
    }
    if (cluster_ks_pending(ks))
    {
        /* a soft reset would not be taken, and end the key that the client uses */
        msg(D_MULTI_LOW, "CLUSTER: nothing can be said to a client whose newest key is pending");
        return false;
    }
    if (cluster_quiesced())
    {
        renegotiate_later(session);
        return false;
    }
    key_state_soft_reset(session);
    return true;
}

static bool
can_send(struct key_state *ks)
{
    return !cluster_ks_pending(ks) && cluster_range_ready(&ks->crypto_options.packet_id.send);
}

static void
tell_capped(struct tls_multi *multi, const struct key_state *ks)
{
    struct cluster_client *cc = cluster_client_get(multi);

    ++cluster->capped;
    if (cc->capped_told != now && management)
    {
        struct gc_arena gc = gc_new();
        cc->capped_told = now;
        msg(M_CLIENT, ">CLUSTER:CAPPED,%s,%s", cluster_hex(cc->uid, &gc),
            cluster_hex(ks->cluster_ks->key.fp, &gc));
        gc_free(&gc);
    }
}

bool
cluster_key_capped(struct tls_multi *multi, struct key_state *ks)
{
    struct key_state *keys[KEY_SCAN_SIZE];

    if (!ks->cluster_ks || can_send(ks))
    {
        return false;
    }
    if (cluster_range_is_receive_only(&ks->crypto_options.packet_id.send))
    {
        return true;
    }

    /* without another key the packet is dropped, which must be known */
    const int n = cluster_client_keys(multi, keys);
    for (int i = 0; i < n; ++i)
    {
        if (can_send(keys[i]))
        {
            return true;
        }
    }
    if (cluster_range_ready(&ks->crypto_options.packet_id.send))
    {
        return false;
    }
    tell_capped(multi, ks);
    return true;
}

bool
cluster_sends_on_newest(const struct tls_multi *multi)
{
    return multi->cluster_client
           && (multi->cluster_client->moved
               || multi->session[TM_LAME_DUCK].key[KS_LAME_DUCK].cluster_ks);
}

/*
 * Clients
 */

struct cluster_client *
cluster_client_get(struct tls_multi *multi)
{
    if (!multi->cluster_client)
    {
        ALLOC_OBJ_CLEAR(multi->cluster_client, struct cluster_client);
        multi->cluster_client->reneg_told = -1;
    }
    return multi->cluster_client;
}

void
cluster_client_free(struct tls_multi *multi)
{
    if (multi->cluster_client)
    {
        free_buf(&multi->cluster_client->options);
        free_buf(&multi->cluster_client->reset);
        cluster_macs_free(&multi->cluster_client->macs);
        free(multi->cluster_client);
        multi->cluster_client = NULL;
    }
}

void
cluster_keep_options(struct multi_instance *mi, const char *text)
{
    if (cluster)
    {
        struct buffer *kept = &cluster_client_get(mi->context.c2.tls_multi)->options;
        struct buffer all = alloc_buf(BLEN(kept) + strlen(text) + 2);

        buf_printf(&all, "%s%s\n", kept->data ? BSTR(kept) : "", text);
        free_buf(kept);
        *kept = all;
    }
}

static struct multi_instance *keeps_lines; /* GLOBAL */

void
cluster_keep_lines(struct multi_instance *mi)
{
    keeps_lines = cluster ? mi : NULL;
}

void
cluster_keep_line(const char *line, const char *name, int lines_inline)
{
    if (keeps_lines && !lines_inline && strcmp(name, "config"))
    {
        struct gc_arena gc = gc_new();
        char *text = string_alloc(line, &gc);

        chomp(text);
        cluster_keep_options(keeps_lines, text);
        gc_free(&gc);
    }
}

void
cluster_client_snapshot(struct multi_instance *mi, struct cluster_snapshot *snapshot)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct key_state *ks[KEY_SCAN_SIZE];
    const int n = cluster_client_keys(multi, ks);

    CLEAR(*snapshot);
    for (int i = 0; i < n; ++i)
    {
        snapshot->keys[i] = ks[i]->cluster_ks->serial;
    }
    snapshot->token = multi->auth_token_serial;
    snapshot->real = mi->real;
    cluster_address_read(&mi->context.c2.link_socket_info->lsa->actual, &snapshot->spoken_to);
    snapshot->macs = multi->cluster_client ? multi->cluster_client->macs_serial : 0;
}

void
cluster_client_name(struct multi_instance *mi, const uint8_t *uid)
{
    struct cluster_client *cc = cluster_client_get(mi->context.c2.tls_multi);

    memcpy(cc->uid, uid, CLUSTER_UID_SIZE);
    cc->announced = hash_add(cluster->uids, cc->uid, mi, false);
}

void
cluster_client_down(struct multi_instance *mi)
{
    struct cluster_client *cc = mi->context.c2.tls_multi
                                ? mi->context.c2.tls_multi->cluster_client : NULL;

    if (!cluster || !cc || !cc->announced)
    {
        return;
    }
    hash_remove(cluster->uids, cc->uid);
    cc->announced = false;
    if (management && !cluster_silent())
    {
        struct gc_arena gc = gc_new();
        msg(M_CLIENT, ">CLUSTER:DOWN,%s", cluster_hex(cc->uid, &gc));
        gc_free(&gc);
    }
}

void
cluster_client_announce(struct multi_instance *mi, const char *reason)
{
    struct cluster_client *cc = cluster_client_get(mi->context.c2.tls_multi);

    ++cc->generation;
    if (management)
    {
        struct gc_arena gc = gc_new();
        msg(M_CLIENT, ">CLUSTER:CHANGED,%s,%" PRIu64 ",%lu,%s", cluster_hex(cc->uid, &gc),
            cc->generation, mi->context.c2.mda_context.cid, reason);
        gc_free(&gc);
    }
}

void
cluster_wake(struct multi_context *m, struct multi_instance *mi, unsigned int usec)
{
    const struct timeval delay = { .tv_sec = 0, .tv_usec = usec };

    interval_action(&mi->context.c2.tmp_int);
    ASSERT(!openvpn_gettimeofday(&mi->wakeup, NULL));
    tv_add(&mi->wakeup, &delay);
    schedule_add_entry(m->schedule, (struct schedule_entry *)mi, &mi->wakeup, 0);
}

/**
 * Let a wrap send in an epoch that is later than any other server's, whose
 * clock may be ahead of ours.
 */
static void
advance_wrap(struct tls_wrap_ctx *wrap)
{
    struct packet_id_send *send = &wrap->opt.packet_id.send;

    if (wrap->mode != TLS_WRAP_NONE)
    {
        send->time = (now > send->time ? now : send->time) + CLUSTER_EPOCH_STEP;
        send->id = 0;
    }
}

void
cluster_advance_wraps(struct tls_session *session)
{
    advance_wrap(&session->tls_wrap);
    advance_wrap(&session->tls_wrap_reneg);
}

#endif /* ifdef ENABLE_CLUSTER */
