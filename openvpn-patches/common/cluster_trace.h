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
 * @file cluster_trace.h
 * For tests alone: which packet ids were used. With CLUSTER_TRACE defined, every
 * packet that a data channel cipher encrypts writes a line into the file that
 * the environment variable CLUSTER_TRACE names, followed by a dot and the
 * process id. "KEY ID" stands for a packet of an AEAD cipher, whose id is its
 * nonce and can be read on the wire. "KEY ID MARK" stands for one of a CBC
 * cipher, whose id is encrypted: MARK is the number that the first four bytes
 * of its IV make. KEY stands for the key and tells nothing of it. The line is
 * there before the packet is: what is lost in sendto() has used its id too.
 *
 * Without CLUSTER_TRACE nothing of this is compiled.
 */

#ifndef CLUSTER_TRACE_H
#define CLUSTER_TRACE_H

#include "crypto.h"

#ifdef CLUSTER_TRACE

static inline FILE *
cluster_trace_file(void)
{
    static FILE *file = NULL;
    const char *name = getenv("CLUSTER_TRACE");
    char path[PATH_MAX];

    if (!file && name)
    {
        openvpn_snprintf(path, sizeof(path), "%s.%d", name, (int)getpid());
        file = fopen(path, "a");
    }
    return file;
}

/**
 * The same bytes for the same key, others for any other.
 */
static inline bool
cluster_trace_name(const struct key_ctx *ctx, uint8_t *name)
{
    static const uint8_t text[] = "cluster trace";

    if (!ctx->hmac)
    {
        return md_full("SHA256", ctx->implicit_iv, (int)ctx->implicit_iv_len, name);
    }
    /* whoever encrypts resets it before use */
    hmac_ctx_reset(ctx->hmac);
    hmac_ctx_update(ctx->hmac, text, sizeof(text));
    hmac_ctx_final(ctx->hmac, name);
    return true;
}

static inline void
cluster_trace(const struct key_ctx *ctx, const struct packet_id_send *send, const uint8_t *iv)
{
    FILE *file = cluster_trace_file();
    uint8_t name[MAX_HMAC_KEY_LENGTH];

    /* with neither HMAC nor implicit IV there is nothing to name the key by */
    ASSERT(ctx->hmac || ctx->implicit_iv_len);
    if (!file || !cluster_trace_name(ctx, name))
    {
        return;
    }
    for (int i = 0; i < 8; ++i)
    {
        fprintf(file, "%02x", name[i]);
    }
    fprintf(file, " " packet_id_format, send->id);
    if (iv)
    {
        uint32_t mark;

        memcpy(&mark, iv, sizeof(mark));
        fprintf(file, " %" PRIu32, ntohl(mark));
    }
    fputc('\n', file);
    fflush(file);
}

#else  /* ifdef CLUSTER_TRACE */

static inline void
cluster_trace(const struct key_ctx *ctx, const struct packet_id_send *send, const uint8_t *iv)
{
}

#endif /* ifdef CLUSTER_TRACE */
#endif /* CLUSTER_TRACE_H */
