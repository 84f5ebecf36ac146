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
 * @file cluster_rekey.c
 * Moved clients get keys of this server; see cluster_rekey.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "cluster_quiesce.h"
#include "cluster_rekey.h"
#include "cluster_state.h"
#include "forward.h"
#include "manage.h"
#include "multi.h"
#include "occ.h"
#include "ssl.h"
#include "ssl_pkt.h"
#include "ssl_verify.h"
#include "auth_token.h"

#include "memdbg.h"

/** Control packets that a client has sent before it has answered anything. */
#define UNANSWERED_PACKETS 2

bool
cluster_rekey_pending(struct tls_multi *multi)
{
    struct key_state *ks[KEY_SCAN_SIZE];
    const int n = cluster_client_keys(multi, ks);
    bool own = false;

    for (int i = 0; i < n; ++i)
    {
        own |= !ks[i]->cluster_ks->imported && !cluster_ks_pending(ks[i]);
    }
    return multi->cluster_client && multi->cluster_client->moved && n && !own;
}

void
cluster_rekey_tell(struct tls_multi *multi)
{
    struct cluster_client *cc = cluster_client_get(multi);

    if (cc->moved && !cc->rekeyed && !cluster_rekey_pending(multi))
    {
        cc->rekeyed = true;
        CLEAR(cc->heal);
        if (management)
        {
            struct gc_arena gc = gc_new();
            msg(M_CLIENT, ">CLUSTER:REKEYED,%s", cluster_hex(cc->uid, &gc));
            gc_free(&gc);
        }
    }
}

/**
 * Is the client's auth-token one that this server will take?
 */
static bool
is_token_good(struct tls_multi *multi)
{
    const bool has_reason = multi->client_reason;
    struct user_pass up;
    bool good = false;

    if (multi->opt.auth_token_generate && multi->auth_token && is_auth_token(multi->auth_token))
    {
        CLEAR(up);
        strncpynt(up.username, multi->locked_username, sizeof(up.username));
        strncpynt(up.password, multi->auth_token, sizeof(up.password));
        const unsigned int flags = verify_auth_token(&up, multi, &multi->session[TM_ACTIVE]);
        good = (flags & AUTH_TOKEN_HMAC_OK) && !(flags & AUTH_TOKEN_EXPIRED);
        secure_memzero(&up, sizeof(up));
        if (!has_reason)
        {
            /* nobody was refused: a later refusal must not give this reason */
            auth_set_client_reason(multi, NULL);
        }
    }
    return good;
}

const char *
cluster_rekey_auth(struct tls_multi *multi)
{
    if (!multi->locked_username)
    {
        return "cert";
    }
    return is_token_good(multi) ? "token" : "user";
}

packet_id_type
cluster_rekey_room(struct tls_multi *multi)
{
    struct key_state *ks[KEY_SCAN_SIZE];

    return cluster_client_keys(multi, ks)
           ? cluster_range_room(&ks[0]->crypto_options.packet_id.send) : 0;
}

int
cluster_rekey_wait(struct tls_multi *multi)
{
    const time_t left = get_primary_key(multi)->established + multi->opt.handshake_window - now;

    return left > 0 ? (int)left : 0;
}

bool
cluster_reneg_possible(const struct multi_instance *mi)
{
    const struct tls_multi *multi = mi->context.c2.tls_multi;
    const struct key_state *ks = get_primary_key(multi);

    /* a soft reset would end the key that a client without the pending one uses,
     * and be answered by one that is about to leave */
    return ks->state >= S_GENERATED_KEYS && !cluster_reneg_waits(ks)
           && !(multi->cluster_client && multi->cluster_client->heal.spoke)
           && now >= ks->established + multi->opt.handshake_window;
}

void
cluster_reneg(struct multi_context *m, struct multi_instance *mi)
{
    cluster_client_get(mi->context.c2.tls_multi)->reneg_wanted = false;
    tls_session_soft_reset(mi->context.c2.tls_multi);
    cluster_wake(m, mi, 0);
}

void
cluster_kick(struct multi_context *m, struct multi_instance *mi)
{
    mi->context.c2.occ_op = OCC_EXIT;
    cluster_wake(m, mi, 0);
}

/*
 * Healing
 */

static uint64_t
received_marks(struct tls_multi *multi)
{
    struct key_state *ks[KEY_SCAN_SIZE];
    const int n = cluster_client_keys(multi, ks);
    uint64_t sum = 0;

    for (int i = 0; i < n; ++i)
    {
        sum += ks[i]->crypto_options.packet_id.rec.id;
    }
    return sum;
}

static bool
is_known(struct tls_multi *multi, int key_id)
{
    for (int i = 0; i < KEY_SCAN_SIZE; ++i)
    {
        const struct key_state *ks = get_key_scan(multi, i);
        if (ks->state >= S_INITIAL && ks->key_id == key_id)
        {
            return true;
        }
    }
    return false;
}

/**
 * The health of a client that may need help, else NULL.
 */
static struct cluster_heal *
heal_of(struct tls_multi *multi)
{
    struct cluster_client *cc = multi->cluster_client;

    return cc && cc->moved && !cc->rekeyed ? &cc->heal : NULL;
}

void
cluster_unknown_key(struct tls_multi *multi, bool floated, int key_id)
{
    struct cluster_heal *heal = heal_of(multi);

    if (heal && !floated && !is_known(multi, key_id))
    {
        cluster_stray_note(&heal->data, received_marks(multi), now);
    }
}

void
cluster_unknown_control(struct tls_multi *multi, int op, int key_id)
{
    struct cluster_heal *heal = heal_of(multi);

    if (heal && !is_known(multi, key_id))
    {
        heal->reset_id = op == P_CONTROL_SOFT_RESET_V1 ? key_id : 0;
        cluster_stray_note(&heal->control, received_marks(multi), now);
    }
}

void
cluster_stuck_control(struct tls_multi *multi)
{
    struct cluster_heal *heal = heal_of(multi);

    if (heal)
    {
        heal->reset_id = 0;
        cluster_stray_note(&heal->control, received_marks(multi), now);
    }
}

void
cluster_spoke(struct tls_multi *multi)
{
    struct cluster_heal *heal = heal_of(multi);

    if (heal)
    {
        msg(D_TLS_DEBUG_LOW, "CLUSTER: control packet for a key that was imported");
        cluster_heal_speak(heal, now);
    }
}

/**
 * Send what the client has not answered again, in a later epoch of the control
 * channel: it may have refused the one we are in.
 */
static void
resend(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_session *session = &mi->context.c2.tls_multi->session[TM_ACTIVE];

    cluster_advance_wraps(session);
    reliable_schedule_now(session->key[KS_PRIMARY].send_reliable);
    cluster_wake(m, mi, 0);
}

/**
 * The client holds no key of ours any more, and waits for a soft reset: take part
 * in that renegotiation, and have it end in a restart.
 */
static void
restart(struct multi_context *m, struct multi_instance *mi, int key_id)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;

    multi->session[TM_ACTIVE].key_id = key_id;
    tls_session_soft_reset(multi);
    send_control_channel_string(&mi->context, CLUSTER_RESTART, D_PUSH);
    cluster_wake(m, mi, 0);
}

/**
 * Is the client there, and has it the key that we think? A renegotiation asks it
 * as well as anything; one that has begun meanwhile does, too.
 */
static void
ask(struct multi_context *m, struct multi_instance *mi)
{
    const struct key_state *ks = get_primary_key(mi->context.c2.tls_multi);

    if (cluster_ks_imported(ks) && !cluster_ks_pending(ks))
    {
        cluster_reneg(m, mi);
    }
}

/**
 * The client has left. Whoever walks over the instances is not disturbed: it is
 * closed when it is processed.
 */
static void
take_leave(struct multi_context *m, struct multi_instance *mi)
{
    register_signal(mi->context.sig, SIGTERM, "remote-exit");
    cluster_wake(m, mi, 0);
}

static const char *
cure_name(enum cluster_cure cure)
{
    switch (cure)
    {
        case CLUSTER_CURE_ASK:
            return "asking it for a renegotiation";

        case CLUSTER_CURE_RESEND:
            return "trying a later epoch of the control channel";

        case CLUSTER_CURE_CLOSE:
            return "it has left";

        default:
            return "telling the client to reconnect";
    }
}

static void
apply(struct multi_context *m, struct multi_instance *mi, enum cluster_cure cure, const char *why)
{
    if (cure == CLUSTER_CURE_NONE)
    {
        return;
    }
    set_prefix(mi);
    msg(D_MULTI_LOW, "CLUSTER: %s: %s", why, cure_name(cure));
    switch (cure)
    {
        case CLUSTER_CURE_ASK:
            ask(m, mi);
            break;

        case CLUSTER_CURE_RESEND:
            resend(m, mi);
            break;

        case CLUSTER_CURE_RESTART:
            restart(m, mi, mi->context.c2.tls_multi->cluster_client->heal.reset_id);
            break;

        case CLUSTER_CURE_CLOSE:
            take_leave(m, mi);
            break;

        default:
            cluster_kick(m, mi);
            break;
    }
    clear_prefix();
}

/**
 * Does a renegotiation wait for the client's first word?
 */
static bool
is_unanswered(const struct key_state *ks)
{
    return ks->state >= S_PRE_START && ks->state < S_GENERATED_KEYS && ks->key_id
           && ks->rec_reliable && ks->rec_reliable->packet_id < UNANSWERED_PACKETS;
}

/**
 * A renegotiation that the client does not answer takes as long as it takes: the
 * client goes on under the key it has, which must not end meanwhile.
 */
static void
wait_longer(struct tls_session *session)
{
    struct key_state *lame = &session->key[KS_LAME_DUCK];

    session->key[KS_PRIMARY].must_negotiate = now + session->opt->handshake_window;
    if (cluster_ks_usable(lame))
    {
        lame->must_die = now + session->opt->transition_window;
    }
}

/**
 * Has the client said anything in a renegotiation?
 */
static bool
has_answered(const struct key_state *ks)
{
    return !cluster_ks_imported(ks) && ks->rec_reliable && ks->rec_reliable->packet_id > 0;
}

/**
 * Is the instance about to be closed, while what the client was to be told
 * before cannot be said, or still waits for a handshake?
 */
static bool
is_last_word_due(const struct context *c, const struct key_state *ks)
{
    const struct event_timeout *et = &c->c2.scheduled_exit;

    return event_timeout_defined(et)
           && (cluster_ks_pending(ks) || (cluster_ks_imported(ks) && cluster_quiesced())
               || (ks->state < S_ACTIVE && now >= et->last + et->n - CLUSTER_HEAL_LAST_WORD));
}

/**
 * Help a client of which something was heard. That may begin a renegotiation, and
 * can wait for when one may begin.
 */
static void
heal_heard(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_client *cc = multi->cluster_client;
    const struct key_state *ks = &multi->session[TM_ACTIVE].key[KS_PRIMARY];

    apply(m, mi, cluster_heal_data(&cc->heal, received_marks(multi)),
          "data under a key that never arrived");
    apply(m, mi, cluster_heal_control(&cc->heal, received_marks(multi)),
          "a handshake that cannot be finished here");
    apply(m, mi, cluster_heal_spoken(&cc->heal, received_marks(multi), has_answered(ks), now,
                                     cluster->read_all),
          "a word on the client's old control channel");
}

void
cluster_heal(struct multi_context *m, struct multi_instance *mi)
{
    struct tls_multi *multi = mi->context.c2.tls_multi;
    struct cluster_client *cc = multi->cluster_client;
    const struct key_state *ks = &multi->session[TM_ACTIVE].key[KS_PRIMARY];

    if (!cc->moved || cc->rekeyed)
    {
        return;
    }
    if (!cluster_quiesced())
    {
        heal_heard(m, mi);
    }
    if (ks->state == S_INITIAL)
    {
        /* a token that is due has begun a renegotiation, and is in no hurry: it
         * would be sent within 15 s, too late for one with a short life */
        cluster_wake(m, mi, 0);
    }
    if (is_unanswered(ks))
    {
        wait_longer(&multi->session[TM_ACTIVE]);
        apply(m, mi, cluster_heal_unanswered(&cc->heal, ks->initial, now),
              "a renegotiation is not answered");
    }
    if (is_last_word_due(&mi->context, ks))
    {
        apply(m, mi, CLUSTER_CURE_KICK, "it cannot be told why its connection ends");
    }
}

#endif /* ifdef ENABLE_CLUSTER */
