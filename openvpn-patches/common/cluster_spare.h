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
 * @file cluster_spare.h
 * --cluster-spare: two processes of one server on one machine, of which one
 * serves, have the \e same open socket and the \e same open tun. What is in
 * them waits for whoever reads next, so that nothing is lost when the role goes
 * from one process to the other, be it ordered or because the one died.
 *
 * The first process opens both as ever. The next one finds its port taken, or
 * another process of its configuration, and waits in open_management() for the
 * management client to bring it the two descriptors of the first. What must never
 * happen here:
 *
 * - A silent process that was told to leave what arrives (\e aside) reads
 *   nothing: each packet that it read would be missing to the one that serves.
 * - It changes nothing that belongs to both: address, routes, scripts that
 *   know the addresses of clients, and the files of pid, status and pool.
 * - A process that ends takes down what both have only if it is the last one.
 *
 * This file pair holds the state and what the kernel is asked; where OpenVPN is
 * led another way is in cluster_spare_hook.h.
 */

#ifndef CLUSTER_SPARE_H
#define CLUSTER_SPARE_H

#include "cluster_reason.h"
#include "cluster_state.h"
#include "options.h"

#ifdef ENABLE_CLUSTER

/** A link socket and a tun. */
#define CLUSTER_DESCRIPTORS 2

/** Least bytes that the receive buffer is to have: more than 100 Mbit/s bring in
 * 20 ms, in small packets, each of which counts as some hundred bytes more. */
#define CLUSTER_SPARE_RCVBUF (4 * 1024 * 1024)

/** Where a socket is bound: what another one of the same has to get past. */
struct cluster_bound
{
    struct sockaddr_storage addr;
    socklen_t len;                      /**< 0: not known */
    int v6only;
    char dev[IFNAMSIZ];                 /**< --bind-dev, or empty */
};

/** What a process has to do with another one of its machine. */
struct cluster_spare
{
    bool wanted;                        /**< --cluster-spare */
    bool waiting;                       /**< until descriptors are brought */
    bool taken;                         /**< they came from another process */
    bool given;                         /**< another process may have ours */
    bool leave;                         /**< while silent: read nothing */
    int fd[CLUSTER_DESCRIPTORS];        /**< brought and not used yet, or -1 */
    struct cluster_bound bound;         /**< of the socket, once it is shared */
    const struct options *options;      /**< while waiting */
    char *pid_file;                     /**< --writepid, or NULL */
    int pid_fd;                         /**< the same, opened while that was allowed, or -1 */
    bool pid_fd_only;                   /**< its path is another file's, after --chroot */
    int lock_fd;                        /**< while this process opens its own, or -1 */
    int others_fd;                      /**< the file of all processes of this server, or -1 */
};

/** What other processes of this server do. */
enum cluster_others
{
    CLUSTER_OTHERS_NONE,                /**< there are none, or nobody knows */
    CLUSTER_OTHERS_OPEN,                /**< one opens link socket and tun */
    CLUSTER_OTHERS_HAVE                 /**< one has them */
};

/** The state: there before and after \c cluster is. */
extern struct cluster_spare cluster_spare;

/** May another process have the same socket and the same tun, or have had them? */
static inline bool
cluster_spare_shared(void)
{
    return cluster_spare.taken || cluster_spare.given;
}

/** Is it for another process of this machine to act? */
static inline bool
cluster_spare_aside(void)
{
    return cluster_spare.leave && cluster_silent();
}

/** Is the pid file to be written later, by cluster_spare_begin()? */
static inline bool
cluster_spare_wanted(const struct options *o)
{
    return o->cluster_spare;
}

/** @name Addresses
 *  @{ */

/** Where is this socket bound? */
bool cluster_bound_get(int sd, struct cluster_bound *bound);

/**
 * Try to bind a socket there, and close it again.
 *
 * @return 0, or errno: EADDRINUSE when another socket is there
 */
int cluster_bound_try(const struct cluster_bound *bound);

/**
 * Keep every other process of this machine from opening the same. Two that start
 * at once find the port free both, and what the later one does to the machine
 * until it fails, and when it ends, is done to what the other one serves with.
 * The kernel gives the lock up with the process, however that ends. Nobody else can
 * hold it: only the user of this process, and root, can open the file.
 *
 * @param beside        the management socket: the lock is a file in its directory
 *
 * @return a descriptor, to be closed when the port is taken; -1, with EWOULDBLOCK
 *         while another process opens it, or with why there is no such file
 */
int cluster_bound_lock(const struct cluster_bound *bound, const char *beside);

/** Is it the address and the port of one of these? */
bool cluster_bound_match(const struct cluster_bound *bound, const struct addrinfo *list);

/** @} name Addresses */

/** @name Other processes of this server
 * They are known by a file for their configuration, whatever that says by now: one
 * with another port or address would open a second tun beside the first, with the
 * same addresses and routes. Who has the descriptors has a lock for reading, who
 * opens them one for writing. The kernel gives a lock up with its process; a child
 * has none.
 *  @{ */

/**
 * Open that file, for as long as this process lives.
 *
 * @param configs       all files that the command line names as its configuration, in lines: two
 *                      servers may have one of them in common. Their directories tell them from
 *                      others of the same names
 * @param beside        the management socket: the file is in its directory
 */
void cluster_others_find(const char *configs, const char *beside);

/** Keep them from opening it, unless there are some. */
enum cluster_others cluster_others_exclude(void);

/** This process has what is open. */
void cluster_others_join(void);

/** It has not, and opens nothing. */
void cluster_others_leave(void);

/** One of those that have what is open, or open it; 0: there is none that can be named. */
long cluster_others_pid(void);

/** Is there none of them, as far as is known? One that has its management socket in
 *  another directory is not. */
bool cluster_others_gone(void);

/** @} name Other processes of this server */

/** @name Descriptors that were brought
 *  @{ */

/**
 * Can this process use that socket? Says which option differs.
 *
 * @param list          what \c --local, \c --port and \c --proto want
 * @param bind_dev      what \c --bind-dev wants, or NULL
 */
bool cluster_spare_check_link(int sd, const struct addrinfo *list, const char *bind_dev,
                              struct cluster_reason *why);

/** Can it use the tun that is so, and that \c --dev and \c --dev-type want? */
bool cluster_spare_check_tun(const struct ifreq *ifr, const char *dev, const char *dev_type,
                             struct cluster_reason *why);

/** Close those that are not in use. */
void cluster_spare_drop(void);

/**
 * recv() for the management interface. While descriptors are waited for, those
 * that come along are kept until the line that they came with has been read.
 * Any number but CLUSTER_DESCRIPTORS is closed at once.
 */
ssize_t cluster_spare_recv(int sd, void *data, size_t size);

/**
 * The descriptors that came along, which are the caller's now.
 *
 * @return whether there are any
 */
bool cluster_spare_received(int fd[CLUSTER_DESCRIPTORS]);

/** @} name Descriptors that were brought */

/** @name Descriptors that are given
 *  @{ */

/**
 * Send these with the first byte of what comes \c after bytes that wait already.
 */
void cluster_spare_give(const int fd[CLUSTER_DESCRIPTORS], size_t after);

/** send() for the management interface. */
ssize_t cluster_spare_send(int sd, const void *data, size_t size);

/** The management client is gone: nothing is sent to it any more. */
void cluster_spare_gone(void);

/** @} name Descriptors that are given */

/** Nobody need be kept from the port any more: it is taken. */
void cluster_spare_unlock(void);

/** See that the receive buffer has so many bytes, never fewer than it has. */
void cluster_spare_raise_buffer(int sd, int configured);

/**
 * This is the pid file, to be written one day, with fewer rights perhaps.
 *
 * @param name          may be NULL
 * @param chroot_dir    where \c name will be out of reach, or NULL. The file is made
 *                      before that, and stays when this process ends, as OpenVPN's does
 */
void cluster_spare_keep_pid(const char *name, const char *chroot_dir);

/** This process serves, or is the one that acts: the pid file names it. */
void cluster_spare_write_pid(void);

/**
 * Remove the pid file, if it is ours.
 *
 * @return false when OpenVPN's own pid file is not our business
 */
bool cluster_spare_remove_pid(void);

#else  /* ifdef ENABLE_CLUSTER */

static inline bool
cluster_spare_aside(void)
{
    return false;
}

static inline bool
cluster_spare_wanted(const struct options *o)
{
    return false;
}

static inline bool
cluster_spare_remove_pid(void)
{
    return false;
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_SPARE_H */
