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

/*
 * Single steps of cluster_range.c, for a test outside of this tree: reads a
 * state and an operation from each line of its input, lets cluster_range.c do
 * it, and writes the state after it and what was answered. The model that is
 * searched exhaustively makes the same steps; the two are compared. Built with
 * CLUSTER_RANGE_FIRST, _LAST, _MIN and _END of a few ids, as the model has.
 *
 * A state is: sending id limit segment_start next.start next.end rest.start
 * rest.end forgotten n, then holder start end stored for each of n grants.
 * "forgotten" counts grants to holders that nobody asks for again.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#include "cluster_range.h"

/** Holders nobody asks for have names from here on. */
#define FORGOTTEN 100

static unsigned int
number(void)
{
    unsigned int n = 0;
    if (scanf("%u", &n) != 1)
    {
        exit(1);
    }
    return n;
}

static struct cluster_holder
holder_of(unsigned int name)
{
    struct cluster_holder holder = { { 0 } };
    holder.id[0] = (uint8_t)name;
    return holder;
}

static void
read_grants(struct cluster_range_owner *owner)
{
    const int forgotten = (int)number();
    const int n = (int)number();

    for (int i = 0; i < n; i++)
    {
        struct cluster_grant *grant = &owner->grants[owner->n_grants++];
        grant->holder = holder_of(number());
        grant->range.start = number();
        grant->range.end = number();
        grant->stored = number();
    }
    for (int i = 0; i < forgotten; i++)
    {
        owner->grants[owner->n_grants++].holder = holder_of((unsigned int)(FORGOTTEN + i));
    }
}

static void
read_state(struct packet_id_send *send)
{
    cluster_range_standby(send);
    struct cluster_range_owner *owner = send->range;

    owner->sending = number();
    send->id = number();
    send->limit = number();
    owner->segment_start = number();
    owner->next.start = number();
    owner->next.end = number();
    owner->rest.start = number();
    owner->rest.end = number();
    read_grants(owner);
}

static void
write_state(const struct packet_id_send *send)
{
    const struct cluster_range_owner *owner = send->range;
    int forgotten = 0;

    for (int i = 0; i < owner->n_grants; i++)
    {
        forgotten += owner->grants[i].holder.id[0] >= FORGOTTEN;
    }
    printf("%d %u %u %u %u %u %u %u %d %d", owner->sending, send->id, send->limit,
           owner->segment_start, owner->next.start, owner->next.end, owner->rest.start,
           owner->rest.end, forgotten, owner->n_grants - forgotten);
    for (int i = 0; i < owner->n_grants; i++)
    {
        const struct cluster_grant *grant = &owner->grants[i];
        if (grant->holder.id[0] < FORGOTTEN)
        {
            printf(" %u %u %u %d", grant->holder.id[0], grant->range.start, grant->range.end,
                   grant->stored);
        }
    }
}

static void
step_export(struct packet_id_send *send)
{
    struct cluster_holder holders[CLUSTER_HOLDERS_MAX];
    struct cluster_grant grants[CLUSTER_HOLDERS_MAX];
    const int n = (int)number();

    for (int i = 0; i < n; i++)
    {
        holders[i] = holder_of(number());
    }
    const int told = cluster_range_export(send, holders, n, grants);
    write_state(send);
    printf(" | %d", told);
    for (int i = 0; i < told; i++)
    {
        printf(" %u %u %u", grants[i].holder.id[0], grants[i].range.start, grants[i].range.end);
    }
}

static void
step_send(struct packet_id_send *send)
{
    uint32_t wire = 0;
    struct buffer buf;

    buf_set_write(&buf, (uint8_t *)&wire, sizeof(wire));
    const bool sent = packet_id_write(send, &buf, false, false);
    write_state(send);
    printf(" | %u", sent ? ntohl(wire) : 0);
}

static void
step(struct packet_id_send *send, const char *what)
{
    if (!strcmp(what, "export"))
    {
        step_export(send);
        return;
    }
    if (!strcmp(what, "send"))
    {
        step_send(send);
        return;
    }
    if (!strcmp(what, "take"))
    {
        struct cluster_range range;
        range.start = number();
        range.end = number();
        const bool refused = cluster_range_import(send, range) != NULL;
        write_state(send);
        printf(" | %d", !refused);
        return;
    }
    if (!strcmp(what, "stored"))
    {
        const struct cluster_holder holder = holder_of(number());
        cluster_range_stored(send, &holder, number());
    }
    else if (!strcmp(what, "promote"))
    {
        cluster_range_promote(send);
    }
    else if (!strcmp(what, "overtake"))
    {
        cluster_range_overtake(send);
    }
    else
    {
        exit(1);
    }
    write_state(send);
}

int
main(void)
{
    char what[16];

    now = 5000;
    while (scanf("%15s", what) == 1)
    {
        struct packet_id pid;
        packet_id_init(&pid, 64, 15, "test", 0);
        read_state(&pid.send);
        step(&pid.send, what);
        putchar('\n');
        packet_id_free(&pid);
    }
    return 0;
}
