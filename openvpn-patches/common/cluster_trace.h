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
 * For tests alone: what has become a nonce. With CLUSTER_TRACE defined, every
 * packet that an AEAD cipher encrypts writes a line "KEY ID" into the file
 * that the environment variable CLUSTER_TRACE names, followed by a dot and the
 * process id. KEY stands for the key and tells nothing of it. The line is
 * there before the packet is: what is lost in sendto() has used its nonce too.
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

static inline void
cluster_trace(const struct key_ctx *ctx, const struct packet_id_send *send)
{
    FILE *file = cluster_trace_file();
    uint8_t digest[SHA256_DIGEST_LENGTH];

    if (!file || !md_full("SHA256", ctx->implicit_iv, (int)ctx->implicit_iv_len, digest))
    {
        return;
    }
    for (int i = 0; i < 8; ++i)
    {
        fprintf(file, "%02x", digest[i]);
    }
    fprintf(file, " " packet_id_format "\n", send->id);
    fflush(file);
}

#else  /* ifdef CLUSTER_TRACE */

static inline void
cluster_trace(const struct key_ctx *ctx, const struct packet_id_send *send)
{
}

#endif /* ifdef CLUSTER_TRACE */
#endif /* CLUSTER_TRACE_H */
