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
 * Packet id ownership as a whole: a seeded random walk of several processes
 * that share one key, over a network that loses, repeats and delays, with any
 * number of masters at a time, crashes and demotes. One property is checked
 * with every packet: no id was ever sent before.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "cluster_range.h"

#ifdef ENABLE_CLUSTER

#define PROCESSES 4
#define STEPS 1500
#define WALKS 2000

static struct packet_id
new_key(void)
{
    struct packet_id pid;
    packet_id_init(&pid, 64, 15, "test", 0);
    return pid;
}

static struct packet_id
generated_key(void)
{
    struct packet_id pid = new_key();
    cluster_range_generate(&pid.send);
    return pid;
}

/** The id of one packet through packet_id.c, 0 if it may not be sent. */
static packet_id_type
send_one(struct packet_id *pid)
{
    uint32_t wire = 0;
    struct buffer buf;
    buf_set_write(&buf, (uint8_t *)&wire, sizeof(wire));
    return packet_id_write(&pid->send, &buf, false, false) ? ntohl(wire) : 0;
}

/** Intervals that were sent, disjoint and sorted. */
struct intervals
{
    struct cluster_range *list;
    size_t n;
};

struct process
{
    struct cluster_holder holder;
    bool master;
    bool has_key;
    bool generator;                     /**< it made the key */
    struct packet_id pid;
};

struct walk
{
    uint64_t seed;
    uint32_t holders_drawn;
    struct process processes[PROCESSES];
    size_t batches;                     /**< by how many a process sent */
    size_t successor_batches;           /**< of these, not by the generator */
    size_t regrants;                    /**< grants out of a granted range */
    size_t receivers;                   /**< who got the key to receive with only */
    struct intervals sent;
    struct cluster_grant *grants;       /**< every one ever issued */
    struct cluster_holder *granters;    /**< who issued it */
    size_t n_grants;
};

/** xorshift64*: the walk of a seed is the same everywhere. */
static uint32_t
draw(struct walk *walk, uint32_t below)
{
    walk->seed ^= walk->seed >> 12;
    walk->seed ^= walk->seed << 25;
    walk->seed ^= walk->seed >> 27;
    return (uint32_t)((walk->seed * 0x2545F4914F6CDD1DULL) >> 32) % below;
}

static void
new_holder(struct walk *walk, struct process *process)
{
    CLEAR(process->holder);
    walk->holders_drawn++;
    memcpy(process->holder.id, &walk->holders_drawn, sizeof(walk->holders_drawn));
}

/** The property. */
static void
assert_never_sent(struct walk *walk, struct cluster_range range)
{
    struct intervals *sent = &walk->sent;
    size_t i = sent->n;

    while (i > 0 && sent->list[i - 1].start >= range.end)
    {
        i--;
    }
    assert_true(range.start < range.end);
    assert_true(i == 0 || sent->list[i - 1].end <= range.start);
    if (i > 0 && sent->list[i - 1].end == range.start)
    {
        sent->list[i - 1].end = range.end;
        return;
    }
    sent->list = realloc(sent->list, (sent->n + 1) * sizeof(range));
    assert_non_null(sent->list);
    memmove(&sent->list[i + 1], &sent->list[i], (sent->n - i) * sizeof(range));
    sent->list[i] = range;
    sent->n++;
}

/** A grant is new, the same again, or cut out of one to the granter. */
static void
record_grant(struct walk *walk, const struct process *granter, const struct cluster_grant *grant)
{
    const struct cluster_range fresh = grant->range;

    for (size_t i = 0; i < walk->n_grants; i++)
    {
        const struct cluster_grant *old = &walk->grants[i];
        const bool same = old->range.start == fresh.start && old->range.end == fresh.end;
        const bool inside = old->range.start <= fresh.start && fresh.end <= old->range.end;
        if (same && cluster_holder_equal(&old->holder, &grant->holder))
        {
            assert_true(cluster_holder_equal(&walk->granters[i], &granter->holder));
            return;
        }
        if (fresh.start < old->range.end && old->range.start < fresh.end)
        {
            /* a holder of what is inside the old one got it from its holder */
            assert_true(inside && !same);
        }
    }
    walk->grants = realloc(walk->grants, (walk->n_grants + 1) * sizeof(*walk->grants));
    walk->granters = realloc(walk->granters, (walk->n_grants + 1) * sizeof(*walk->granters));
    walk->grants[walk->n_grants] = *grant;
    walk->granters[walk->n_grants] = granter->holder;
    walk->regrants += !granter->generator;
    walk->n_grants++;
}

static void
walk_send(struct walk *walk, struct process *process)
{
    struct packet_id *pid = &process->pid;
    const bool ready = process->has_key && cluster_range_ready(&pid->send);
    const packet_id_type id = process->has_key ? send_one(pid) : 0;

    assert_int_equal(ready, id != 0);
    if (!id)
    {
        /* the data plane never waits for anybody */
        assert_true(!process->has_key || !process->master || cluster_range_capped(&pid->send)
                    || cluster_range_is_receive_only(&pid->send));
        return;
    }
    assert_true(process->master);
    const packet_id_type limit = pid->send.limit ? pid->send.limit : CLUSTER_RANGE_END;
    const packet_id_type room = limit > id ? limit - 1 - id : 0;
    const packet_id_type more = draw(walk, 3) ? draw(walk, 1 << (4 + draw(walk, 22))) : room;
    pid->send.id += more < room ? more : room;
    const struct cluster_range batch = { id, pid->send.id + 1 };
    assert_never_sent(walk, batch);
    walk->batches++;
    walk->successor_batches += !process->generator;
}

static void
walk_export(struct walk *walk, struct process *process)
{
    struct cluster_holder holders[PROCESSES];
    struct cluster_grant grants[PROCESSES];
    int n = 0;

    for (int i = 0; i < PROCESSES; i++)
    {
        if (draw(walk, 2))
        {
            holders[n++] = walk->processes[i].holder;
        }
    }
    const int written = process->has_key
                        ? cluster_range_export(&process->pid.send, holders, n, grants) : 0;
    assert_true(process->master || !written);
    for (int i = 0; i < written; i++)
    {
        record_grant(walk, process, &grants[i]);
    }
}

/** The record has the key to send with, or as one that is kept beside a newer session's. */
static void
start_standby(struct walk *walk, struct process *process)
{
    if (draw(walk, 8))
    {
        cluster_range_standby(&process->pid.send);
    }
    else
    {
        cluster_range_receive_only(&process->pid.send);
        walk->receivers++;
    }
}

/** Any grant of the past, once more, to everyone; R4 and R5 are the caller's. */
static void
walk_deliver(struct walk *walk)
{
    if (!walk->n_grants)
    {
        return;
    }
    const struct cluster_grant *grant = &walk->grants[draw(walk, (uint32_t)walk->n_grants)];
    for (int i = 0; i < PROCESSES; i++)
    {
        struct process *process = &walk->processes[i];
        if (!cluster_holder_equal(&process->holder, &grant->holder))
        {
            continue;
        }
        if (!process->has_key && !process->master)
        {
            process->pid = new_key();
            process->has_key = true;
            start_standby(walk, process);
        }
        const char *bad = process->has_key
                          ? cluster_range_import(&process->pid.send, grant->range) : "no key";
        const bool receives = process->has_key && cluster_range_is_receive_only(&process->pid.send);
        assert_int_equal(process->master || receives, bad != NULL);
    }
}

/** An acknowledgement, true or invented. */
static void
walk_stored(struct walk *walk, struct process *process)
{
    if (process->has_key && walk->n_grants)
    {
        const struct cluster_grant *grant = &walk->grants[draw(walk, (uint32_t)walk->n_grants)];
        cluster_range_stored(&process->pid.send, &grant->holder,
                             draw(walk, 4) ? grant->range.end : draw(walk, UINT32_MAX));
    }
}

static void
walk_poll(struct process *process)
{
    struct cluster_holder holder;
    int told = 0;

    if (process->has_key)
    {
        cluster_range_round_wanted(&process->pid.send);
        cluster_range_renegotiate(&process->pid.send);
        while (cluster_range_stale(&process->pid.send, &holder))
        {
            assert_true(++told <= CLUSTER_HOLDERS_MAX);
        }
    }
}

static void
walk_promote(struct process *process)
{
    process->master = true;
    if (process->has_key)
    {
        cluster_range_promote(&process->pid.send);
    }
}

/** A master that heard of another one. */
static void
walk_overtake(struct process *process)
{
    if (process->has_key && process->master)
    {
        cluster_range_overtake(&process->pid.send);
    }
}

/** A standby forgets the key, and may be told of it again: its id stays. */
static void
walk_drop(struct process *process)
{
    if (process->has_key && !process->master)
    {
        packet_id_free(&process->pid);
        process->has_key = false;
    }
}

/** Demote and crash are the same: nothing is kept, the holder id is new. */
static void
walk_demote(struct walk *walk, struct process *process)
{
    if (process->has_key)
    {
        packet_id_free(&process->pid);
    }
    process->has_key = process->master = process->generator = false;
    new_holder(walk, process);
}

static void
walk_step(struct walk *walk)
{
    struct process *process = &walk->processes[draw(walk, PROCESSES)];
    const uint32_t what = draw(walk, 100);

    if (what < 40)
    {
        walk_send(walk, process);
    }
    else if (what < 60)
    {
        walk_export(walk, process);
    }
    else if (what < 80)
    {
        walk_deliver(walk);
    }
    else if (what < 88)
    {
        walk_stored(walk, process);
    }
    else if (what < 96)
    {
        walk_poll(process);
    }
    else if (what < 97)
    {
        walk_drop(process);
        walk_overtake(process);
    }
    else if (what < 99)
    {
        walk_promote(process);
    }
    else if (!draw(walk, 4))
    {
        walk_demote(walk, process);
    }
}

static bool
key_is_extinct(const struct walk *walk)
{
    bool known = false;
    for (int i = 0; i < PROCESSES; i++)
    {
        known = known || walk->processes[i].has_key;
    }
    return !known;
}

static void
walk_start(struct walk *walk, uint64_t seed)
{
    CLEAR(*walk);
    walk->seed = seed * 0x9E3779B97F4A7C15ULL;
    for (int i = 0; i < PROCESSES; i++)
    {
        new_holder(walk, &walk->processes[i]);
    }
    struct process *first = &walk->processes[0];
    first->master = first->has_key = first->generator = true;
    first->pid = generated_key();
    if (seed % 4 == 0)
    {
        first->pid.send.id = CLUSTER_RANGE_END - draw(walk, 1 << 26);
    }
}

static void
walk_end(struct walk *walk)
{
    for (int i = 0; i < PROCESSES; i++)
    {
        walk_demote(walk, &walk->processes[i]);
    }
    free(walk->sent.list);
    free(walk->grants);
    free(walk->granters);
}

static void
no_id_is_ever_sent_twice(void **state)
{
    struct walk walk;
    size_t batches = 0, successor_batches = 0, regrants = 0, receivers = 0;

    now = 5000;
    for (uint64_t seed = 1; seed <= WALKS; seed++)
    {
        walk_start(&walk, seed);
        for (int step = 0; step < STEPS && !key_is_extinct(&walk); step++)
        {
            walk_step(&walk);
        }
        batches += walk.batches;
        successor_batches += walk.successor_batches;
        regrants += walk.regrants;
        receivers += walk.receivers;
        walk_end(&walk);
    }
    /* the walk went where it should */
    print_message("%zu batches, %zu by successors, %zu grants by successors\n",
                  batches, successor_batches, regrants);
    assert_true(batches > 50 * WALKS);
    assert_true(successor_batches > 10 * WALKS);
    assert_true(regrants > 5 * WALKS);
    assert_true(receivers > WALKS / 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_id_is_ever_sent_twice),
    };

    return cmocka_run_group_tests_name("cluster walk tests", tests, NULL, NULL);
}

#else  /* ifdef ENABLE_CLUSTER */

/** Automake's word for a test that was skipped. */
int
main(void)
{
    return 77;
}

#endif /* ifdef ENABLE_CLUSTER */
