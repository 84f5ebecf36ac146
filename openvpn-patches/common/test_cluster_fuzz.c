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
 * is refused with a reason or taken, and does nothing else. All of OpenVPN is
 * linked; only the instance itself is not made, since that needs a server.
 *
 * An input begins with one byte. Even: pieces of a record follow, each a kind,
 * a length of two bytes and that many bytes; they are put into base64 and
 * lines here, so that a change is one of the record, and the UID and the
 * generation of the command are those of the record if it has any. Odd: the
 * lines themselves follow. What can be read is also written and read again.
 *
 * With CLUSTER_FUZZ_SEEDS in the environment, inputs are written there that
 * are accepted: the records of test_cluster.c.
 */

#define main test_cluster_main
#include "test_cluster.c"
#undef main

#include "base64.h"
#include "cluster.h"
#include "cluster_import.h"
#include "cluster_manage.h"
#include "multi.h"

/** A piece of this kind is a grant: number of the key, start, end. */
#define PIECE_GRANT 8

static struct multi_context server;
static size_t created;

/* nothing is written; an end of the process is a finding */
void __wrap_x_msg(const unsigned int flags, const char *format, ...);

void
__wrap_x_msg(const unsigned int flags, const char *format, ...)
{
    char text[4096];
    va_list arglist;

    va_start(arglist, format);
    vsnprintf(text, sizeof(text), format, arglist);
    va_end(arglist);
    if (flags & M_FATAL)
    {
        abort();
    }
}

struct multi_instance *__wrap_multi_create_instance(struct multi_context *m,
                                                    const struct mroute_addr *real);

/* the record was accepted */
struct multi_instance *
__wrap_multi_create_instance(struct multi_context *m, const struct mroute_addr *real)
{
    ++created;
    return NULL;
}

static void
start_server(void)
{
    struct options *o = &server.top.options;

    o->ncp_ciphers = "AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305";
    o->ciphername = "AES-256-CBC";
    o->authname = "SHA512";
    server.max_clients = 64;
    server.hash = hash_init(64, 1, mroute_addr_hash_function, mroute_addr_compare_function);
    server.vhash = hash_init(64, 1, mroute_addr_hash_function, mroute_addr_compare_function);
    ALLOC_ARRAY_CLEAR(server.instances, struct multi_instance *, server.max_clients);
    ALLOC_OBJ_CLEAR(cluster, struct cluster);
    cluster->uids = hash_init(64, 1, mroute_addr_hash_function, mroute_addr_compare_function);
}

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
tell_created(void)
{
    fprintf(stderr, "stat::accepted_records:         %zu\n", created);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *dir = getenv("CLUSTER_FUZZ_SEEDS");

    now = 1700000000;
    start_server();
    atexit(tell_created);
    if (dir)
    {
        write_seeds(dir);
        exit(0);
    }
    return 0;
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
    *kind = buf_read_u8(in) % (PIECE_GRANT + 1);
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
    struct gc_arena gc = gc_new();
    char generation[32];
    const char *p[4] = { "cluster-import", cluster_hex(rec->uid, &gc), generation, NULL };

    openvpn_snprintf(generation, sizeof(generation), "%" PRIu64, rec->generation);
    cluster_command_collect(&server, p);
    cluster_management_lines(&server, lines);
    gc_free(&gc);
}

/** What was read can be written, and then says the same for good. */
static void
read_again(const struct cluster_record *rec)
{
    struct cluster_reason why = { "" };
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

static void
run_pieces(struct buffer in)
{
    struct buffer_list *lines = buffer_list_new();
    struct cluster_parts parts = { 0 };
    struct cluster_record rec;
    struct cluster_reason why = { "" };
    struct buffer piece, grants[4];
    const int room = BLEN(&in);
    int kind, n = 0;

    while (next_piece(&in, &kind, &piece))
    {
        if (kind < CLUSTER_PARTS)
        {
            add_to_part(&parts, kind, &piece, room);
        }
        else if (n < 4)
        {
            grants[n++] = piece;
        }
    }
    const bool good = cluster_record_decode(&rec, &parts, &why);
    for (kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        push_part(lines, kind, &parts.part[kind]);
    }
    for (int i = 0; i < n && good; i++)
    {
        push_grant(lines, &rec, &grants[i]);
    }
    if (good)
    {
        read_again(&rec);
        import(&rec, lines);
        cluster_record_free(&rec);
    }
    cluster_parts_free(&parts);
    buffer_list_free(lines);
}

static void
run_lines(struct buffer in)
{
    struct buffer_list *lines = buffer_list_new();
    struct cluster_record rec = { 0 };
    char line[4096];

    while (buf_parse(&in, '\n', line, sizeof(line)))
    {
        buffer_list_push(lines, line);
    }
    import(&rec, lines);
    buffer_list_free(lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1)
    {
        struct buffer in;
        buf_set_read(&in, data + 1, size - 1);
        if (data[0] % 2)
        {
            run_lines(in);
        }
        else
        {
            run_pieces(in);
        }
    }
    return 0;
}
