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
 * @file cluster_manage_spare.c
 * Commands for two processes with the same descriptors; see cluster_spare.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_config.h"
#include "cluster_manage.h"
#include "cluster_spare_hook.h"
#include "cluster_spare_settings.h"
#include "manage.h"
#include "multi.h"
#include "tun.h"

#include "memdbg.h"

static bool
need_spare(const char *const *p)
{
    if (!cluster_spare.wanted)
    {
        cluster_fail(p[0], NULL, CLUSTER_CODE_FAILED, "needs --cluster-spare in the configuration");
    }
    return cluster_spare.wanted;
}

/*
 * While it waits
 */

static bool
check(const int fd[CLUSTER_DESCRIPTORS], struct cluster_reason *why)
{
    const struct options *o = cluster_spare.options;
    struct addrinfo *list = cluster_spare_resolve(o);
    struct ifreq ifr;
    bool ok = cluster_spare_check_link(fd[0], list, o->bind_dev, why);

    if (list)
    {
        freeaddrinfo(list);
    }
    CLEAR(ifr);
    if (ok && ioctl(fd[1], TUNGETIFF, &ifr))
    {
        ok = cluster_refuse(why, CLUSTER_CODE_UNSUITABLE, "the second descriptor is no tun");
    }
    return ok && cluster_spare_check_tun(&ifr, o->dev, o->dev_type, why)
           && cluster_settings_check(cluster_spare.others_fd, o, cluster_options_entry(o),
                                     ifr.ifr_name, why);
}

static void
command_take(const char *name)
{
    struct cluster_reason why;

    if (!cluster_spare_received(cluster_spare.fd))
    {
        cluster_fail(name, NULL, CLUSTER_CODE_MALFORMED,
                     "needs two descriptors along with the command, a socket and a tun");
    }
    else if (!check(cluster_spare.fd, &why))
    {
        cluster_spare_drop();
        cluster_fail_with(name, NULL, &why);
    }
    else
    {
        cluster_bound_get(cluster_spare.fd[0], &cluster_spare.bound);
        cluster_others_join();
        cluster_spare.waiting = false;
        cluster_spare.taken = cluster_spare.leave = true;
        msg(M_CLIENT, "SUCCESS: %s", name);
    }
}

/** Told, as far as its reader lets us, and gone: nothing else is touched. */
static void
retire(const char *name)
{
    msg(M_INFO, "CLUSTER: retired");
    msg(M_CLIENT, "SUCCESS: %s", name);
    management_flush(management);
    socket_delete_unix(&management->settings.local_unix);
    _exit(OPENVPN_EXIT_STATUS_GOOD);
}

bool
cluster_waiting_command(const char *name)
{
    if (!cluster_spare.waiting)
    {
        return false;
    }
    if (streq(name, "cluster-take"))
    {
        command_take(name);
        return true;
    }
    if (streq(name, "cluster-retire"))
    {
        retire(name);
    }
    return false;
}

/*
 * While it runs
 */

void
cluster_command_take(struct multi_context *m, const char **p)
{
    cluster_fail(p[0], NULL, CLUSTER_CODE_WRONG_ROLE, "has its descriptors and does not wait");
}

/** Bytes that the management client is sent first. */
static size_t
bytes_before(const struct buffer_list *list)
{
    size_t n = 0;

    for (const struct buffer_entry *one = list->head; one; one = one->next)
    {
        n += BLEN(&one->buf);
    }
    return n;
}

void
cluster_command_descriptors(struct multi_context *m, const char **p)
{
    const int fd[CLUSTER_DESCRIPTORS] = { m->top.c2.link_socket->sd, m->top.c1.tuntap->fd };

    if (need_spare(p))
    {
        cluster_bound_get(fd[0], &cluster_spare.bound);
        cluster_spare_give(fd, bytes_before(management->connection.out));
        msg(M_CLIENT, "SUCCESS: %s", p[0]);
    }
}

void
cluster_command_silence(struct multi_context *m, const char **p)
{
    const bool leave = p[1] && streq(p[1], "leave");

    if (!need_spare(p))
    {
        return;
    }
    if (!leave && !(p[1] && streq(p[1], "drain")))
    {
        cluster_fail(p[0], NULL, CLUSTER_CODE_MALFORMED, "is drain or leave");
        return;
    }
    cluster_spare.leave = leave;
    if (!cluster_spare_aside())
    {
        cluster_spare_write_pid();
    }
    msg(M_CLIENT, "SUCCESS: %s %s", p[0], p[1]);
}

void
cluster_command_retire(struct multi_context *m, const char **p)
{
    if (!need_spare(p) || !cluster_need_role(p, cluster_silent()))
    {
        return;
    }
    if (cluster_spare_shared() && !cluster_others_gone())
    {
        retire(p[0]);
    }
    /* nobody goes on with what is open: all of that is taken back, unless its port
     * shows at the end that somebody does */
    msg(M_CLIENT, "SUCCESS: %s", p[0]);
    register_signal(m->top.sig, SIGTERM, "cluster-retire");
}

void
cluster_status_spare(const struct multi_context *m, struct buffer *out)
{
    if (cluster_spare.wanted)
    {
        buf_printf(out, ",descriptors=%s,silence=%s,pid=%u,handshakes=%d",
                   cluster_spare.taken ? "taken" : "own", cluster_spare.leave ? "leave" : "drain",
                   platform_getpid(), cluster_report_handshakes(m));
    }
}

#endif /* ifdef ENABLE_CLUSTER */
