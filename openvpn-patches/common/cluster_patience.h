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
 * @file cluster_patience.h
 * How long somebody is waited for who is to read what this process says at its end.
 *
 * Its end must not depend on him: one who hangs is not waited for, and one who reads,
 * but slowly, only so long in all. A clock tells how long that was: each single wait
 * is over as soon as he has read something, however little.
 */

#ifndef CLUSTER_PATIENCE_H
#define CLUSTER_PATIENCE_H

#ifdef ENABLE_CLUSTER

/** Milliseconds for which somebody who reads nothing is waited for. */
#define CLUSTER_PATIENCE_ONCE 500

/** Milliseconds for which somebody who reads is waited for in all. A sidecar takes
 *  less for the last words of thousands of clients. */
#define CLUSTER_PATIENCE_ALL 3000

/** Milliseconds of a clock that nobody sets. */
static inline int64_t
cluster_patience_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/**
 * Wait until there is room for more.
 *
 * @param left          milliseconds that are left for all waits; what this one takes
 *                      is taken off
 *
 * @return whether there is; if not, nothing more is to be written
 */
static inline bool
cluster_patience_wait(int sd, int *left)
{
    const int64_t begin = cluster_patience_now();
    const int64_t most = *left < CLUSTER_PATIENCE_ONCE ? *left : CLUSTER_PATIENCE_ONCE;
    struct pollfd fd = { .fd = sd, .events = POLLOUT };
    int64_t took = 0;
    int n;

    do /* a signal neither ends the wait nor begins it anew */
    {
        n = poll(&fd, 1, took < most ? (int)(most - took) : 0);
        took = cluster_patience_now() - begin;
    } while (n < 0 && errno == EINTR);
    *left = took < *left ? *left - (int)took : 0;
    return n == 1 && (fd.revents & POLLOUT) && *left;
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_PATIENCE_H */
