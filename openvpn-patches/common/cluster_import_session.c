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
 * @file cluster_import_session.c
 * The keys and the control channel of a record's client; see cluster_import.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "cluster_import.h"
#include "cluster_state.h"
#include "cluster_last_message.h"
#include "ssl.h"
#include "ssl_backend.h"
#include "tls_crypt.h"

#include "memdbg.h"

/**
 * An imported key has no TLS object behind it. What only that would use is
 * three quarters of the memory of an instance.
 */
static void
free_control_channel(struct key_state *ks)
{
    key_state_ssl_free(&ks->ks_ssl);
    CLEAR(ks->ks_ssl);
    free_buf(&ks->plaintext_read_buf);
    free_buf(&ks->plaintext_write_buf);
    free_buf(&ks->ack_write_buf);
    reliable_free(ks->send_reliable);
    reliable_free(ks->rec_reliable);
    free(ks->rec_ack);
    free(ks->lru_acks);
    free(ks->key_src);
    ks->send_reliable = ks->rec_reliable = NULL;
    ks->rec_ack = ks->lru_acks = NULL;
    ks->key_src = NULL;
}

/**
 * None for now, or none ever: a key that is kept beside a newer session is there to
 * receive what the client still sends with it, even if this standby had packet ids
 * of it when it was in use.
 */
static void
own_packet_ids(struct packet_id_send *send, const struct cluster_key *key)
{
    if (key->slot == CLUSTER_SLOT_KEPT)
    {
        cluster_range_receive_only(send);
        return;
    }
    cluster_range_standby(send);
    cluster_range_recall(send, key->fp);
}

static void
import_key(struct tls_multi *multi, struct tls_session *session, struct key_state *ks,
           const struct cluster_key *key)
{
    struct key2 key2;

    cluster_key_get(key, &key2);
    init_key_contexts(ks, multi, &multi->opt.key_type, true, &key2, false);
    secure_memzero(&key2, sizeof(key2));

    ks->state = S_GENERATED_KEYS;
    ks->key_id = key->key_id;
    ks->authenticated = KS_AUTH_TRUE;
    ks->mda_status = ACF_SUCCEEDED;
    ks->must_negotiate = 0;
    ks->session_id_remote = key->session_id_remote;
    ks->crypto_options.flags = session->opt->crypto_flags;
    ks->cluster_ks = cluster_ks_new();
    ks->cluster_ks->key = *key;
    ks->cluster_ks->imported = true;
    ks->cluster_ks->pending = true;
    free_control_channel(ks);
    own_packet_ids(&ks->crypto_options.packet_id.send, key);
}

/**
 * When a key dies, 0 while it is the one in use. One that is kept lives no longer
 * for being told of again: nothing prolongs what it was given when it was kept.
 */
static time_t
key_end(const struct tls_session *session, const struct key_state *ks,
        const struct cluster_key *key)
{
    const time_t end = now + (key->must_die_in == CLUSTER_AGE_NONE
                              ? session->opt->transition_window : (time_t)key->must_die_in);

    if (key->slot == CLUSTER_SLOT_PRIMARY)
    {
        return 0;
    }
    return key->slot == CLUSTER_SLOT_KEPT && ks->must_die && ks->must_die < end
           ? ks->must_die : end;
}

/**
 * What may change in a key that is known already.
 */
static void
update_key(struct tls_session *session, struct key_state *ks, const struct cluster_key *key,
           const struct link_socket_actual *remote)
{
    ks->cluster_ks->pending &= (key->flags & CLUSTER_KEY_PENDING) != 0;
    if (!ks->cluster_ks->pending)
    {
        cluster_last_message_forget(ks);
    }
    ks->remote_addr = *remote;
    ks->established = now - key->established_age;
    ks->must_die = key_end(session, ks, key);
    ks->auth_deferred_expire = now + key->deferred_expire_in;
    ks->auth_token_state_flags = key->auth_token_state_flags;
    ks->n_bytes = cluster_max_counter(ks->n_bytes, key->n_bytes);
    ks->n_packets = cluster_max_counter(ks->n_packets, key->n_packets);
    cluster_window_raise(&ks->crypto_options.packet_id.rec, key->rec_id, key->rec_time);
}

/**
 * Make a key_state hold this key, leaving it alone if it does already.
 */
static void
sync_key(struct tls_multi *multi, struct tls_session *session, struct key_state *ks,
         const struct cluster_key *key, const struct link_socket_actual *remote)
{
    const bool same = key && ks->cluster_ks && cluster_fp_equal(key, ks->cluster_ks->key.fp);

    if (!same && ks->state != S_UNDEF)
    {
        key_state_free(ks, true);
    }
    if (!key)
    {
        return;
    }
    if (!same)
    {
        key_state_init(session, ks);
        import_key(multi, session, ks, key);
    }
    update_key(session, ks, key, remote);
}

static void
import_keys(struct tls_multi *multi, const struct cluster_record *rec,
            const struct link_socket_actual *remote)
{
    struct tls_session *session = &multi->session[TM_ACTIVE];
    struct key_state *primary = &session->key[KS_PRIMARY];
    const struct cluster_key *lame = cluster_key_in_slot(rec, CLUSTER_SLOT_LAME_DUCK);

    /* a renegotiation: the key we have retires */
    if (lame && primary->cluster_ks && cluster_fp_equal(lame, primary->cluster_ks->key.fp))
    {
        key_state_soft_reset(session);
    }
    sync_key(multi, session, primary, cluster_key_in_slot(rec, CLUSTER_SLOT_PRIMARY), remote);
    cluster_last_message_import(session, primary, &rec->last_message);
    sync_key(multi, session, &session->key[KS_LAME_DUCK], lame, remote);
    session->key_id = rec->key_id;
}

/**
 * The key of the session before, beside which there is nothing of it.
 */
static void
import_kept_key(struct tls_multi *multi, const struct cluster_record *rec,
                const struct link_socket_actual *remote)
{
    struct tls_session *session = &multi->session[TM_LAME_DUCK];

    session->opt = &multi->opt;
    sync_key(multi, session, &session->key[KS_LAME_DUCK],
             cluster_key_in_slot(rec, CLUSTER_SLOT_KEPT), remote);
}

static void
import_grants(struct tls_multi *multi, const struct cluster_import_grants *grants)
{
    struct key_state *ks[KEY_SCAN_SIZE];
    const int n_keys = cluster_client_keys(multi, ks);

    for (int i = 0; i < grants->n; ++i)
    {
        for (int k = 0; k < n_keys; ++k)
        {
            if (cluster_fp_equal(&ks[k]->cluster_ks->key, grants->list[i].fp))
            {
                cluster_range_import(&ks[k]->crypto_options.packet_id.send,
                                     grants->list[i].range);
            }
        }
    }
}

/*
 * Session
 */

static void
import_wrap_pid(struct tls_wrap_ctx *wrap, const struct cluster_wrap_pid *pid)
{
    if (pid->defined && wrap->mode != TLS_WRAP_NONE)
    {
        struct packet_id_send *send = &wrap->opt.packet_id.send;

        send->time = send->time > pid->send_time ? send->time : pid->send_time;
        send->id = pid->send_id;
        cluster_window_raise(&wrap->opt.packet_id.rec, pid->rec_id, pid->rec_time);
    }
}

/**
 * Keys of the control channel that only this client has.
 */
static void
import_wraps(struct tls_session *session, const struct cluster_record *rec)
{
    struct tls_wrap_ctx *wrap = &session->tls_wrap;

    if (rec->client_key.n == 2 && !wrap->cleanup_key_ctx)
    {
        wrap->mode = TLS_WRAP_CRYPT;
        wrap->cleanup_key_ctx = true;
        wrap->opt.flags |= CO_PACKET_ID_LONG_FORM;
        wrap->original_wrap_keydata = rec->client_key;
        CLEAR(wrap->opt.key_ctx_bi);
        tls_crypt_v2_load_client_key(&wrap->opt.key_ctx_bi, &rec->client_key, true);
    }
    if (rec->dynamic_key.n == 2 && session->tls_wrap_reneg.mode == TLS_WRAP_NONE)
    {
        tls_session_load_dynamic_tls_crypt_key(session, &rec->dynamic_key);
    }
    import_wrap_pid(wrap, &rec->wrap);
    import_wrap_pid(&session->tls_wrap_reneg, &rec->wrap_reneg);
}

static struct cert_hash_set *
make_cert_hashes(const struct cluster_record *rec)
{
    struct cert_hash_set *set;

    if (!rec->cert_depths)
    {
        return NULL;
    }
    ALLOC_OBJ_CLEAR(set, struct cert_hash_set);
    for (int depth = 0; depth < MAX_CERT_DEPTH; ++depth)
    {
        if (rec->cert_depths & (1u << depth))
        {
            ALLOC_OBJ(set->ch[depth], struct cert_hash);
            *set->ch[depth] = rec->cert_hash[depth];
        }
    }
    return set;
}

static void
replace_string(char **field, const char *text)
{
    if (*field)
    {
        secure_memzero(*field, strlen(*field));
        free(*field);
    }
    *field = text ? string_alloc(text, NULL) : NULL;
}

static void
import_session(struct tls_session *session, const struct cluster_record *rec,
               const struct link_socket_actual *remote)
{
    session->session_id = rec->session_id;
    session->verified = rec->flags & CLUSTER_RECORD_VERIFIED;
    session->burst = true;
    session->untrusted_addr = *remote;
    cert_hash_free(session->cert_hash_set);
    session->cert_hash_set = make_cert_hashes(rec);
    import_wraps(session, rec);
}

void
cluster_import_identity(struct tls_multi *multi, const struct cluster_record *rec)
{
    struct cluster_client *cc = cluster_client_get(multi);

    cc->arrival = rec->arrival;
    cluster->arrivals = cluster->arrivals > rec->arrival ? cluster->arrivals : rec->arrival;
    multi->use_peer_id = rec->flags & CLUSTER_RECORD_USE_PEER_ID;
    multi->n_sessions = 1;
    multi->multi_state = CAS_CONNECT_DONE;
    multi->opt.crypto_flags = rec->crypto_flags;
    replace_string(&multi->session[TM_ACTIVE].common_name, rec->common_name);
    replace_string(&multi->locked_cn, rec->locked_cn);
    replace_string(&multi->locked_username, rec->locked_username);
    replace_string(&multi->peer_info, rec->peer_info);
    replace_string(&multi->auth_token, rec->auth_token);
    replace_string(&multi->auth_token_initial, rec->auth_token_initial);
    cert_hash_free(multi->locked_cert_hash_set);
    multi->locked_cert_hash_set = (rec->flags & CLUSTER_RECORD_CERT_LOCKED)
                                  ? make_cert_hashes(rec) : NULL;
}

void
cluster_import_session(struct tls_multi *multi, const struct cluster_record *rec,
                       const struct cluster_import_grants *grants,
                       const struct link_socket_actual *remote)
{
    cluster_import_identity(multi, rec);
    /* cluster_wake_initial() makes it anew */
    tls_session_free(&multi->session[TM_INITIAL], true);
    import_session(&multi->session[TM_ACTIVE], rec, remote);
    import_keys(multi, rec, remote);
    import_kept_key(multi, rec, remote);
    import_grants(multi, grants);
}

#endif /* ifdef ENABLE_CLUSTER */
