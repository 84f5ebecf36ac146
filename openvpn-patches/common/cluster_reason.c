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
 * @file cluster_reason.c
 * Why a command or a record is refused; see cluster_reason.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "buffer.h"
#include "cluster_reason.h"

#include "memdbg.h"

static const char *const words[CLUSTER_CODES] = {
    [CLUSTER_CODE_FAILED] = "failed",
    [CLUSTER_CODE_NO_CLUSTER] = "no-cluster",
    [CLUSTER_CODE_NOT_READY] = "not-ready",
    [CLUSTER_CODE_UNKNOWN_COMMAND] = "unknown-command",
    [CLUSTER_CODE_WRONG_ROLE] = "wrong-role",
    [CLUSTER_CODE_MALFORMED] = "malformed",
    [CLUSTER_CODE_UNKNOWN_CLIENT] = "unknown-client",
    [CLUSTER_CODE_NO_KEY] = "no-key",
    [CLUSTER_CODE_BAD_RECORD] = "bad-record",
    [CLUSTER_CODE_OTHER_HOLDER] = "other-holder",
    [CLUSTER_CODE_BAD_GRANT] = "bad-grant",
    [CLUSTER_CODE_STALE] = "stale",
    [CLUSTER_CODE_DROP_FIRST] = "drop-first",
    [CLUSTER_CODE_IN_THE_WAY] = "in-the-way",
    [CLUSTER_CODE_FULL] = "full",
    [CLUSTER_CODE_UNSUITABLE] = "unsuitable",
    [CLUSTER_CODE_DENIED] = "denied",
};

const char *
cluster_code_word(enum cluster_code code)
{
    return words[code];
}

bool
cluster_refuse(struct cluster_reason *why, enum cluster_code code, const char *format, ...)
{
    va_list arglist;

    why->code = code;
    va_start(arglist, format);
    vsnprintf(why->text, sizeof(why->text), format, arglist);
    va_end(arglist);
    return false;
}

const char *
cluster_error(const char *command, const char *object, const struct cluster_reason *why,
              struct gc_arena *gc)
{
    struct buffer out = alloc_buf_gc(512, gc);

    buf_printf(&out, "ERROR: %s%s%s: %s %s", command, object ? " " : "", object ? object : "",
               cluster_code_word(why->code), why->text);
    return BSTR(&out);
}

#endif /* ifdef ENABLE_CLUSTER */
