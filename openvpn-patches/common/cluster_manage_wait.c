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
 * @file cluster_manage_wait.c
 * cluster-wait, cluster-release and cluster-quiesce; see cluster_manage.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_manage.h"
#include "cluster_quiesce.h"
#include "multi.h"

#include "memdbg.h"

void
cluster_command_wait(struct multi_context *m, const char **p)
{
    const bool on = p[1] && !strcmp(p[1], "on");
    uint64_t lease = 0;

    if (!on && (!p[1] || strcmp(p[1], "off")))
    {
        cluster_fail(p[0], NULL, CLUSTER_CODE_MALFORMED, "needs 'on' or 'off'");
    }
    else if (on && p[2] && (!cluster_parse_u64(p[2], &lease) || lease > CLUSTER_LEASE_MAX))
    {
        cluster_fail(p[0], p[1], CLUSTER_CODE_MALFORMED, "SECONDS is a number up to 3600");
    }
    else if (cluster_need_role(p, cluster->role == CLUSTER_MASTER))
    {
        cluster_wait_set(m, on, (int)lease);
        msg(M_CLIENT, "SUCCESS: cluster-wait %s", p[1]);
    }
}

void
cluster_command_release(struct multi_context *m, const char **p)
{
    struct multi_instance *mi;

    if (cluster_need_role(p, cluster->role == CLUSTER_MASTER) && (mi = cluster_find_instance(p)))
    {
        cluster_wait_release(m, mi);
        msg(M_CLIENT, "SUCCESS: cluster-release %s", p[1]);
    }
}

void
cluster_command_quiesce(struct multi_context *m, const char **p)
{
    uint64_t seconds;

    if (!cluster_parse_u64(p[1], &seconds) || seconds > CLUSTER_QUIESCE_MAX)
    {
        cluster_fail(p[0], NULL, CLUSTER_CODE_MALFORMED, "SECONDS is a number up to 60");
    }
    else if (cluster_need_role(p, cluster->role == CLUSTER_MASTER))
    {
        cluster_quiesce_set((int)seconds);
        msg(M_CLIENT, "SUCCESS: cluster-quiesce %d", (int)seconds);
    }
}

#endif /* ifdef ENABLE_CLUSTER */
