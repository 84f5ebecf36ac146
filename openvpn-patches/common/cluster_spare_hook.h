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
 * @file cluster_spare_hook.h
 * Where --cluster-spare leads OpenVPN another way; see cluster_spare.h.
 */

#ifndef CLUSTER_SPARE_HOOK_H
#define CLUSTER_SPARE_HOOK_H

#include "cluster_spare.h"

struct context;
struct link_socket;
struct multi_context;
struct tuntap;

#ifdef ENABLE_CLUSTER

/** Before the tun and the socket are opened: find out whether another process
 *  has them, and if so, wait until they are brought, or until nobody has them. */
void cluster_spare_begin(struct context *c);

/** The addresses to which the configuration binds the socket; NULL if that
 *  cannot be found out. To be freed by freeaddrinfo(). */
struct addrinfo *cluster_spare_resolve(const struct options *o);

/** Use the socket that was brought, if one was. */
bool cluster_spare_take_link(struct link_socket *sock);

/** A socket of our own was opened and bound: it may be shared one day. */
void cluster_spare_opened(const struct link_socket *sock);

/** Use the tun that was brought, if one was. It has its address and routes. */
bool cluster_spare_take_tun(struct tuntap *tt);

/** Does another process go on with the tun that is about to be closed? */
bool cluster_spare_keep_tun(struct context *c);

/**
 * A signal has come: a silent process with shared descriptors ends and leaves
 * everything to the other, where it would start anew; one that serves goes on.
 *
 * @return true if nothing is to follow
 */
bool cluster_spare_signal(struct multi_context *m);

/** This process serves now. */
void cluster_spare_serve(const struct multi_context *m);

#else  /* ifdef ENABLE_CLUSTER */

static inline void
cluster_spare_begin(struct context *c)
{
}

static inline bool
cluster_spare_take_link(struct link_socket *sock)
{
    return false;
}

static inline void
cluster_spare_opened(const struct link_socket *sock)
{
}

static inline bool
cluster_spare_take_tun(struct tuntap *tt)
{
    return false;
}

static inline bool
cluster_spare_keep_tun(struct context *c)
{
    return false;
}

static inline bool
cluster_spare_signal(struct multi_context *m)
{
    return false;
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_SPARE_HOOK_H */
