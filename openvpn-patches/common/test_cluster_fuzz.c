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
 * cluster-import under libFuzzer: whatever a sidecar gone wrong may hand over
 * is refused with a reason or taken, and does nothing else. The server is a
 * whole one, see test_cluster_fuzz_server.h: what is accepted becomes an
 * instance, is updated, promoted, exported, renegotiated and dropped.
 *
 * An input begins with one byte. Even: pieces of a record follow, each a kind,
 * a length of two bytes and that many bytes; they are put into base64 and
 * lines here, so that a change is one of the record, and the UID and the
 * generation of the command are those of the record if it has any. A piece may
 * also end the record, so that another one follows, be a command about it or
 * bring counters. Odd: the lines themselves follow, for one of the commands that
 * take lines. What can be read is also written and read again.
 *
 * With CLUSTER_FUZZ_SEEDS in the environment, inputs are written there that
 * are accepted: the records of test_cluster.c. Those of fuzz-seeds/ come from
 * real exports. With CLUSTER_FUZZ_ACCEPT every input must be accepted.
 */

#define main test_cluster_main
#include "test_cluster.c"
#undef main

#include "base64.h"
#include "cluster.h"
#include "cluster_import.h"
#include "cluster_manage.h"
#include "ssl.h"
#include "test_cluster_fuzz_server.h"

/** Kinds of pieces beside the parts of a record. tests/fuzz/seeds.py has them too. */
enum piece
{
    PIECE_GRANT = CLUSTER_PARTS,        /**< number of the key, start, end */
    PIECE_IMPORT,                       /**< the record is complete: import it */
    PIECE_COMMAND,                      /**< number of the command */
    PIECE_UPDATE,                       /**< kind of counters, packed entries */
    PIECES
};

/** What was done, so that a run that tested nothing is seen. */
static struct
{
    size_t created;
    size_t updated;
    size_t promoted;
    size_t received_only;               /**< looks at a master's keys of that kind */
} done;

/*
 * Seeds
 */

static void
put_piece(FILE *f, int kind, const uint8_t *data, int len)
{
    const uint8_t head[] = { (uint8_t)kind, (uint8_t)(len >> 8), (uint8_t)len };

    fwrite(head, sizeof(head), 1, f);
    fwrite(data, (size_t)len, 1, f);
}

static void
write_seed(const char *dir, int number, struct cluster_record *rec)
{
    const uint8_t mode = 0;
    const uint8_t grant[] = { 0, 0, 16, 0, 0, 0, 32, 0, 0 };
    char path[PATH_MAX];

    rec->peer_id = 3;
    /* the server has IPv4 */
    rec->remote = (struct cluster_addr){ .family = AF_INET, .port = 4321 };
    inet_pton(AF_INET, "192.0.2.55", &rec->remote.ip.in4);
    inet_pton(AF_INET6, "2001:db8:8::1004", &rec->ifconfig_ipv6_local);
    openvpn_snprintf(path, sizeof(path), "%s/%d", dir, number);
    struct cluster_parts parts = encode(rec);
    FILE *f = fopen(path, "w");
    if (!f)
    {
        abort();
    }
    fwrite(&mode, 1, 1, f);
    for (int kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        put_piece(f, kind, parts.part[kind].data ? BPTR(&parts.part[kind]) : grant,
                  BLEN(&parts.part[kind]));
    }
    put_piece(f, PIECE_GRANT, grant, sizeof(grant));
    fclose(f);
    cluster_parts_free(&parts);
    cluster_record_free(rec);
}

static void
write_seeds(const char *dir)
{
    const struct key_type *const types[] = { &gcm, &gcm128, &chacha, &cbc };

    for (int i = 0; i < 8; i++)
    {
        struct cluster_record rec = new_record(types[i / 2], 1 + i % 2);
        write_seed(dir, i, &rec);
    }
}

/** A fuzzer that no record gets past has tested nothing. */
static void
tell_done(void)
{
    fprintf(stderr, "stat::accepted_records:         %zu\n", done.created);
    fprintf(stderr, "stat::accepted_updates:         %zu\n", done.updated);
    fprintf(stderr, "stat::promoted_records:         %zu\n", done.promoted);
    fprintf(stderr, "stat::received_only_keys:       %zu\n", done.received_only);
}

/*
 * Inputs
 */

/** What a piece takes off the input. */
static bool
next_piece(struct buffer *in, int *kind, struct buffer *piece)
{
    if (BLEN(in) < 3)
    {
        return false;
    }
    *kind = buf_read_u8(in) % PIECES;
    const int len = min_int(buf_read_u16(in), BLEN(in));
    buf_set_read(piece, BPTR(in), (size_t)len);
    return buf_advance(in, len);
}

static void
add_to_part(struct cluster_parts *parts, int kind, const struct buffer *piece, int room)
{
    struct buffer *part = &parts->part[kind];

    if (!part->data)
    {
        *part = alloc_buf((size_t)room + 1);
    }
    buf_copy(part, piece);
}

static void
push_part(struct buffer_list *lines, int kind, const struct buffer *part)
{
    char *text = NULL;

    if (BLEN(part) > 0 && openvpn_base64_encode(BPTR(part), BLEN(part), &text) >= 0)
    {
        struct buffer line = alloc_buf(strlen(text) + 32);
        if (kind == CLUSTER_PART_HOT)
        {
            buf_printf(&line, "HOT,%s", text);
        }
        else
        {
            buf_printf(&line, "COLD,%d,%s", kind, text);
        }
        buffer_list_push(lines, BSTR(&line));
        free_buf(&line);
        free(text);
    }
}

static void
push_grant(struct buffer_list *lines, const struct cluster_record *rec, struct buffer *piece)
{
    struct gc_arena gc = gc_new();
    struct buffer line = alloc_buf_gc(256, &gc);
    const int key = BLEN(piece) ? buf_read_u8(piece) % CLUSTER_KEYS_MAX : 0;
    const uint32_t start = buf_read_u32(piece, NULL);
    const uint32_t end = buf_read_u32(piece, NULL);

    buf_printf(&line, "GRANT,%s,%s,%u,%u",
               format_hex_ex(cluster->holder.id, CLUSTER_HOLDER_SIZE, 0, 1, NULL, &gc),
               cluster_hex(rec->keys[key].fp, &gc), start, end);
    buffer_list_push(lines, BSTR(&line));
    gc_free(&gc);
}

static void
import(const struct cluster_record *rec, const struct buffer_list *lines)
{
    const bool known = cluster_lookup(rec->uid) != NULL;
    const struct multi_instance *mi;
    struct gc_arena gc = gc_new();
    char generation[32];

    openvpn_snprintf(generation, sizeof(generation), "%" PRIu64, rec->generation);
    server_command("cluster-import", cluster_hex(rec->uid, &gc), generation);
    cluster_management_lines(&server, lines);
    mi = cluster_lookup(rec->uid);
    if (mi && mi->context.c2.tls_multi->cluster_client->generation == rec->generation)
    {
        ++*(known ? &done.updated : &done.created);
    }
    gc_free(&gc);
}

/** A key that was imported to receive with is never sent with, whatever was ordered. */
static void
check_received_only(void)
{
    struct hash_iterator hi;
    struct hash_element *he;

    hash_iterator_init(server.iter, &hi);
    while ((he = hash_iterator_next(&hi)))
    {
        struct multi_instance *mi = he->value;
        struct tls_multi *multi = mi->context.c2.tls_multi;
        const struct key_state *ks = &multi->session[TM_LAME_DUCK].key[KS_LAME_DUCK];

        if (cluster_range_is_receive_only(&ks->crypto_options.packet_id.send))
        {
            ASSERT(tls_select_encryption_key(multi) != ks);
            ASSERT(!ks->crypto_options.packet_id.send.id);
            done.received_only += cluster->role == CLUSTER_MASTER;
        }
    }
    hash_iterator_free(&hi);
}

/** Any command, about the client of the last record where it is about one. */
static void
command(const uint8_t *uid, int number)
{
    static const char *const names[] = {
        "cluster-promote", "cluster-hold", "cluster-demote", "cluster-drop", "cluster-export",
        "cluster-reneg", "cluster-kick", "cluster-list", "cluster-room", "cluster-release",
        "cluster-status"
    };
    struct gc_arena gc = gc_new();
    const int which = number % ((int)SIZE(names) + 3);

    if (which == SIZE(names))
    {
        server_second();
    }
    else if (which == SIZE(names) + 1)
    {
        server_command("cluster-quiesce", number % 2 ? "3" : "0", NULL);
    }
    else if (which > (int)SIZE(names))
    {
        server_command("cluster-wait", number % 2 ? "on" : "off", NULL);
    }
    else
    {
        server_command(names[which], which ? cluster_hex(uid, &gc) : "1/a",
                       which == 4 ? "000102030405060708090a0b0c0d0e0f" : NULL);
        done.promoted += which ? 0 : (size_t)hash_n_elements(cluster->uids);
    }
    check_received_only();
    gc_free(&gc);
}

/** What was read can be written, and then says the same for good. */
static void
read_again(const struct cluster_record *rec)
{
    struct cluster_reason why = { 0 };
    struct cluster_parts parts, again;
    struct cluster_record back;

    if (!cluster_record_encode(rec, &parts, &why))
    {
        return; /* it is longer than what is written */
    }
    ASSERT(cluster_record_decode(&back, &parts, &why));
    ASSERT(cluster_record_encode(&back, &again, &why));
    for (int kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        ASSERT((!BLEN(&parts.part[kind]) && !BLEN(&again.part[kind]))
               || buf_equal(&parts.part[kind], &again.part[kind]));
    }
    cluster_record_free(&back);
    cluster_parts_free(&parts);
    cluster_parts_free(&again);
}

/** Counters, of whichever clients they are. */
static void
update(struct buffer *piece)
{
    struct buffer_list *lines = buffer_list_new();
    const char *word = BLEN(piece) && buf_read_u8(piece) % 2 ? "BYTES" : "HW";
    char *text = NULL;

    if (BLEN(piece) > 0 && openvpn_base64_encode(BPTR(piece), BLEN(piece), &text) >= 0)
    {
        struct buffer line = alloc_buf(strlen(text) + 8);
        buf_printf(&line, "%s,%s", word, text);
        buffer_list_push(lines, BSTR(&line));
        free_buf(&line);
        free(text);
        server_command("cluster-update", NULL, NULL);
        cluster_management_lines(&server, lines);
    }
    buffer_list_free(lines);
}

/** A record as its pieces come in. */
struct pieces
{
    struct cluster_parts parts;
    struct buffer grants[4];
    int n_grants;
    uint8_t uid[CLUSTER_UID_SIZE];      /**< of the last one that could be read */
};

/** The record is complete. */
static void
run_record(struct pieces *pieces)
{
    struct buffer_list *lines = buffer_list_new();
    struct cluster_reason why = { 0 };
    struct cluster_record rec;

    if (cluster_record_decode(&rec, &pieces->parts, &why))
    {
        for (int kind = 0; kind < CLUSTER_PARTS; kind++)
        {
            push_part(lines, kind, &pieces->parts.part[kind]);
        }
        for (int i = 0; i < pieces->n_grants; i++)
        {
            push_grant(lines, &rec, &pieces->grants[i]);
        }
        memcpy(pieces->uid, rec.uid, sizeof(pieces->uid));
        read_again(&rec);
        import(&rec, lines);
        cluster_record_free(&rec);
    }
    cluster_parts_free(&pieces->parts);
    CLEAR(pieces->parts);
    pieces->n_grants = 0;
    buffer_list_free(lines);
}

static void
run_pieces(struct buffer in)
{
    struct pieces pieces = { 0 };
    const int room = BLEN(&in);
    struct buffer piece;
    int kind;

    while (next_piece(&in, &kind, &piece))
    {
        if (kind < CLUSTER_PARTS)
        {
            add_to_part(&pieces.parts, kind, &piece, room);
        }
        else if (kind == PIECE_IMPORT)
        {
            run_record(&pieces);
        }
        else if (kind == PIECE_COMMAND)
        {
            command(pieces.uid, BLEN(&piece) ? buf_read_u8(&piece) : 0);
        }
        else if (kind == PIECE_UPDATE)
        {
            update(&piece);
        }
        else if (pieces.n_grants < (int)SIZE(pieces.grants))
        {
            pieces.grants[pieces.n_grants++] = piece;
        }
    }
    run_record(&pieces);
}

static void
run_lines(struct buffer in, int number)
{
    static const char *const names[] = { "cluster-import", "cluster-update", "cluster-cookie" };
    struct buffer_list *lines = buffer_list_new();
    char line[4096];

    while (buf_parse(&in, '\n', line, sizeof(line)))
    {
        buffer_list_push(lines, line);
    }
    server_command(names[number % (int)SIZE(names)], "0000000000000000", "0");
    cluster_management_lines(&server, lines);
    buffer_list_free(lines);
}

static int
run_input(const uint8_t *data, size_t size)
{
    const size_t before = done.created;

    if (size > 1)
    {
        struct buffer in;
        buf_set_read(&in, data + 1, size - 1);
        if (data[0] % 2)
        {
            run_lines(in, data[0] / 2);
        }
        else
        {
            run_pieces(in);
        }
        server_reset();
        ASSERT(done.created > before || !getenv("CLUSTER_FUZZ_ACCEPT"));
    }
    return 0;
}

int
main(int argc, char **argv)
{
    const char *dir = getenv("CLUSTER_FUZZ_SEEDS");

    if (dir)
    {
        write_seeds(dir);
        return 0;
    }
    atexit(tell_done);
    return run_server(CLUSTER_FUZZ_CONFIG, argc, argv, run_input);
}
