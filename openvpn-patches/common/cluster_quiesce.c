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
 * @file cluster_quiesce.c
 * A while in which nothing begins; see cluster_quiesce.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "buffer.h"
#include "cluster_quiesce.h"
#include "error.h"
#include "ssl_pkt.h"

#include "memdbg.h"

/**
 * Is somebody still on the way who was answered?
 */
static bool
is_expecting(void)
{
    return now <= cluster->answered_last + CLUSTER_QUIESCE_EXPECTED;
}

/**
 * Can a packet bring back what a first answer gave to the client?
 */
static bool
is_second(int op)
{
    return op == P_CONTROL_V1 || op == P_ACK_V1 || op == P_CONTROL_WKC_V1;
}

bool
cluster_quiesce_drops(void)
{
    if (!cluster_quiesced())
    {
        return false;
    }
    ++cluster->unanswered;
    return true;
}

bool
cluster_quiesce_drops_first(const struct buffer *buf)
{
    const int op = *BPTR(buf) >> P_OPCODE_SHIFT;

    /* data from nowhere begins nothing */
    if (op == P_DATA_V1 || op == P_DATA_V2 || (is_second(op) && cluster_quiesce_expected()))
    {
        return false;
    }
    return cluster_quiesce_drops();
}

void
cluster_quiesce_answered(void)
{
    if (cluster)
    {
        cluster->answered = is_expecting() ? cluster->answered + 1 : 1;
        cluster->answered_last = now;
    }
}

void
cluster_quiesce_came(void)
{
    if (cluster && cluster->answered)
    {
        --cluster->answered;
    }
}

int
cluster_quiesce_expected(void)
{
    return cluster_quiesced() && is_expecting() ? cluster->answered : 0;
}

void
cluster_quiesce_set(int seconds)
{
    if (!seconds)
    {
        cluster_quiesce_end();
    }
    else
    {
        cluster->quiesced_until = now + seconds;
    }
}

void
cluster_quiesce_end(void)
{
    if (cluster->unanswered)
    {
        msg(M_INFO, "CLUSTER: handshakes begin again; %u packets that would have begun one "
            "were not answered", cluster->unanswered);
    }
    cluster->unanswered = 0;
    cluster->quiesced_until = 0;
}

void
cluster_quiesce_expire(void)
{
    if (cluster->quiesced_until && now > cluster->quiesced_until)
    {
        cluster_quiesce_end();
    }
}

#endif /* ifdef ENABLE_CLUSTER */
