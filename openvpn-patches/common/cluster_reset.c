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
 * @file cluster_reset.c
 * What is kept while a client begins anew, and whose it is; see cluster_reset.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "cluster_reset.h"
#include "crypto.h"
#include "ssl.h"
#include "ssl_pkt.h"

#include "memdbg.h"

/**
 * The key that a client which begins anew goes on sending with, NULL if it has
 * none.
 */
static struct key_state *
key_in_use(struct tls_session *session)
{
    for (int i = 0; i < KS_SIZE; ++i)
    {
        struct key_state *ks = &session->key[i];
        if (cluster_ks_usable(ks) && !cluster_ks_pending(ks))
        {
            return ks;
        }
    }
    return NULL;
}

void
cluster_keep_session(struct tls_multi *multi)
{
    struct tls_session *active = &multi->session[TM_ACTIVE];
    struct tls_session *kept = &multi->session[TM_LAME_DUCK];
    struct key_state *ks = key_in_use(active);
    struct key_state *lame = &active->key[KS_LAME_DUCK];

    /* its user may still have to be found good or bad: see cluster_is_no_proof() */
    if (!multi->opt.cluster || !ks)
    {
        return;
    }
    if (ks != lame)
    {
        key_state_free(lame, true);
        *lame = *ks;
        CLEAR(*ks);
        lame->must_die = now + active->opt->transition_window;
    }
    else
    {
        key_state_free(&active->key[KS_PRIMARY], true);
    }
    tls_session_free(kept, false);
    *kept = *active;
    CLEAR(*active);
    msg(D_TLS_DEBUG_LOW, "CLUSTER: the client begins anew, key %d is kept", kept->key[KS_LAME_DUCK].key_id);
}

/**
 * Distance of a packet id from the highest one that was received under a key.
 */
static int64_t
id_distance(const struct key_state *ks, packet_id_type id)
{
    const int64_t distance = (int64_t)id - ks->crypto_options.packet_id.rec.id;

    return distance < 0 ? -distance : distance;
}

/**
 * Does a packet look as if it was of a kept key? The ids of each key go on where
 * they were.
 */
static bool
resembles_kept(const struct key_state *kept, const struct key_state *ks, struct buffer packet)
{
    const bool v2 = *BPTR(&packet) >> P_OPCODE_SHIFT == P_DATA_V2;
    packet_id_type id;

    if (!cipher_ctx_mode_aead(kept->crypto_options.key_ctx_bi.decrypt.cipher))
    {
        return true; /* its id is encrypted */
    }
    if (!buf_advance(&packet, v2 ? 4 : 1) || !buf_read(&packet, &id, sizeof(id)))
    {
        return false;
    }
    id = ntohpid(id);
    return id_distance(kept, id) <= id_distance(ks, id);
}

bool
cluster_skip_key(struct tls_multi *multi, const struct key_state *ks, const struct buffer *buf)
{
    const struct key_state *kept = &multi->session[TM_LAME_DUCK].key[KS_LAME_DUCK];
    struct cluster_ks *trial = kept->cluster_ks;

    /* a client does not go back from its new key, and later sends with it for sure */
    if (!trial || kept == ks || kept->key_id != ks->key_id || !cluster_ks_usable(kept)
        || ks->crypto_options.packet_id.rec.id
        || now >= ks->auth_deferred_expire)
    {
        return false;
    }

    /* a client that has started anew has lost its old key, and begins at 1: what
     * was tried in vain is not tried twice in a row */
    const packet_id_type mark = kept->crypto_options.packet_id.rec.id;
    if (trial->tried && trial->tried_at == mark)
    {
        trial->tried = false;
        return false;
    }
    trial->tried = resembles_kept(kept, ks, *buf);
    trial->tried_at = mark;
    return trial->tried;
}

bool
cluster_is_no_proof(struct tls_multi *multi, const struct key_state *ks)
{
    return multi->opt.cluster && ks == &multi->session[TM_LAME_DUCK].key[KS_LAME_DUCK]
           && multi->session[TM_ACTIVE].key[KS_PRIMARY].authenticated == KS_AUTH_DEFERRED;
}

void
cluster_lock_broken(struct tls_multi *multi)
{
    if (multi->opt.cluster)
    {
        cluster_client_get(multi)->stranger =
            multi->session[TM_INITIAL].key[KS_PRIMARY].state >= S_START;
    }
}

void
cluster_refusal(const struct tls_multi *multi, struct buffer *text)
{
    if (multi->cluster_client && multi->cluster_client->stranger)
    {
        text->len = 0;
        buf_printf(text, CLUSTER_RESTART);
    }
}

#endif /* ifdef ENABLE_CLUSTER */
