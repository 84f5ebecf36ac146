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

#include "cluster.h"
#include "manage.h"
#include "multi.h"
#include "ssl.h"
#include "ssl_pkt.h"
#include "ssl_util.h"

#include "memdbg.h"

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
    return cluster_ks_pending(ks);
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

bool
cluster_drop_control(struct tls_multi *multi, struct tls_session *session,
                     struct buffer *buf, int op, int key_id)
{
    struct key_state *ks = &session->key[KS_PRIMARY];

    if (!cluster_ks_imported(ks) || ks->key_id != key_id)
    {
        if (session == &multi->session[TM_ACTIVE] && op != P_ACK_V1)
        {
            cluster_unknown_control(multi, key_id);
        }
        return false;
    }
    if (cluster_word_heard(session, ks, buf, op))
    {
        return true;
    }
    if (op != P_ACK_V1 && cluster_ks_pending(ks))
    {
        /* the client is still inside that handshake and takes no other */
        cluster_stuck_control(multi, key_id);
    }
    else if (op != P_ACK_V1)
    {
        cluster_spoke(multi);
    }
    return true;
}

bool
cluster_skip_control(struct tls_multi *multi, struct tls_session *session,
                     struct buffer *to_link, struct link_socket_actual **to_link_addr,
                     interval_t *wakeup)
{
    struct key_state *ks = &session->key[KS_PRIMARY];
    const int period = session->opt->renegotiate_seconds;
    const time_t left = ks->established + period - now;

    if (!cluster_ks_imported(ks))
    {
        cluster_wake_initial(multi);
        return false;
    }
    cluster_word_say(session, ks, to_link, to_link_addr, wakeup);
    if (period && left < *wakeup)
    {
        /* a pending key may have to wait for longer than that */
        *wakeup = left < 1 ? 1 : (interval_t)left;
    }
    return true;
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
               || cluster_ks_imported(&multi->session[TM_LAME_DUCK].key[KS_LAME_DUCK]));
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

void
cluster_keep_options_file(struct multi_instance *mi, const char *filename)
{
    if (cluster)
    {
        struct gc_arena gc = gc_new();
        const struct buffer text = buffer_read_from_file(filename, &gc);

        if (buf_valid(&text))
        {
            cluster_keep_options(mi, BSTR(&text));
        }
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

/**
 * A renegotiation that is under way can end with a key no standby has: say so,
 * once for each generation. The one with the new key ends it.
 */
static void
tell_reneg(struct tls_multi *multi, struct cluster_client *cc)
{
    const struct key_state *ks = &multi->session[TM_ACTIVE].key[KS_PRIMARY];

    /* a standby that has the pending key has what the client ends with */
    if (ks->cluster_ks || ks->state < S_INITIAL)
    {
        cc->reneg_told = -1;
    }
    else if (cc->reneg_told != ks->key_id || cc->reneg_generation != cc->generation)
    {
        cc->reneg_told = ks->key_id;
        cc->reneg_generation = cc->generation;
        if (management)
        {
            struct gc_arena gc = gc_new();
            msg(M_CLIENT, ">CLUSTER:RENEG,%s,%d,%" PRIu64, cluster_hex(cc->uid, &gc),
                ks->key_id, cc->generation);
            gc_free(&gc);
        }
    }
}

static const char *
snapshot_difference(const struct cluster_snapshot *a, const struct cluster_snapshot *b)
{
    if (memcmp(a->keys, b->keys, sizeof(a->keys)))
    {
        return "keys";
    }
    if (!mroute_addr_equal(&a->real, &b->real))
    {
        return "float";
    }
    return a->token != b->token ? "token" : NULL;
}

/**
 * After a hard reset the instance goes on under another session id: for the
 * cluster that is another client.
 */
static void
rename_after_reset(struct multi_instance *mi, struct cluster_client *cc)
{
    const struct tls_session *session = cluster_client_session(mi->context.c2.tls_multi);

    if (cc->announced && session == &mi->context.c2.tls_multi->session[TM_ACTIVE]
        && memcmp(cc->uid, session->session_id.id, CLUSTER_UID_SIZE))
    {
        cluster_client_down(mi);
        cc->generation = 0;
        cc->moved = cc->rekeyed = false;
        CLEAR(cc->heal);
    }
}

void
cluster_client_changed(struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_snapshot snapshot;

    if (!cluster || !multi || multi->multi_state != CAS_CONNECT_DONE)
    {
        return;
    }
    cluster_client_snapshot(mi, &snapshot);
    if (!snapshot.keys[0])
    {
        return;
    }

    struct cluster_client *cc = cluster_client_get(multi);
    const char *reason = "connect";

    rename_after_reset(mi, cc);
    if (cc->announced)
    {
        cluster_rekey_tell(multi);
        reason = snapshot_difference(&cc->told, &snapshot);
        if (reason && cluster_ks_pending(&multi->session[TM_ACTIVE].key[KS_PRIMARY]))
        {
            reason = "pending";
        }
    }
    else
    {
        cluster_client_name(mi, cluster_client_session(multi)->session_id.id);
    }
    if (reason && cc->announced)
    {
        cc->told = snapshot;
        cluster_client_announce(mi, reason);
    }
    tell_reneg(multi, cc);
}

#endif /* ifdef ENABLE_CLUSTER */
