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
 * @file cluster_report.h
 * What a master does every second: tell the counters that moved, ask for
 * packet ids, and start renegotiations that were asked for. One that falls
 * silent tells its receive marks a last time.
 */

#ifndef CLUSTER_REPORT_H
#define CLUSTER_REPORT_H

struct multi_context;

#ifdef ENABLE_CLUSTER

/** Bytes of a packed receive mark: uid, fingerprint, packet id. */
#define CLUSTER_HW_SIZE 20

/** Bytes of a packed byte count: uid, bytes read, bytes written. */
#define CLUSTER_BYTES_SIZE 24

/** Tell what changed in the last second, and start renegotiations. */
void cluster_per_second(struct multi_context *m);

/** Seconds after which a client that has not said a word to a renegotiation is away:
 * it was asked three times. */
#define CLUSTER_AWAY_AFTER 7

/** How many clients are inside a handshake, which nobody else could finish? */
int cluster_report_handshakes(const struct multi_context *m);

/** Tell once more what was received: this process receives nothing any more. */
void cluster_report_last(struct multi_context *m);

/** The same, and byte counts, before all clients are closed: this process ends, or
 *  starts anew. */
void cluster_report_end(struct multi_context *m);

/** Tell that this is the end: all that was told before has been written then, if
 *  somebody reads. */
void cluster_report_over(void);

#else  /* ifdef ENABLE_CLUSTER */

static inline void
cluster_per_second(struct multi_context *m)
{
}

static inline void
cluster_report_end(struct multi_context *m)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_REPORT_H */
