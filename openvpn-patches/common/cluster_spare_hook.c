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
 * @file cluster_spare_hook.c
 * Where --cluster-spare leads OpenVPN another way; see cluster_spare_hook.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include <pthread.h>
#ifdef ENABLE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "cluster.h"
#include "cluster_config.h"
#include "cluster_patience.h"
#include "cluster_spare_settings.h"
#include "fdmisc.h"
#include "manage.h"
#include "multi.h"
#include "socket.h"
#include "tun.h"

#include "memdbg.h"

/** Seconds for which a process may take to open its port and tun: scripts run. */
#define LOCK_PATIENCE 60

/** Whose link socket and tun they are: for what must not keep them open. */
static const struct context *top; /* GLOBAL */

/** Where the socket would be bound. */
static bool
resolve(const struct options *o, struct cluster_bound *bound)
{
    const struct connection_entry *ce = cluster_options_entry(o);
    struct addrinfo *list = cluster_spare_resolve(o);

    CLEAR(*bound);
    if (!list)
    {
        return false;
    }
    memcpy(&bound->addr, list->ai_addr, list->ai_addrlen);
    bound->len = list->ai_addrlen;
    bound->v6only = ce->bind_ipv6_only;
    strncpynt(bound->dev, o->bind_dev ? o->bind_dev : "", sizeof(bound->dev));
    freeaddrinfo(list);
    return true;
}

struct addrinfo *
cluster_spare_resolve(const struct options *o)
{
    const struct connection_entry *ce = cluster_options_entry(o);
    const unsigned int flags = GETADDR_RESOLVE | GETADDR_PASSIVE | GETADDR_DATAGRAM;
    struct addrinfo *list = NULL;

    return openvpn_getaddrinfo(flags, ce->local, ce->local_port, 0, NULL, ce->af, &list)
           ? NULL : list;
}

/** Is it to be waited for that another process opens its own? One that takes long for
 *  it is not waited for without end. */
static bool
is_opening(bool opening)
{
    static int64_t since = 0; /* GLOBAL */

    if (!opening)
    {
        since = 0;
        return false;
    }
    since = since ? since : cluster_patience_now();
    return cluster_patience_now() < since + 1000 * LOCK_PATIENCE;
}

/** Does another process keep this one from opening the port? */
static bool
is_locked(const struct cluster_bound *bound, const char *beside)
{
    if (cluster_spare.lock_fd < 0)
    {
        cluster_spare.lock_fd = cluster_bound_lock(bound, beside);
    }
    return cluster_spare.lock_fd < 0 && errno == EWOULDBLOCK;
}

/** Does another process have the port, or is it about to? If that cannot be found
 *  out, opening it tells. Where nobody has it, nobody else can open it before
 *  this process has done so. */
static bool
is_port_taken(const struct options *o, bool opening)
{
    struct cluster_bound bound;
    const bool known = resolve(o, &bound);

    if (is_opening(opening || (known && is_locked(&bound, o->management_addr))))
    {
        return true;
    }
    if (!known || cluster_bound_try(&bound) != EADDRINUSE)
    {
        return false;
    }
    cluster_spare_unlock();
    return true;
}

/** Told to whoever is connected while it waits. */
static char notice[64]; /* GLOBAL */

/** Say what is waited for: that somebody else's port is free, or another process of this
 *  server. That is told again when it has changed. */
static void
say_why(bool is_port)
{
    char text[sizeof(notice)] = ">CLUSTER:WAITING,port";

    if (!is_port)
    {
        openvpn_snprintf(text, sizeof(text), ">CLUSTER:WAITING,configuration,%ld",
                         cluster_others_pid());
    }
    if (!streq(text, notice))
    {
        memcpy(notice, text, sizeof(notice));
        msg(M_INFO, "CLUSTER: %s: waiting for its descriptors, or for its end", is_port
            ? "another process has the port" : "another process of this configuration is there");
        if (cluster_spare.waiting)
        {
            msg(M_CLIENT, "%s", notice);
        }
    }
}

/** Likewise, or does another process of this server have another port, as its
 *  configuration said before it was changed? */
static bool
is_taken(const struct options *o)
{
    const enum cluster_others others = cluster_others_exclude();

    if (others == CLUSTER_OTHERS_HAVE)
    {
        is_opening(false);
        cluster_spare_unlock();
        say_why(false);
        return true;
    }
    if (is_port_taken(o, others == CLUSTER_OTHERS_OPEN))
    {
        cluster_others_leave();
        say_why(others == CLUSTER_OTHERS_NONE);
        return true;
    }
    return false;
}

/** Is the waiting over: were descriptors brought, or has nobody the port? */
static bool
is_over(void)
{
    if (cluster_spare.waiting && !is_taken(cluster_spare.options))
    {
        msg(M_INFO, "CLUSTER: the port is free, opening it");
        cluster_spare.waiting = false;
    }
    return !cluster_spare.waiting;
}

static void
wait_for_descriptors(const struct options *o)
{
    cluster_spare.options = o;
    cluster_spare.waiting = true;
#ifdef ENABLE_SYSTEMD
    sd_notifyf(0, "READY=1\nSTATUS=Waiting for the descriptors of the process that serves\n"
               "MAINPID=%lu", (unsigned long)getpid());
#endif
    management_wait(management, notice, is_over);
    cluster_spare.waiting = false;
    cluster_spare.options = NULL;
    notice[0] = '\0';
}

/** A child of a child closes it no more: the number may be another file's by then. */
static void
let_go(int *fd)
{
    if (*fd >= 0)
    {
        close(*fd);
        *fd = -1;
    }
}

/** In a child of this process: it must not keep open what says that this process is
 *  there, or what another one shall have: port and tun, and with it the routes, would
 *  outlive it, and the next one could open neither. One that becomes another program
 *  has no use for it either. What is noted here is noted in the child's copy. */
static void
let_go_in_child(void)
{
    cluster_spare_drop();
    let_go(&cluster_spare.lock_fd);
    let_go(&cluster_spare.others_fd);
    let_go(&cluster_spare.pid_fd);
    if (top->c2.link_socket)
    {
        let_go(&top->c2.link_socket->sd);
    }
    if (top->c1.tuntap)
    {
        let_go(&top->c1.tuntap->fd);
    }
    if (management)
    {
        let_go(&management->connection.sd_top);
        let_go(&management->connection.sd_cli);
    }
}

/** A plugin may leave a process behind, which outlives this one and closes nothing. */
static void
let_go_in_children(const struct context *c)
{
    static bool done = false; /* GLOBAL */

    top = c;
    if (!done && pthread_atfork(NULL, NULL, let_go_in_child))
    {
        msg(M_WARN, "CLUSTER: what plugins start may keep port, tun and management socket open");
    }
    done = true;
}

void
cluster_spare_begin(struct context *c)
{
    const struct options *o = &c->options;

    if (o->cluster)
    {
        let_go_in_children(c);
    }
    cluster_spare.wanted = o->cluster_spare;
    if (!o->cluster_spare)
    {
        return;
    }
    cluster_spare_keep_pid(o->writepid, o->chroot_dir);
    cluster_spare.taken = cluster_spare.given = cluster_spare.leave = false;
    cluster_others_find(o->cluster_configs, o->management_addr);
    if (is_taken(o))
    {
        wait_for_descriptors(o);
    }
    if (!cluster_spare.taken && !IS_SIG(c))
    {
        cluster_spare_write_pid();
    }
}

bool
cluster_spare_take_link(struct link_socket *sock)
{
    if (cluster_spare.fd[0] < 0)
    {
        return false;
    }
    sock->sd = cluster_spare.fd[0];
    cluster_spare.fd[0] = -1;
    sock->sockflags |= SF_GETADDRINFO_DGRAM;
    sock->info.af = cluster_spare.bound.addr.ss_family;
    cluster_spare_opened(sock);
    return true;
}

/** The tun is there before the socket is. */
static void
write_settings(void)
{
    const struct tuntap *tt = top->c1.tuntap;

    if (tt && tt->actual_name)
    {
        cluster_settings_write(cluster_spare.others_fd, &top->options,
                               cluster_options_entry(&top->options), tt->actual_name);
    }
}

void
cluster_spare_opened(const struct link_socket *sock)
{
    if (cluster_spare.wanted)
    {
        cluster_spare_raise_buffer(sock->sd, sock->socket_buffer_sizes.rcvbuf);
        if (!cluster_spare.taken)
        {
            write_settings();
        }
        cluster_others_join();
        cluster_spare_unlock();
    }
}

bool
cluster_spare_take_tun(struct tuntap *tt)
{
    struct ifreq ifr;

    if (cluster_spare.fd[1] < 0)
    {
        return false;
    }
    CLEAR(ifr);
    if (ioctl(cluster_spare.fd[1], TUNGETIFF, &ifr))
    {
        msg(M_ERR, "CLUSTER: the tun that was taken is gone");
    }
    tt->fd = cluster_spare.fd[1];
    cluster_spare.fd[1] = -1;
    tt->actual_name = string_alloc(ifr.ifr_name, NULL);
    set_nonblock(tt->fd);
    msg(M_INFO, "CLUSTER: %s was taken with its address and routes", tt->actual_name);
    return true;
}

/** The routes stay: they are not ours any more when what we know of them is freed. */
static void
forget_routes(struct context *c)
{
    if (c->c1.route_list)
    {
        c->c1.route_list->iflags &= ~(RL_ROUTES_ADDED | RL_DID_REDIRECT_DEFAULT_GATEWAY);
    }
    if (c->c1.route_ipv6_list)
    {
        c->c1.route_ipv6_list->iflags &= ~RL_ROUTES_ADDED;
    }
    delete_routes(c->c1.route_list, c->c1.route_ipv6_list, c->c1.tuntap, 0, c->c2.es, &c->net_ctx);
}

bool
cluster_spare_keep_tun(struct context *c)
{
    if (!cluster_spare_shared())
    {
        return false;
    }
    if (c->c2.link_socket && socket_defined(c->c2.link_socket->sd)) /* a fatal error */
    {
        close(c->c2.link_socket->sd);
        c->c2.link_socket->sd = SOCKET_UNDEFINED;
    }
    if (!cluster_bound_try(&cluster_spare.bound))
    {
        return false;
    }
    msg(M_INFO, "CLUSTER: another process goes on with %s", c->c1.tuntap->actual_name);
    c->options.ifconfig_noexec = true; /* the address stays */
    forget_routes(c);
    return true;
}

bool
cluster_spare_signal(struct multi_context *m)
{
    const int received = m->top.sig->signal_received;
    const bool restart = received == SIGHUP || received == SIGUSR1;
    const bool end = received == SIGTERM || received == SIGINT;

    if (!cluster_spare_shared() || !(restart || end))
    {
        return false;
    }
    if (restart && !cluster_silent())
    {
        msg(M_WARN, "CLUSTER: %s is refused, its descriptors belong to another process, too: "
            "use 'ovpnha restart-openvpn'", signal_name(received, true));
        signal_reset(m->top.sig);
        return true;
    }
    if (cluster_leave(m))
    {
        cluster_spare.leave = true;
        if (restart)
        {
            m->top.sig->signal_received = SIGTERM;
        }
    }
    return false;
}

void
cluster_spare_serve(const struct multi_context *m)
{
    const struct link_socket *sock = m->top.c2.link_socket;

    if (!cluster_spare.wanted)
    {
        return;
    }
    cluster_spare_write_pid();
    if (cluster_spare.taken && sock->mark
        && setsockopt(sock->sd, SOL_SOCKET, SO_MARK, &sock->mark, sizeof(sock->mark)))
    {
        msg(M_WARN | M_ERRNO, "CLUSTER: cannot set --mark %d on the socket that was taken",
            sock->mark);
    }
}

#endif /* ifdef ENABLE_CLUSTER */
