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
 * Packet id ownership: each rule of cluster_range.h by itself, and the replay
 * window of an imported key.
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

#define M24 ((packet_id_type)1 << 24)
#define M26 ((packet_id_type)1 << 26)

static const struct cluster_holder ann = { "ann" };
static const struct cluster_holder bob = { "bob" };
static const struct cluster_holder eve = { "eve" };

/** A key's packet ids, and how to send with them. */
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

static struct packet_id
imported_key(packet_id_type start, packet_id_type end)
{
    struct packet_id pid = new_key();
    const struct cluster_range range = { start, end };
    cluster_range_standby(&pid.send);
    assert_null(cluster_range_import(&pid.send, range));
    return pid;
}

static struct packet_id
promoted_key(packet_id_type start, packet_id_type end)
{
    struct packet_id pid = imported_key(start, end);
    cluster_range_promote(&pid.send);
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

/** As if every id before \c id had been sent, inside the current segment. */
static void
sent_up_to(struct packet_id *pid, packet_id_type id)
{
    assert_true(id > pid->send.id && (!pid->send.limit || id <= pid->send.limit));
    pid->send.id = id - 1;
}

static void
send_percent(struct packet_id *pid, unsigned int percent)
{
    const packet_id_type start = pid->send.range->segment_start;
    const uint64_t length = pid->send.limit - start;
    sent_up_to(pid, start + (packet_id_type)(length * percent / 100));
}

static struct cluster_range
grant_to(struct packet_id *pid, const struct cluster_holder *holder)
{
    struct cluster_grant grant;
    assert_int_equal(cluster_range_export(&pid->send, holder, 1, &grant), 1);
    assert_true(cluster_holder_equal(&grant.holder, holder));
    assert_true(grant.range.start < grant.range.end);
    assert_true(grant.range.end <= CLUSTER_RANGE_END);
    return grant.range;
}

static void
assert_range(struct cluster_range range, packet_id_type start, packet_id_type end)
{
    assert_int_equal(range.start, start);
    assert_int_equal(range.end, end);
}

static void
assert_stale(struct packet_id *pid, const struct cluster_holder *holder)
{
    struct cluster_holder told;
    assert_true(cluster_range_stale(&pid->send, &told));
    assert_true(cluster_holder_equal(&told, holder));
}

static void
assert_none_stale(struct packet_id *pid)
{
    struct cluster_holder told;
    assert_false(cluster_range_stale(&pid->send, &told));
}

static void
key_without_owner_is_stock(void **state)
{
    struct packet_id pid = new_key();
    struct cluster_grant grant;

    assert_int_equal(send_one(&pid), 1);
    assert_true(cluster_range_ready(&pid.send));
    assert_false(cluster_range_renegotiate(&pid.send));
    assert_int_equal(cluster_range_export(&pid.send, &ann, 1, &grant), 0);
    pid.send.id = PACKET_ID_MAX;
    assert_int_equal(send_one(&pid), 0);
    packet_id_free(&pid);
}

static void
never_exported_has_no_cap(void **state)
{
    struct packet_id pid = generated_key();

    assert_int_equal(send_one(&pid), 1);
    sent_up_to(&pid, CLUSTER_RANGE_END);
    assert_int_equal(send_one(&pid), CLUSTER_RANGE_END);
    assert_false(cluster_range_round_wanted(&pid.send));
    packet_id_free(&pid);
}

static void
first_export_caps_the_sender(void **state)
{
    struct packet_id pid = generated_key();

    sent_up_to(&pid, 100);
    assert_range(grant_to(&pid, &ann), 100 + M24, 100 + 2 * M24);
    assert_int_equal(pid.send.limit, 100 + M24);
    assert_int_equal(send_one(&pid), 100);
    packet_id_free(&pid);
}

static void
same_holder_same_grant(void **state)
{
    struct packet_id pid = generated_key();
    const struct cluster_range first = grant_to(&pid, &ann);
    const struct cluster_range other = grant_to(&pid, &bob);

    send_percent(&pid, 40);
    assert_range(grant_to(&pid, &ann), first.start, first.end);
    assert_range(grant_to(&pid, &bob), other.start, other.end);
    assert_true(other.start >= first.end);
    packet_id_free(&pid);
}

static void
holders_exported_together_are_disjoint(void **state)
{
    struct packet_id pid = generated_key();
    const struct cluster_holder holders[] = { ann, bob, ann, eve };
    struct cluster_grant grants[4];

    assert_int_equal(cluster_range_export(&pid.send, holders, 4, grants), 4);
    assert_range(grants[0].range, 1 + M24, 1 + 2 * M24);
    assert_range(grants[1].range, 1 + 2 * M24, 1 + 3 * M24);
    assert_range(grants[2].range, 1 + M24, 1 + 2 * M24);
    assert_range(grants[3].range, 1 + 3 * M24, 1 + 4 * M24);
    packet_id_free(&pid);
}

static void
round_moves_the_sender_below_the_holders(void **state)
{
    struct packet_id pid = generated_key();
    const struct cluster_range old = grant_to(&pid, &ann);

    assert_false(cluster_range_round_wanted(&pid.send));
    send_percent(&pid, 51);
    assert_true(cluster_range_round_wanted(&pid.send));
    assert_false(cluster_range_round_wanted(&pid.send));

    const struct cluster_range fresh = grant_to(&pid, &ann);
    assert_range(pid.send.range->next, old.end, old.end + 2 * M24);
    assert_range(fresh, old.end + 2 * M24, old.end + 4 * M24);
    assert_false(cluster_range_stored(&pid.send, &ann, old.end));
    assert_false(cluster_range_stored(&pid.send, &bob, fresh.end));
    assert_true(cluster_range_stored(&pid.send, &ann, fresh.end));

    sent_up_to(&pid, pid.send.limit);
    assert_none_stale(&pid);
    assert_int_equal(send_one(&pid), old.end);
    assert_int_equal(pid.send.limit, fresh.start);
    assert_none_stale(&pid);
    assert_range(grant_to(&pid, &ann), fresh.start, fresh.end);
    packet_id_free(&pid);
}

static void
silent_holder_is_released_at_90_percent(void **state)
{
    struct packet_id pid = generated_key();
    const struct cluster_holder holders[] = { ann, bob };
    struct cluster_grant grants[2];

    cluster_range_export(&pid.send, holders, 2, grants);
    send_percent(&pid, 60);
    cluster_range_export(&pid.send, holders, 2, grants);
    assert_true(cluster_range_stored(&pid.send, &bob, grants[1].range.end));
    send_percent(&pid, 89);
    assert_none_stale(&pid);
    send_percent(&pid, 91);
    assert_stale(&pid, &ann);
    assert_none_stale(&pid);

    /* it may still come in time: its range lies above the sender */
    sent_up_to(&pid, pid.send.limit);
    assert_int_not_equal(send_one(&pid), 0);
    assert_true(cluster_range_stored(&pid.send, &ann, grants[0].range.end));
    assert_none_stale(&pid);
    packet_id_free(&pid);
}

static void
sender_goes_on_without_sidecar(void **state)
{
    struct packet_id pid = generated_key();
    const struct cluster_range lost = grant_to(&pid, &ann);

    sent_up_to(&pid, pid.send.limit);
    assert_true(cluster_range_ready(&pid.send));
    assert_int_equal(send_one(&pid), lost.end);
    assert_false(cluster_range_stored(&pid.send, &ann, lost.end));
    assert_stale(&pid, &ann);
    assert_none_stale(&pid);
    assert_true(grant_to(&pid, &ann).start >= pid.send.limit);
    packet_id_free(&pid);
}

static void
segments_double_up_to_a_bound(void **state)
{
    struct packet_id pid = generated_key();
    const packet_id_type expected[] = { M24, 2 * M24, M26, M26, M26 };

    for (size_t i = 0; i < SIZE(expected); i++)
    {
        const struct cluster_range grant = grant_to(&pid, &ann);
        assert_int_equal(grant.end - grant.start, expected[i]);
        sent_up_to(&pid, pid.send.limit - 1);
        grant_to(&pid, &ann);
        sent_up_to(&pid, pid.send.limit);
        assert_true(cluster_range_ready(&pid.send));
        assert_int_equal(pid.send.limit - pid.send.range->segment_start,
                         i + 1 < SIZE(expected) ? expected[i + 1] : M26);
    }
    packet_id_free(&pid);
}

/** To the last owned id: renegotiation is asked for first, then sending fails. */
static void
used_up_key_is_capped(void **state)
{
    struct packet_id pid = generated_key();
    struct cluster_grant grant;
    bool asked = false;

    grant_to(&pid, &ann);
    while (cluster_range_ready(&pid.send))
    {
        assert_false(cluster_range_capped(&pid.send));
        send_percent(&pid, 60);
        asked = asked || cluster_range_renegotiate(&pid.send);
        cluster_range_export(&pid.send, &ann, 1, &grant);
        if (pid.send.id < pid.send.limit - 1)
        {
            sent_up_to(&pid, pid.send.limit);
        }
        assert_true(pid.send.limit <= CLUSTER_RANGE_END);
    }
    assert_true(asked && cluster_range_renegotiate(&pid.send));
    assert_true(cluster_range_capped(&pid.send));
    assert_int_equal(send_one(&pid), 0);
    assert_int_equal(cluster_range_export(&pid.send, &bob, 1, &grant), 0);
    assert_int_equal(send_one(&pid), 0);
    packet_id_free(&pid);
}

static void
export_near_the_end(void **state)
{
    const packet_id_type ids[] = { CLUSTER_RANGE_END - 5, CLUSTER_RANGE_END - 2,
                                   CLUSTER_RANGE_END - 1, CLUSTER_RANGE_END, PACKET_ID_MAX };

    for (size_t i = 0; i < SIZE(ids); i++)
    {
        struct packet_id pid = generated_key();
        struct cluster_grant grant;
        pid.send.id = ids[i];
        const int n = cluster_range_export(&pid.send, &ann, 1, &grant);
        assert_int_equal(n, i == 0);
        assert_true(cluster_range_renegotiate(&pid.send));
        if (n)
        {
            assert_range(grant.range, CLUSTER_RANGE_END - 2, CLUSTER_RANGE_END);
            assert_int_equal(send_one(&pid), CLUSTER_RANGE_END - 4);
            assert_int_equal(send_one(&pid), CLUSTER_RANGE_END - 3);
            assert_int_equal(send_one(&pid), 0);
        }
        packet_id_free(&pid);
    }
}

static void
restarting_holders_do_not_lock_out_a_new_one(void **state)
{
    struct packet_id pid = generated_key();
    struct cluster_holder holder = ann;

    for (int i = 0; i < 3 * CLUSTER_HOLDERS_MAX; i++)
    {
        holder.id[15] = (uint8_t)i;
        const struct cluster_range range = grant_to(&pid, &holder);
        assert_range(grant_to(&pid, &holder), range.start, range.end);
    }
    packet_id_free(&pid);
}

static void
full_list_forgets_who_is_not_asked_for(void **state)
{
    struct packet_id pid = generated_key();
    struct cluster_holder holders[CLUSTER_HOLDERS_MAX];
    struct cluster_grant before[CLUSTER_HOLDERS_MAX], after[CLUSTER_HOLDERS_MAX];

    for (int i = 0; i < CLUSTER_HOLDERS_MAX; i++)
    {
        holders[i] = ann;
        holders[i].id[15] = (uint8_t)i;
    }
    cluster_range_export(&pid.send, holders, CLUSTER_HOLDERS_MAX, before);
    holders[CLUSTER_HOLDERS_MAX - 1] = bob;
    assert_int_equal(cluster_range_export(&pid.send, holders, CLUSTER_HOLDERS_MAX, after),
                     CLUSTER_HOLDERS_MAX);
    for (int i = 0; i < CLUSTER_HOLDERS_MAX - 1; i++)
    {
        assert_range(after[i].range, before[i].range.start, before[i].range.end);
    }
    assert_int_equal(after[CLUSTER_HOLDERS_MAX - 1].range.start,
                     before[CLUSTER_HOLDERS_MAX - 1].range.end);
    packet_id_free(&pid);
}

static void
holders_with_nothing_left_ask_for_renegotiation(void **state)
{
    struct packet_id pid = promoted_key(1000, 1000 + CLUSTER_RANGE_MIN);

    assert_false(cluster_range_renegotiate(&pid.send));
    grant_to(&pid, &ann);
    assert_true(cluster_range_renegotiate(&pid.send));
    packet_id_free(&pid);
}

static void
bad_exports_grant_nothing(void **state)
{
    struct packet_id pid = generated_key();
    struct packet_id standby = imported_key(10, 20);
    struct cluster_holder many[CLUSTER_HOLDERS_MAX + 1] = { ann };
    struct cluster_grant grants[CLUSTER_HOLDERS_MAX + 1];

    assert_int_equal(cluster_range_export(&pid.send, many, 0, grants), 0);
    assert_int_equal(cluster_range_export(&pid.send, many, CLUSTER_HOLDERS_MAX + 1, grants), 0);
    assert_int_equal(pid.send.limit, 0);
    assert_int_equal(cluster_range_export(&standby.send, &ann, 1, grants), 0);
    packet_id_free(&pid);
    packet_id_free(&standby);
}

static void
standby_cannot_send(void **state)
{
    struct packet_id pid = imported_key(1000, 2000);

    assert_int_equal(send_one(&pid), 0);
    assert_false(cluster_range_ready(&pid.send));
    assert_false(cluster_range_renegotiate(&pid.send));
    assert_int_equal(cluster_range_imported_end(&pid.send), 2000);
    packet_id_free(&pid);
}

/** A VIP that bounces: each promotion is by a holder of the one before. */
static void
many_promotions_leave_room(void **state)
{
    struct packet_id pid = generated_key();
    struct cluster_range range = grant_to(&pid, &ann);

    packet_id_free(&pid);
    for (int i = 0; i < 8; i++)
    {
        pid = promoted_key(range.start, range.end);
        assert_int_equal(pid.send.id + 1, range.start);
        range = grant_to(&pid, i % 2 ? &ann : &bob);
        assert_true(range.start >= pid.send.limit);
        packet_id_free(&pid);
    }
    assert_true(range.end - range.start >= CLUSTER_RANGE_MIN / 2);
}

static void
promoted_without_range_cannot_send(void **state)
{
    struct packet_id pid = new_key();

    cluster_range_standby(&pid.send);
    assert_int_equal(cluster_range_imported_end(&pid.send), 0);
    cluster_range_promote(&pid.send);
    assert_int_equal(send_one(&pid), 0);
    assert_true(cluster_range_capped(&pid.send));
    assert_true(cluster_range_renegotiate(&pid.send));
    packet_id_free(&pid);
}

static void
promotion_halves_the_range(void **state)
{
    struct packet_id pid = promoted_key(1000, 2000);

    assert_int_equal(send_one(&pid), 1000);
    assert_int_equal(pid.send.limit, 1500);
    assert_range(pid.send.range->rest, 1500, 2000);
    cluster_range_promote(&pid.send);
    assert_int_equal(send_one(&pid), 1001);
    assert_true(grant_to(&pid, &ann).start >= 1500);
    packet_id_free(&pid);
}

static void
range_of_one_id(void **state)
{
    struct packet_id pid = promoted_key(7, 8);

    assert_int_equal(send_one(&pid), 7);
    assert_int_equal(send_one(&pid), 0);
    packet_id_free(&pid);
}

static void
highest_imported_range_wins(void **state)
{
    struct packet_id pid = imported_key(1000, 2000);
    const struct cluster_range lower = { 10, 1000 }, higher = { 2000, 3000 };

    assert_null(cluster_range_import(&pid.send, lower));
    assert_int_equal(cluster_range_imported_end(&pid.send), 2000);
    assert_null(cluster_range_import(&pid.send, higher));
    assert_null(cluster_range_import(&pid.send, higher));
    assert_int_equal(cluster_range_imported_end(&pid.send), 3000);
    cluster_range_standby(&pid.send);
    cluster_range_promote(&pid.send);
    assert_int_equal(send_one(&pid), 2000);
    packet_id_free(&pid);
}

/**
 * A standby drops a key: as cluster_ks_free() and packet_id_free() do it.
 */
static void
drop_key(struct packet_id *pid, const uint8_t *fp)
{
    cluster_range_keep(&pid->send, fp);
    packet_id_free(pid);
}

static struct packet_id
recalled_key(const uint8_t *fp)
{
    struct packet_id pid = new_key();

    cluster_range_standby(&pid.send);
    cluster_range_recall(&pid.send, fp);
    return pid;
}

static void
key_that_comes_back_has_its_range(void **state)
{
    const uint8_t fp[CLUSTER_RANGE_FP_SIZE] = "finger", other[CLUSTER_RANGE_FP_SIZE] = "figner";
    const struct cluster_range older = { 10, 1000 }, newer = { 2000, 3000 };
    struct packet_id pid = imported_key(1000, 2000);

    drop_key(&pid, fp);
    pid = recalled_key(other);
    assert_int_equal(cluster_range_imported_end(&pid.send), 0);
    packet_id_free(&pid);

    pid = recalled_key(fp);
    assert_null(cluster_range_import(&pid.send, older));
    assert_int_equal(cluster_range_imported_end(&pid.send), 2000);
    assert_null(cluster_range_import(&pid.send, newer));
    drop_key(&pid, fp);

    pid = recalled_key(fp);
    cluster_range_promote(&pid.send);
    assert_int_equal(send_one(&pid), 2000);
    drop_key(&pid, fp);
    cluster_range_forget();
}

static void
nothing_is_kept_of_ids_that_may_have_been_sent(void **state)
{
    const uint8_t fp[CLUSTER_RANGE_FP_SIZE] = "finger";
    struct packet_id pid = promoted_key(1000, 2000);

    drop_key(&pid, fp);
    pid = recalled_key(fp);
    assert_int_equal(cluster_range_imported_end(&pid.send), 0);
    packet_id_free(&pid);

    pid = imported_key(1000, 2000);
    drop_key(&pid, fp);
    cluster_range_forget();
    pid = recalled_key(fp);
    assert_int_equal(cluster_range_imported_end(&pid.send), 0);
    packet_id_free(&pid);
}

/** No way leads from such a key to a packet id: whatever is granted, or was stored. */
static void
key_to_receive_with_never_sends(void **state)
{
    const uint8_t fp[CLUSTER_RANGE_FP_SIZE] = "kept";
    const struct cluster_range range = { 1000, 2000 };
    struct packet_id before = imported_key(range.start, range.end);
    struct packet_id pid = new_key();
    struct cluster_grant grants[1];
    struct cluster_holder holder;

    cluster_range_keep(&before.send, fp);
    packet_id_free(&before);

    cluster_range_receive_only(&pid.send);
    for (int promoted = 0; promoted < 2; promoted++)
    {
        assert_true(cluster_range_is_receive_only(&pid.send));
        assert_string_equal(cluster_range_import(&pid.send, range),
                            "the key is to receive with only");
        cluster_range_recall(&pid.send, fp);
        cluster_range_standby(&pid.send);
        assert_int_equal(cluster_range_imported_end(&pid.send), 0);
        assert_int_equal(cluster_range_export(&pid.send, &ann, 1, grants), 0);
        assert_false(cluster_range_stored(&pid.send, &ann, range.end));
        assert_false(cluster_range_round_wanted(&pid.send));
        assert_false(cluster_range_stale(&pid.send, &holder));
        assert_false(cluster_range_renegotiate(&pid.send));
        assert_int_equal(cluster_range_room(&pid.send), 0);
        assert_false(cluster_range_ready(&pid.send));
        assert_int_equal(send_one(&pid), 0);
        assert_int_equal(pid.send.id, 0);
        cluster_range_overtake(&pid.send);
        cluster_range_promote(&pid.send);
    }
    cluster_range_keep(&pid.send, fp);
    packet_id_free(&pid);

    /* what was stored of it is there for the client whose key it is again */
    pid = recalled_key(fp);
    assert_int_equal(cluster_range_imported_end(&pid.send), range.end);
    packet_id_free(&pid);
    cluster_range_forget();
}

static void
bad_imports_are_refused(void **state)
{
    const struct cluster_range bad[] = {
        { 0, 10 }, { 10, 10 }, { 11, 10 }, { 10, CLUSTER_RANGE_END + 1 }, { 10, UINT32_MAX },
        { 1500, 2500 }, { 500, 1001 }, { 1000, 1999 }, { 1100, 1200 }, { 1, 5000 }
    };
    struct packet_id standby = imported_key(1000, 2000);
    struct packet_id generated = generated_key();
    struct packet_id promoted = promoted_key(1000, 2000);
    const struct cluster_range good = { 3000, 4000 };

    for (size_t i = 0; i < SIZE(bad); i++)
    {
        assert_non_null(cluster_range_import(&standby.send, bad[i]));
        assert_range(standby.send.range->rest, 1000, 2000);
    }
    assert_non_null(cluster_range_import(&generated.send, good));
    assert_non_null(cluster_range_import(&promoted.send, good));
    packet_id_free(&standby);
    packet_id_free(&generated);
    packet_id_free(&promoted);
}

/** The first server gets a range back like anyone else, under a new holder id. */
static void
overtaking_lies_above_every_grant(void **state)
{
    struct packet_id pid = generated_key();

    const struct cluster_range first = grant_to(&pid, &ann);
    send_percent(&pid, 60);
    const struct cluster_range second = grant_to(&pid, &ann);
    assert_true(second.start >= first.end);
    cluster_range_overtake(&pid.send);
    assert_true(send_one(&pid) >= second.end);
    assert_stale(&pid, &ann);
    assert_true(grant_to(&pid, &ann).start >= pid.send.limit);
    packet_id_free(&pid);
}

static void
overtaking_without_anything_to_overtake(void **state)
{
    struct packet_id generated = generated_key();
    struct packet_id standby = imported_key(1000, 2000);

    cluster_range_overtake(&generated.send);
    assert_int_equal(send_one(&generated), 1);
    cluster_range_overtake(&standby.send);
    assert_int_equal(send_one(&standby), 0);
    packet_id_free(&generated);
    packet_id_free(&standby);
}

static void
there_and_back_again(void **state)
{
    struct packet_id first = generated_key();
    const struct cluster_range out = grant_to(&first, &bob);
    sent_up_to(&first, 5000);
    packet_id_free(&first);

    struct packet_id second = promoted_key(out.start, out.end);
    assert_int_equal(send_one(&second), out.start);
    const struct cluster_range back = grant_to(&second, &ann);
    assert_true(back.start >= second.send.limit && back.end <= out.end);

    struct packet_id third = promoted_key(back.start, back.end);
    assert_int_equal(send_one(&third), back.start);
    assert_true(send_one(&second) < back.start);
    packet_id_free(&second);
    packet_id_free(&third);
}

/*
 * The replay window
 */

static bool
receive(struct packet_id *pid, packet_id_type id, time_t time)
{
    const struct packet_id_net net = { id, time };
    const bool fresh = packet_id_test(&pid->rec, &net);
    if (fresh)
    {
        packet_id_add(&pid->rec, &net);
    }
    return fresh;
}

static void
nothing_at_or_below_the_mark_is_accepted(void **state)
{
    const packet_id_type marks[] = { 1, 5, 63, 64, 65, 1000, 0xFFFFFF00, UINT32_MAX - 1 };

    now = 5000;
    for (size_t i = 0; i < SIZE(marks); i++)
    {
        struct packet_id pid = new_key();
        cluster_window_raise(&pid.rec, marks[i], 0);
        for (packet_id_type back = 0; back < 200 && back <= marks[i]; back++)
        {
            assert_false(receive(&pid, marks[i] - back, 0));
        }
        assert_true(receive(&pid, marks[i] + 1, 0));
        assert_false(receive(&pid, marks[i] + 1, 0));
        assert_false(receive(&pid, marks[i], 0));
        packet_id_free(&pid);
    }
}

/** What it has received is not received again, as with any other key. */
static void
key_to_receive_with_has_a_window(void **state)
{
    struct packet_id pid = new_key();

    now = 5000;
    cluster_range_receive_only(&pid.send);
    cluster_window_raise(&pid.rec, 500, 0);
    assert_false(receive(&pid, 500, 0));
    assert_false(receive(&pid, 437, 0));
    assert_true(receive(&pid, 501, 0));
    assert_false(receive(&pid, 501, 0));
    packet_id_free(&pid);
}

static void
far_jump_opens_nothing_below_the_mark(void **state)
{
    struct packet_id pid = new_key();

    now = 5000;
    cluster_window_raise(&pid.rec, 1000, 0);
    assert_true(receive(&pid, 1070, 0));
    for (packet_id_type id = 1; id <= 1000; id++)
    {
        assert_false(receive(&pid, id, 0));
    }
    assert_true(receive(&pid, 1010, 0));
    packet_id_free(&pid);
}

static void
mark_is_never_lowered(void **state)
{
    struct packet_id pid = new_key();

    now = 5000;
    cluster_window_raise(&pid.rec, 1000, 0);
    cluster_window_raise(&pid.rec, 900, 0);
    cluster_window_raise(&pid.rec, 0, 0);
    assert_int_equal(pid.rec.id, 1000);
    assert_false(receive(&pid, 950, 0));
    cluster_window_raise(&pid.rec, 1100, 0);
    assert_false(receive(&pid, 1100, 0));
    assert_false(receive(&pid, 1050, 0));
    assert_true(receive(&pid, 1101, 0));
    packet_id_free(&pid);
}

/** Another server tells late what it received before this one did. */
static void
mark_below_what_was_received_closes_what_lies_below(void **state)
{
    const packet_id_type ahead[] = { 1, 2, 10, 62, 63, 64, 65, 200 };

    now = 5000;
    for (size_t i = 0; i < SIZE(ahead); i++)
    {
        struct packet_id pid = new_key();
        const packet_id_type first = 1050 + ahead[i];

        cluster_window_raise(&pid.rec, 1000, 0);
        assert_true(receive(&pid, first, 0));
        cluster_window_raise(&pid.rec, 1050, 0);
        assert_int_equal(pid.rec.id, first);
        for (packet_id_type id = 900; id <= 1050; id++)
        {
            assert_false(receive(&pid, id, 0));
        }
        assert_false(receive(&pid, first, 0));
        if (ahead[i] > 1)
        {
            assert_true(receive(&pid, first - 1, 0));
            assert_false(receive(&pid, first - 1, 0));
        }
        assert_true(receive(&pid, first + 1, 0));
        packet_id_free(&pid);
    }
}

static void
mark_opens_nothing_again(void **state)
{
    struct packet_id pid = new_key();

    now = 5000;
    for (packet_id_type id = 1; id <= 100; id++)
    {
        assert_true(receive(&pid, id, 0));
    }
    cluster_window_raise(&pid.rec, 100, 0);
    cluster_window_raise(&pid.rec, 90, 0);
    for (packet_id_type id = 1; id <= 100; id++)
    {
        assert_false(receive(&pid, id, 0));
    }
    packet_id_free(&pid);
}

static void
mark_of_the_long_form(void **state)
{
    struct packet_id pid = new_key();

    now = 5000;
    cluster_window_raise(&pid.rec, 7, 4000);
    assert_false(receive(&pid, 7, 4000));
    assert_false(receive(&pid, 9, 3999));
    cluster_window_raise(&pid.rec, 100, 3999);
    assert_true(receive(&pid, 8, 4000));
    assert_true(receive(&pid, 1, 4001));
    packet_id_free(&pid);
}

static void
no_mark_accepts_the_first_packet(void **state)
{
    struct packet_id pid = new_key();

    now = 5000;
    cluster_window_raise(&pid.rec, 0, 0);
    assert_true(receive(&pid, 2, 0));
    assert_true(receive(&pid, 1, 0));
    packet_id_free(&pid);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_without_owner_is_stock),
        cmocka_unit_test(never_exported_has_no_cap),
        cmocka_unit_test(first_export_caps_the_sender),
        cmocka_unit_test(same_holder_same_grant),
        cmocka_unit_test(holders_exported_together_are_disjoint),
        cmocka_unit_test(round_moves_the_sender_below_the_holders),
        cmocka_unit_test(silent_holder_is_released_at_90_percent),
        cmocka_unit_test(sender_goes_on_without_sidecar),
        cmocka_unit_test(segments_double_up_to_a_bound),
        cmocka_unit_test(used_up_key_is_capped),
        cmocka_unit_test(export_near_the_end),
        cmocka_unit_test(restarting_holders_do_not_lock_out_a_new_one),
        cmocka_unit_test(full_list_forgets_who_is_not_asked_for),
        cmocka_unit_test(holders_with_nothing_left_ask_for_renegotiation),
        cmocka_unit_test(bad_exports_grant_nothing),
        cmocka_unit_test(standby_cannot_send),
        cmocka_unit_test(many_promotions_leave_room),
        cmocka_unit_test(promoted_without_range_cannot_send),
        cmocka_unit_test(promotion_halves_the_range),
        cmocka_unit_test(range_of_one_id),
        cmocka_unit_test(highest_imported_range_wins),
        cmocka_unit_test(key_that_comes_back_has_its_range),
        cmocka_unit_test(nothing_is_kept_of_ids_that_may_have_been_sent),
        cmocka_unit_test(key_to_receive_with_never_sends),
        cmocka_unit_test(key_to_receive_with_has_a_window),
        cmocka_unit_test(bad_imports_are_refused),
        cmocka_unit_test(overtaking_lies_above_every_grant),
        cmocka_unit_test(overtaking_without_anything_to_overtake),
        cmocka_unit_test(there_and_back_again),
        cmocka_unit_test(nothing_at_or_below_the_mark_is_accepted),
        cmocka_unit_test(far_jump_opens_nothing_below_the_mark),
        cmocka_unit_test(mark_is_never_lowered),
        cmocka_unit_test(mark_below_what_was_received_closes_what_lies_below),
        cmocka_unit_test(mark_opens_nothing_again),
        cmocka_unit_test(mark_of_the_long_form),
        cmocka_unit_test(no_mark_accepts_the_first_packet),
    };

    return cmocka_run_group_tests_name("cluster range tests", tests, NULL, NULL);
}

#else  /* ifdef ENABLE_CLUSTER */

/** Automake's word for a test that was skipped. */
int
main(void)
{
    return 77;
}

#endif /* ifdef ENABLE_CLUSTER */
