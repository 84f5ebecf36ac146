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
 * The last message of a renegotiation: what one server holds back, another one
 * sends, until the client has acknowledged it.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "cluster_client.h"
#include "cluster_last_message.h"
#include "mock_msg.h"
#include "options.h"
#include "reliable.h"
#include "ssl_backend.h"
#include "ssl_pkt.h"
#include "tls_crypt.h"

/*
 * What the linker asks for, with the feature and without
 */

int
parse_line(const char *line, char **p, const int n, const char *file,
           const int line_num, int msglevel, struct gc_arena *gc)
{
    fail();
    return 0;
}

bool
key_state_export_keying_material(struct tls_session *session, const char *label,
                                 size_t label_size, void *ekm, size_t ekm_size)
{
    fail();
    return false;
}

const char *
print_link_socket_actual(const struct link_socket_actual *act, struct gc_arena *gc)
{
    return "";
}

#ifdef ENABLE_CLUSTER

bool
cluster_ks_imported(const struct key_state *ks)
{
    return ks->cluster_ks && ks->cluster_ks->imported;
}

void
cluster_ks_confirm(struct key_state *ks)
{
    ks->cluster_ks->pending = false;
}

/*
 * Two servers and what is between them
 */

/** Ids of the message's packets, and of what the client has sent before. */
#define FIRST 5
#define RECEIVED 4

struct server
{
    struct tls_options opt;
    struct tls_session session;
    struct cluster_ks kept;
    struct key_state *ks;
};

static void
init_server(struct server *server, bool imported)
{
    CLEAR(*server);
    server->ks = &server->session.key[KS_PRIMARY];
    server->opt.server = true;
    server->opt.packet_timeout = 2;
    server->opt.frame.buf.headroom = 128;
    server->opt.frame.buf.payload_size = 1500;
    server->opt.frame.buf.tailroom = 128;
    server->session.opt = &server->opt;
    memset(server->session.session_id.id, 0x11, SID_SIZE);
    memset(server->ks->session_id_remote.id, 0x22, SID_SIZE);
    server->ks->remote_addr.dest.addr.in4.sin_family = AF_INET;
    server->ks->remote_addr.dest.addr.in4.sin_addr.s_addr = htonl(0xC0000201);
    server->ks->key_id = 3;
    server->ks->cluster_ks = &server->kept;
    server->kept.pending = true;
    server->kept.imported = imported;
}

static void
free_server(struct server *server)
{
    reliable_free(server->ks->send_reliable);
    reliable_free(server->ks->rec_reliable);
    free_buf(&server->ks->ack_write_buf);
    free(server->ks->rec_ack);
    free(server->ks->lru_acks);
}

static void
add_packet(struct server *server, const char *text, int opcode)
{
    struct buffer *buf = reliable_get_buf_output_sequenced(server->ks->send_reliable);

    assert_non_null(buf);
    assert_true(buf_write(buf, text, strlen(text)));
    reliable_mark_active_outgoing(server->ks->send_reliable, buf, opcode);
}

/** The server where the handshake took place, its message held back. */
static void
init_old(struct server *old)
{
    init_server(old, false);
    ALLOC_OBJ_CLEAR(old->ks->send_reliable, struct reliable);
    ALLOC_OBJ_CLEAR(old->ks->rec_reliable, struct reliable);
    reliable_init(old->ks->send_reliable, BUF_SIZE(&old->opt.frame), 128, 6, false);
    reliable_init(old->ks->rec_reliable, BUF_SIZE(&old->opt.frame), 128, 6, false);
    old->ks->send_reliable->packet_id = FIRST;
    old->ks->rec_reliable->packet_id = RECEIVED;
    add_packet(old, "half a message", P_CONTROL_V1);
    add_packet(old, "and the other half", P_CONTROL_V1);
    old->ks->send_reliable->hold = true;
}

/** A server that has taken the message over. */
static void
init_new(struct server *new)
{
    struct server old;
    struct cluster_last_message message;

    init_old(&old);
    cluster_last_message_export(old.ks, &message);
    free_server(&old);
    assert_int_equal(message.len, 4 + 2 + 4 + strlen("half a message") + 2 + 4 + strlen("and the other half"));

    init_server(new, true);
    cluster_last_message_import(&new->session, new->ks, &message);
    assert_true(cluster_last_message_due(new->ks));
}

/**
 * Have the server say something, and take it apart.
 *
 * @param ack           receives what it acknowledges
 * @param id            receives the packet's id
 *
 * @return its opcode, -1 if nothing was said; its text is in \c text
 */
static int
hear(struct server *server, struct reliable_ack *ack, packet_id_type *id, struct buffer *text)
{
    struct link_socket_actual *to = NULL;
    struct session_id sid;
    interval_t wakeup = 100;

    CLEAR(*text);
    cluster_last_message_send(&server->session, server->ks, text, &to, &wakeup);
    assert_true(wakeup >= 1);
    if (!text->len)
    {
        return -1;
    }
    assert_ptr_equal(to, &server->ks->remote_addr);

    const int first = buf_read_u8(text);
    assert_int_equal(first & P_KEY_ID_MASK, server->ks->key_id);
    assert_true(session_id_read(&sid, text));
    assert_true(session_id_equal(&sid, &server->session.session_id));
    assert_true(reliable_ack_parse(text, ack, &sid));
    if (first >> P_OPCODE_SHIFT != P_ACK_V1)
    {
        assert_true(reliable_ack_read_packet_id(text, id));
    }
    return first >> P_OPCODE_SHIFT;
}

/** What the client sends: acknowledgements, and perhaps a packet. */
static struct buffer
client_packet(const struct server *server, int n_acks, const packet_id_type *acks, int id)
{
    struct buffer buf = alloc_buf(200);

    assert_true(buf_write_u8(&buf, (uint8_t)n_acks));
    for (int i = 0; i < n_acks; i++)
    {
        assert_true(buf_write_u32(&buf, acks[i]));
    }
    assert_true(!n_acks || session_id_write(&server->session.session_id, &buf));
    assert_true(id < 0 || (buf_write_u32(&buf, (uint32_t)id) && buf_write(&buf, "TLS", 3)));
    return buf;
}

static bool
tell(struct server *server, int n_acks, const packet_id_type *acks, int id)
{
    struct buffer buf = client_packet(server, n_acks, acks, id);
    const bool ret = cluster_last_message_receive(&server->session, server->ks, &buf,
                                        id < 0 ? P_ACK_V1 : P_CONTROL_V1);
    free_buf(&buf);
    return ret;
}

static void
assert_says(struct server *server, packet_id_type id, const char *text)
{
    struct reliable_ack ack;
    struct buffer said;
    packet_id_type got;

    assert_int_equal(hear(server, &ack, &got, &said), P_CONTROL_V1);
    assert_int_equal(got, id);
    assert_int_equal(BLEN(&said), strlen(text));
    assert_memory_equal(BPTR(&said), text, strlen(text));
    /* what the client sent last is acknowledged along with it */
    assert_int_equal(ack.len, RECEIVED);
    assert_int_equal(ack.packet_id[0], RECEIVED - 1);
}

static void
assert_silent(struct server *server)
{
    struct reliable_ack ack;
    struct buffer said;
    packet_id_type id;

    assert_int_equal(hear(server, &ack, &id, &said), -1);
}

/*
 * Tests
 */

static void
another_server_sends_the_message(void **state)
{
    struct server new;

    now = 1000;
    init_new(&new);
    assert_says(&new, FIRST, "half a message");
    assert_says(&new, FIRST + 1, "and the other half");
    assert_silent(&new);

    /* again after a while, like any control packet */
    now += 2;
    assert_says(&new, FIRST, "half a message");
    assert_says(&new, FIRST + 1, "and the other half");
    assert_silent(&new);
    free_server(&new);
}

static void
key_is_pending_until_all_is_acknowledged(void **state)
{
    const packet_id_type ids[] = { FIRST, FIRST + 1 };
    struct server new;

    init_new(&new);
    assert_true(tell(&new, 1, ids, -1));
    assert_true(new.kept.pending);
    assert_says(&new, FIRST + 1, "and the other half");
    assert_true(tell(&new, 1, ids + 1, -1));
    assert_false(new.kept.pending);
    assert_false(cluster_last_message_due(new.ks));
    now += 100;
    assert_silent(&new);
    free_server(&new);
}

static void
what_the_client_repeats_is_acknowledged(void **state)
{
    const packet_id_type ids[] = { FIRST, FIRST + 1 };
    struct server new;
    struct reliable_ack ack;
    struct buffer said;
    packet_id_type id;

    init_new(&new);
    assert_true(tell(&new, 2, ids, -1));
    assert_true(tell(&new, 0, NULL, RECEIVED - 2));
    assert_int_equal(hear(&new, &ack, &id, &said), P_ACK_V1);
    assert_int_equal(ack.packet_id[0], RECEIVED - 2);
    assert_silent(&new);
    free_server(&new);
}

/** Only the TLS object could take it, and that is gone. */
static void
news_is_not_taken(void **state)
{
    struct server new;

    init_new(&new);
    assert_false(tell(&new, 0, NULL, RECEIVED));
    assert_true(new.kept.pending);
    free_server(&new);
}

static void
acknowledgement_of_another_session_does_not_count(void **state)
{
    const packet_id_type ids[] = { FIRST, FIRST + 1 };
    struct server new;

    init_new(&new);
    struct buffer buf = client_packet(&new, 2, ids, -1);
    BPTR(&buf)[1 + 2 * 4] ^= 1;
    assert_false(cluster_last_message_receive(&new.session, new.ks, &buf, P_ACK_V1));
    free_buf(&buf);
    assert_true(new.kept.pending);
    free_server(&new);
}

/** From A to B to C. */
static void
message_travels_on(void **state)
{
    const packet_id_type first = FIRST;
    struct server new, third;
    struct cluster_last_message message;

    init_new(&new);
    assert_true(tell(&new, 1, &first, -1));
    cluster_last_message_export(new.ks, &message);
    init_server(&third, true);
    cluster_last_message_import(&third.session, third.ks, &message);
    cluster_last_message_import(&third.session, third.ks, &message);
    assert_says(&third, FIRST + 1, "and the other half");
    assert_silent(&third);
    free_server(&third);
    free_server(&new);
}

static void
no_message_where_none_is_due(void **state)
{
    struct server old, new;
    struct cluster_last_message message;

    init_old(&old);
    old.kept.pending = false;
    cluster_last_message_export(old.ks, &message);
    assert_int_equal(message.len, 0);

    /* what is not a control packet, or too long, is not exported either */
    old.kept.pending = true;
    old.ks->send_reliable->array[0].opcode = P_CONTROL_SOFT_RESET_V1;
    cluster_last_message_export(old.ks, &message);
    assert_int_equal(message.len, 0);
    old.ks->send_reliable->array[0].opcode = P_CONTROL_V1;
    old.ks->send_reliable->array[0].buf.len = CLUSTER_LAST_MESSAGE_MAX;
    cluster_last_message_export(old.ks, &message);
    assert_int_equal(message.len, 0);
    free_server(&old);

    init_server(&new, true);
    cluster_last_message_import(&new.session, new.ks, &message);
    assert_null(new.ks->send_reliable);
    assert_silent(&new);
    assert_false(tell(&new, 0, NULL, 1));
    free_server(&new);
}

/** A message that fits a record and no buffer: there is none. */
static void
message_that_cannot_be_sent_is_left_out(void **state)
{
    struct server old, new;
    struct cluster_last_message message;

    init_old(&old);
    cluster_last_message_export(old.ks, &message);
    free_server(&old);
    init_server(&new, true);
    new.opt.frame.buf.headroom = new.opt.frame.buf.tailroom = 0;
    new.opt.frame.buf.payload_size = 8;
    cluster_last_message_import(&new.session, new.ks, &message);
    assert_null(new.ks->send_reliable);
    free_server(&new);
}

/** One buffer for each of its packets: a standby holds many messages. */
static void
message_takes_no_more_room_than_it_needs(void **state)
{
    struct server new;

    init_new(&new);
    assert_int_equal(new.ks->send_reliable->size, 2);
    free_server(&new);
}

static void
message_of_a_key_that_the_client_has_is_forgotten(void **state)
{
    struct server new, old;

    init_new(&new);
    new.kept.pending = false;
    cluster_last_message_forget(new.ks);
    assert_null(new.ks->send_reliable);
    assert_null(new.ks->rec_ack);
    assert_null(new.ks->lru_acks);
    assert_null(new.ks->ack_write_buf.data);
    assert_false(cluster_last_message_due(new.ks));
    assert_silent(&new);
    assert_false(tell(&new, 0, NULL, 1));
    cluster_last_message_forget(new.ks);
    free_server(&new);

    /* that of the TLS object here is needed still */
    init_old(&old);
    cluster_last_message_forget(old.ks);
    assert_non_null(old.ks->send_reliable);
    free_server(&old);
}

/** Held and promoted again: the client has waited for long enough. */
static void
message_can_be_hastened(void **state)
{
    struct server new;

    now = 1000;
    init_new(&new);
    for (int i = 0; i < 5; i++)
    {
        assert_says(&new, FIRST, "half a message");
        assert_says(&new, FIRST + 1, "and the other half");
        assert_silent(&new);
        now += 2 << i;
    }
    assert_says(&new, FIRST, "half a message");
    assert_says(&new, FIRST + 1, "and the other half");
    now += 3;
    assert_silent(&new);
    cluster_last_message_hasten(new.ks);
    assert_says(&new, FIRST, "half a message");
    assert_says(&new, FIRST + 1, "and the other half");
    assert_silent(&new);
    free_server(&new);

    init_server(&new, true);
    cluster_last_message_hasten(new.ks);
    assert_silent(&new);
    free_server(&new);
}

/** As many packets as there can be, with ids that wrap, twice the same among
 *  them, and everything received. */
static void
odd_message_does_no_harm(void **state)
{
    const packet_id_type ids[] = { 0xFFFFFFFE, 0xFFFFFFFF, 0, 1, 0x80000000 };
    struct cluster_last_message message;
    struct reliable_ack ack;
    struct buffer buf, said;
    struct server new;
    packet_id_type id;
    int n = 0;

    buf_set_write(&buf, message.bytes, sizeof(message.bytes));
    assert_true(buf_write_u32(&buf, 0xFFFFFFFF));
    for (int i = 0; i < CLUSTER_LAST_MESSAGE_PACKETS; i++)
    {
        assert_true(buf_write_u16(&buf, 4 + 90));
        assert_true(buf_write_u32(&buf, ids[i % 5]));
        assert_non_null(buf_write_alloc(&buf, 90));
        memset(BEND(&buf) - 90, i, 90);
    }
    message.len = BLEN(&buf);

    now = 1000;
    init_server(&new, true);
    cluster_last_message_import(&new.session, new.ks, &message);
    assert_int_equal(new.ks->send_reliable->size, CLUSTER_LAST_MESSAGE_PACKETS);
    while (hear(&new, &ack, &id, &said) == P_CONTROL_V1)
    {
        assert_int_equal(ack.packet_id[0], 0xFFFFFFFE);
        assert_true(++n <= CLUSTER_LAST_MESSAGE_PACKETS);
    }
    assert_int_equal(n, CLUSTER_LAST_MESSAGE_PACKETS);
    for (int i = 0; i < 20; i++)
    {
        assert_true(tell(&new, 0, NULL, i));
    }
    assert_int_equal(hear(&new, &ack, &id, &said), P_ACK_V1);
    assert_int_equal(ack.len, RELIABLE_ACK_SIZE);
    assert_silent(&new);
    assert_true(tell(&new, 4, ids, -1));
    assert_true(new.kept.pending);
    assert_true(tell(&new, 1, ids + 4, -1));
    assert_false(new.kept.pending);
    free_server(&new);

    /* cut off, and one packet more than there can be */
    message.len -= 1;
    init_server(&new, true);
    cluster_last_message_import(&new.session, new.ks, &message);
    assert_null(new.ks->send_reliable);
    message.len = 4 + 7 * 7;
    memset(message.bytes + 4, 0, 7 * 7);
    for (int i = 0; i < 7; i++)
    {
        message.bytes[4 + 7 * i + 1] = 5;
    }
    cluster_last_message_import(&new.session, new.ks, &message);
    assert_null(new.ks->send_reliable);
    message.len = 3;
    cluster_last_message_import(&new.session, new.ks, &message);
    assert_null(new.ks->send_reliable);
    free_server(&new);
}

static void
token_is_wiped_with_cluster_only(void **state)
{
    static const char wiped[8]; /* zeros */
    struct tls_multi *multi;
    char text[8] = "SESS_ID";

    ALLOC_OBJ_CLEAR(multi, struct tls_multi);
    cluster_wipe_text(multi, text);
    assert_string_equal(text, "SESS_ID");
    multi->opt.cluster = true;
    cluster_wipe_text(multi, text);
    assert_memory_equal(text, wiped, sizeof(wiped));
    cluster_wipe_text(multi, NULL);
    free(multi);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_server_sends_the_message),
        cmocka_unit_test(key_is_pending_until_all_is_acknowledged),
        cmocka_unit_test(what_the_client_repeats_is_acknowledged),
        cmocka_unit_test(news_is_not_taken),
        cmocka_unit_test(acknowledgement_of_another_session_does_not_count),
        cmocka_unit_test(message_travels_on),
        cmocka_unit_test(no_message_where_none_is_due),
        cmocka_unit_test(message_that_cannot_be_sent_is_left_out),
        cmocka_unit_test(message_takes_no_more_room_than_it_needs),
        cmocka_unit_test(message_of_a_key_that_the_client_has_is_forgotten),
        cmocka_unit_test(message_can_be_hastened),
        cmocka_unit_test(odd_message_does_no_harm),
        cmocka_unit_test(token_is_wiped_with_cluster_only),
    };

    return cmocka_run_group_tests_name("cluster_last_message", tests, NULL, NULL);
}

#else  /* ifdef ENABLE_CLUSTER */

/** Automake's word for a test that was skipped. */
int
main(void)
{
    return 77;
}

#endif /* ifdef ENABLE_CLUSTER */
