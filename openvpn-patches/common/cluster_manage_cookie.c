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
 * @file cluster_manage_cookie.c
 * cluster-cookie: one cookie key for all servers.
 *
 * A server answers a client's first packet without remembering it: its own
 * session id is an HMAC of the client's address and session id, and what the
 * client sends next must bring it back (see calculate_session_id_hmac()). With
 * one key for all servers, another one can take that next packet.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_manage.h"
#include "multi.h"

#include "memdbg.h"

static void
replace_key(hmac_ctx_t *hmac, const uint8_t *key)
{
    hmac_ctx_cleanup(hmac);
    hmac_ctx_init(hmac, key, "SHA256");
}

void
cluster_lines_cookie(struct multi_context *m, const struct buffer_list *lines)
{
    uint8_t key[SHA256_DIGEST_LENGTH];
    const struct buffer_entry *e = lines->head;

    if (!e || e->next || !cluster_parse_hex(BSTR(&e->buf), key, sizeof(key)))
    {
        cluster_fail("cluster-cookie", NULL, CLUSTER_CODE_MALFORMED, "needs one line of 64 hex digits");
        return;
    }
    replace_key(m->top.c2.session_id_hmac, key);
    secure_memzero(key, sizeof(key));
    msg(M_CLIENT, "SUCCESS: cluster-cookie");
}

#endif /* ifdef ENABLE_CLUSTER */
