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
 * @file cluster_reason.h
 * Why a command or a record is refused: a code for programs and a sentence for
 * people. Programs go by the code alone, so that a sentence may change.
 */

#ifndef CLUSTER_REASON_H
#define CLUSTER_REASON_H

#ifdef ENABLE_CLUSTER

struct gc_arena;

/** What each is for is said in doc/management-notes.txt. */
enum cluster_code
{
    CLUSTER_CODE_FAILED,
    CLUSTER_CODE_NO_CLUSTER,
    CLUSTER_CODE_NOT_READY,
    CLUSTER_CODE_UNKNOWN_COMMAND,
    CLUSTER_CODE_WRONG_ROLE,
    CLUSTER_CODE_MALFORMED,
    CLUSTER_CODE_UNKNOWN_CLIENT,
    CLUSTER_CODE_NO_KEY,
    CLUSTER_CODE_BAD_RECORD,
    CLUSTER_CODE_OTHER_HOLDER,
    CLUSTER_CODE_BAD_GRANT,
    CLUSTER_CODE_STALE,
    CLUSTER_CODE_DROP_FIRST,
    CLUSTER_CODE_IN_THE_WAY,
    CLUSTER_CODE_FULL,
    CLUSTER_CODE_UNSUITABLE,
    CLUSTER_CODE_DENIED,
    CLUSTER_CODES
};

/** Why something is refused: one line, no key material. */
struct cluster_reason
{
    enum cluster_code code;
    char text[160];
};

/** The word that stands for a code. */
const char *cluster_code_word(enum cluster_code code);

/**
 * Say why something is refused.
 *
 * @return false, for the caller to return
 */
bool cluster_refuse(struct cluster_reason *why, enum cluster_code code, const char *format, ...)
#ifdef __GNUC__
__attribute__ ((format(__printf__, 3, 4)))
#endif
;

/**
 * The line that answers a command which is refused.
 *
 * @param object        what the command is about; may be NULL
 */
const char *cluster_error(const char *command, const char *object,
                          const struct cluster_reason *why, struct gc_arena *gc);

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_REASON_H */
