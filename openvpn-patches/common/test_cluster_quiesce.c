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
 * @file test_cluster_quiesce.c
 * Tests of cluster_quiesce.c: what is dropped in a while in which nothing begins,
 * who is let in, and when it ends.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#ifdef ENABLE_CLUSTER

#include "buffer.h"
#include "cluster_quiesce.h"
#include "mock_msg.h"
#include "ssl_pkt.h"

struct cluster *cluster; /* GLOBAL */

static struct cluster here;

static int
start(void **state)
{
    CLEAR(here);
    here.role = CLUSTER_MASTER;
    cluster = &here;
    now = 1000;
    return 0;
}

static int
stop(void **state)
{
    cluster = NULL;
    return 0;
}

/** Is a packet with this opcode dropped that comes from nobody's address? */
static bool
drops_first(int op)
{
    uint8_t byte = (uint8_t)(op << P_OPCODE_SHIFT);
    struct buffer buf;

    buf_set_read(&buf, &byte, sizeof(byte));
    return cluster_quiesce_drops_first(&buf);
}

static void
without_cluster_nothing_is_dropped(void **state)
{
    cluster = NULL;
    assert_false(cluster_quiesced());
    assert_false(cluster_quiesce_drops());
    assert_false(drops_first(P_CONTROL_HARD_RESET_CLIENT_V2));
    cluster_quiesce_answered();
    cluster_quiesce_came();
    assert_int_equal(cluster_quiesce_expected(), 0);
}

static void
before_and_after_it_all_begins(void **state)
{
    assert_false(cluster_quiesced());
    assert_false(cluster_quiesce_drops());
    assert_false(drops_first(P_CONTROL_HARD_RESET_CLIENT_V2));

    cluster_quiesce_set(5);
    assert_true(cluster_quiesced());
    assert_true(cluster_quiesce_drops());

    cluster_quiesce_set(0);
    assert_false(cluster_quiesced());
    assert_false(cluster_quiesce_drops());
    assert_int_equal(here.unanswered, 0);
}

static void
it_lasts_for_all_of_its_seconds(void **state)
{
    cluster_quiesce_set(5);
    now += 5;
    cluster_quiesce_expire();
    assert_true(cluster_quiesced());
    assert_true(cluster_quiesce_drops());

    ++now;
    assert_false(cluster_quiesced());
    assert_false(cluster_quiesce_drops());
    assert_int_equal(here.unanswered, 1);
    cluster_quiesce_expire();
    assert_int_equal(here.unanswered, 0);
    assert_int_equal(here.quiesced_until, 0);
}

static void
said_again_it_counts_from_then(void **state)
{
    cluster_quiesce_set(2);
    assert_true(cluster_quiesce_drops());
    now += 2;
    cluster_quiesce_set(2);
    now += 2;
    cluster_quiesce_expire();
    assert_true(cluster_quiesce_drops());
    assert_int_equal(here.unanswered, 2);

    /* nor need it be longer than before */
    cluster_quiesce_set(60);
    cluster_quiesce_set(1);
    now += 2;
    assert_false(cluster_quiesced());
}

static void
what_would_begin_a_connection_is_dropped(void **state)
{
    static const int ops[] = {
        P_CONTROL_HARD_RESET_CLIENT_V2, P_CONTROL_HARD_RESET_CLIENT_V3, P_CONTROL_V1, P_ACK_V1,
        P_CONTROL_WKC_V1, P_CONTROL_SOFT_RESET_V1, P_LAST_OPCODE + 1,
    };

    cluster_quiesce_set(5);
    for (size_t i = 0; i < SIZE(ops); ++i)
    {
        assert_true(drops_first(ops[i]));
    }
    assert_int_equal(here.unanswered, SIZE(ops));

    /* which does not begin one */
    assert_false(drops_first(P_DATA_V1));
    assert_false(drops_first(P_DATA_V2));
    assert_int_equal(here.unanswered, SIZE(ops));
}

static void
who_was_answered_is_let_in(void **state)
{
    cluster_quiesce_answered();
    cluster_quiesce_answered();
    assert_int_equal(cluster_quiesce_expected(), 0); /* as long as all begins */
    cluster_quiesce_set(5);
    assert_int_equal(cluster_quiesce_expected(), 2);

    /* by what it brings back, and not by beginning anew */
    assert_true(drops_first(P_CONTROL_HARD_RESET_CLIENT_V2));
    assert_true(drops_first(P_CONTROL_HARD_RESET_CLIENT_V3));
    assert_false(drops_first(P_ACK_V1));
    assert_false(drops_first(P_CONTROL_V1)); /* the first one did not make an instance */
    cluster_quiesce_came();
    assert_int_equal(cluster_quiesce_expected(), 1);
    assert_false(drops_first(P_CONTROL_WKC_V1));
    cluster_quiesce_came();
    assert_int_equal(cluster_quiesce_expected(), 0);
    assert_true(drops_first(P_CONTROL_V1));
}

static void
nobody_is_expected_for_long(void **state)
{
    cluster_quiesce_answered();
    cluster_quiesce_set(5);
    now += CLUSTER_QUIESCE_EXPECTED;
    assert_int_equal(cluster_quiesce_expected(), 1);
    ++now;
    assert_int_equal(cluster_quiesce_expected(), 0);
    assert_true(drops_first(P_CONTROL_V1));

    /* what was answered long ago counts for nothing when somebody else is */
    cluster_quiesce_end();
    cluster_quiesce_answered();
    cluster_quiesce_set(5);
    assert_int_equal(cluster_quiesce_expected(), 1);
}

static void
more_may_come_than_were_answered(void **state)
{
    /* one that was answered long ago takes the place of another one */
    cluster_quiesce_came();
    cluster_quiesce_answered();
    cluster_quiesce_set(5);
    assert_int_equal(cluster_quiesce_expected(), 1);
    cluster_quiesce_came();
    cluster_quiesce_came();
    assert_int_equal(cluster_quiesce_expected(), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_cluster_nothing_is_dropped, start, stop),
        cmocka_unit_test_setup_teardown(before_and_after_it_all_begins, start, stop),
        cmocka_unit_test_setup_teardown(it_lasts_for_all_of_its_seconds, start, stop),
        cmocka_unit_test_setup_teardown(said_again_it_counts_from_then, start, stop),
        cmocka_unit_test_setup_teardown(what_would_begin_a_connection_is_dropped, start, stop),
        cmocka_unit_test_setup_teardown(who_was_answered_is_let_in, start, stop),
        cmocka_unit_test_setup_teardown(nobody_is_expected_for_long, start, stop),
        cmocka_unit_test_setup_teardown(more_may_come_than_were_answered, start, stop),
    };

    return cmocka_run_group_tests_name("cluster quiesce tests", tests, NULL, NULL);
}

#else  /* ifdef ENABLE_CLUSTER */

/** Automake's word for a test that was skipped. */
int
main(void)
{
    return 77;
}

#endif /* ifdef ENABLE_CLUSTER */
