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
 * @file cluster_manage_lines.c
 * The commands which lines follow: cluster-import and cluster-update; see
 * cluster_manage.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "base64.h"
#include "cluster_import.h"
#include "cluster_manage.h"
#include "multi.h"

#include "memdbg.h"

/** Command that collects lines, and its parameters as they came. */
static struct
{
    char command[16];
    char uid[2 * CLUSTER_UID_SIZE + 1];
    char generation[24];
} collecting; /* GLOBAL */

void
cluster_command_collect(struct multi_context *m, const char **p)
{
    CLEAR(collecting);
    strncpynt(collecting.command, p[0], sizeof(collecting.command));
    strncpynt(collecting.uid, p[1] ? p[1] : "", sizeof(collecting.uid));
    strncpynt(collecting.generation, p[1] && p[2] ? p[2] : "", sizeof(collecting.generation));
}

/** Base64 of a record's parts, as its lines bring it. */
struct texts
{
    struct buffer part[CLUSTER_PARTS];
};

static size_t
lines_length(const struct buffer_list *lines)
{
    size_t len = 1;

    for (const struct buffer_entry *e = lines->head; e; e = e->next)
    {
        len += BLEN(&e->buf);
    }
    return len;
}

static bool
add_text(struct texts *texts, int kind, const char *text, size_t room)
{
    struct buffer *buf = &texts->part[kind];

    if (!buf->data)
    {
        *buf = alloc_buf(room);
    }
    return buf_write(buf, text, strlen(text));
}

static bool
add_grant(struct cluster_import_grants *grants, char *line, struct cluster_reason *why)
{
    const char *holder_text = strsep(&line, ",");
    const char *fp = strsep(&line, ",");
    const char *start = strsep(&line, ",");
    struct cluster_holder holder;
    struct cluster_import_grant *grant = &grants->list[grants->n];

    if (grants->n == CLUSTER_IMPORT_GRANTS_MAX
        || !cluster_parse_hex(holder_text, holder.id, sizeof(holder.id))
        || !cluster_parse_hex(fp, grant->fp, sizeof(grant->fp))
        || !cluster_parse_packet_id(start, &grant->range.start)
        || !cluster_parse_packet_id(line, &grant->range.end))
    {
        return cluster_refuse(why, CLUSTER_CODE_MALFORMED, "a GRANT line cannot be read");
    }
    if (!cluster_holder_equal(&holder, &cluster->holder))
    {
        return cluster_refuse(why, CLUSTER_CODE_OTHER_HOLDER, "grant for another holder");
    }
    ++grants->n;
    return true;
}

static bool
read_line(struct texts *texts, struct cluster_import_grants *grants, char *line, size_t room,
          struct cluster_reason *why)
{
    const char *word = strsep(&line, ",");

    if (line && !strcmp(word, "HOT"))
    {
        return add_text(texts, CLUSTER_PART_HOT, line, room);
    }
    if (line && !strcmp(word, "COLD"))
    {
        const int kind = atoi(strsep(&line, ","));
        if (line && kind > CLUSTER_PART_HOT && kind < CLUSTER_PARTS)
        {
            return add_text(texts, kind, line, room);
        }
    }
    if (line && !strcmp(word, "GRANT"))
    {
        return add_grant(grants, line, why);
    }
    return cluster_refuse(why, CLUSTER_CODE_MALFORMED, "a line is neither HOT, COLD nor GRANT");
}

static bool
read_lines(const struct buffer_list *lines, struct texts *texts,
           struct cluster_import_grants *grants, struct cluster_reason *why)
{
    const size_t room = lines_length(lines);

    for (const struct buffer_entry *e = lines->head; e; e = e->next)
    {
        if (!read_line(texts, grants, BSTR(&e->buf), room, why))
        {
            return false;
        }
    }
    return true;
}

static bool
decode_texts(const struct texts *texts, struct cluster_parts *parts, struct cluster_reason *why)
{
    CLEAR(*parts);
    for (int kind = 0; kind < CLUSTER_PARTS; ++kind)
    {
        const struct buffer *text = &texts->part[kind];
        struct buffer *part = &parts->part[kind];

        if (text->data)
        {
            *part = alloc_buf(BLEN(text) + 1);
            const int len = openvpn_base64_decode(BSTR(text), BPTR(part), BCAP(part));
            if (len < 0)
            {
                return cluster_refuse(why, CLUSTER_CODE_MALFORMED, "not base64");
            }
            part->len = len;
        }
    }
    return true;
}

static bool
decode_record(const struct texts *texts, struct cluster_record *rec, struct cluster_reason *why)
{
    struct cluster_parts parts;
    const bool ret = decode_texts(texts, &parts, why)
                     && cluster_record_decode(rec, &parts, why);

    cluster_parts_free(&parts);
    return ret;
}

static void
import_done(struct multi_instance *mi)
{
    struct gc_arena gc = gc_new();
    struct buffer ends = alloc_buf_gc(512, &gc);
    struct key_state *ks[KEY_SCAN_SIZE];
    const int n = cluster_client_keys(mi->context.c2.tls_multi, ks);
    char sep = ' ';

    for (int i = 0; i < n; ++i)
    {
        const packet_id_type end =
            cluster_range_imported_end(&ks[i]->crypto_options.packet_id.send);
        if (end)
        {
            buf_printf(&ends, "%c%s:" packet_id_format, sep,
                       cluster_hex(ks[i]->cluster_ks->key.fp, &gc), end);
            sep = ',';
        }
    }
    msg(M_CLIENT, "SUCCESS: cluster-import %s %s%s", collecting.uid, collecting.generation,
        BSTR(&ends));
    gc_free(&gc);
}

/**
 * The parameters of the command must be those of the record.
 */
static bool
check_parameters(const struct cluster_record *rec, struct cluster_reason *why)
{
    uint8_t uid[CLUSTER_UID_SIZE];
    uint64_t generation;

    if (!cluster_parse_hex(collecting.uid, uid, sizeof(uid))
        || !cluster_parse_u64(collecting.generation, &generation)
        || memcmp(uid, rec->uid, sizeof(uid)) || generation != rec->generation)
    {
        return cluster_refuse(why, CLUSTER_CODE_MALFORMED, "UID and GEN are not those of the record");
    }
    return true;
}

static void
lines_import(struct multi_context *m, const struct buffer_list *lines)
{
    struct texts texts = { 0 };
    struct cluster_import_grants grants = { 0 };
    struct cluster_record rec;
    struct cluster_reason why = { CLUSTER_CODE_MALFORMED, "cannot be read" };
    struct multi_instance *mi = NULL;

    if (cluster->role != CLUSTER_STANDBY)
    {
        cluster_refuse(&why, CLUSTER_CODE_WRONG_ROLE, "not possible while %s", cluster_role_name());
    }
    else if (read_lines(lines, &texts, &grants, &why) && decode_record(&texts, &rec, &why))
    {
        if (check_parameters(&rec, &why))
        {
            mi = cluster_import(m, &rec, &grants, &why);
        }
        cluster_record_free(&rec);
    }
    for (int kind = 0; kind < CLUSTER_PARTS; ++kind)
    {
        buf_clear(&texts.part[kind]);
        free_buf(&texts.part[kind]);
    }

    if (mi)
    {
        import_done(mi);
    }
    else
    {
        cluster_fail_with("cluster-import", collecting.uid[0] ? collecting.uid : NULL, &why);
    }
}

static bool
update_mark(struct buffer *buf)
{
    uint8_t uid[CLUSTER_UID_SIZE], fp[CLUSTER_FP_SIZE];
    struct key_state *ks[KEY_SCAN_SIZE];

    buf_read(buf, uid, sizeof(uid));
    buf_read(buf, fp, sizeof(fp));
    const packet_id_type id = buf_read_u32(buf, NULL);
    struct multi_instance *mi = cluster_lookup(uid);
    const int n = mi ? cluster_client_keys(mi->context.c2.tls_multi, ks) : 0;

    for (int i = 0; i < n; ++i)
    {
        if (!memcmp(ks[i]->cluster_ks->key.fp, fp, sizeof(fp)))
        {
            struct packet_id_rec *rec = &ks[i]->crypto_options.packet_id.rec;
            cluster_window_raise(rec, id, rec->time);
            return true;
        }
    }
    return false;
}

static uint64_t
read_u64(struct buffer *buf)
{
    const uint64_t high = buf_read_u32(buf, NULL);

    return high << 32 | buf_read_u32(buf, NULL);
}

static bool
update_bytes(struct buffer *buf)
{
    uint8_t uid[CLUSTER_UID_SIZE];

    buf_read(buf, uid, sizeof(uid));
    const uint64_t read_bytes = read_u64(buf);
    const uint64_t write_bytes = read_u64(buf);
    struct multi_instance *mi = cluster_lookup(uid);

    if (mi)
    {
        struct context_2 *c2 = &mi->context.c2;
        c2->link_read_bytes = cluster_max_counter(c2->link_read_bytes, read_bytes);
        c2->link_write_bytes = cluster_max_counter(c2->link_write_bytes, write_bytes);
    }
    return mi != NULL;
}

/** Is this a line of receive marks? The others have byte counts. */
static bool
is_marks(const char *line)
{
    return !strncmp(line, "HW,", 3);
}

/**
 * The packed entries of a line.
 *
 * @return false if it has none, or has not only whole ones
 */
static bool
read_entries(const char *line, struct buffer *entries, struct gc_arena *gc)
{
    const int entry = is_marks(line) ? CLUSTER_HW_SIZE : CLUSTER_BYTES_SIZE;

    *entries = alloc_buf_gc(strlen(line) + 1, gc);
    if (!is_marks(line) && strncmp(line, "BYTES,", 6))
    {
        return false;
    }
    entries->len = openvpn_base64_decode(strchr(line, ',') + 1, entries->data, entries->capacity);
    return entries->len >= 0 && entries->len % entry == 0;
}

static void
update_line(const char *line, int *applied, int *unknown)
{
    struct gc_arena gc = gc_new();
    struct buffer entries;

    if (read_entries(line, &entries, &gc))
    {
        while (BLEN(&entries) > 0)
        {
            ++*((is_marks(line) ? update_mark(&entries) : update_bytes(&entries)) ? applied : unknown);
        }
    }
    gc_free(&gc);
}

/**
 * May these lines be applied, all of them? One that serves, or has served, has
 * byte counts of its own; a receive mark only rises, so that what another
 * server received is not accepted once more.
 */
static bool
check_update(const struct buffer_list *lines, struct cluster_reason *why)
{
    for (const struct buffer_entry *e = lines->head; e; e = e->next)
    {
        struct gc_arena gc = gc_new();
        struct buffer entries;
        const bool ok = read_entries(BSTR(&e->buf), &entries, &gc);

        gc_free(&gc);
        if (!ok)
        {
            return cluster_refuse(why, CLUSTER_CODE_MALFORMED,
                                  "a line is neither HW nor BYTES with whole entries");
        }
        if (cluster->role != CLUSTER_STANDBY && !is_marks(BSTR(&e->buf)))
        {
            return cluster_refuse(why, CLUSTER_CODE_WRONG_ROLE,
                                  "BYTES is only possible while standby");
        }
    }
    return true;
}

static void
lines_update(const struct buffer_list *lines)
{
    int applied = 0, unknown = 0;
    struct cluster_reason why;

    if (!check_update(lines, &why))
    {
        cluster_fail_with("cluster-update", NULL, &why);
        return;
    }
    for (const struct buffer_entry *e = lines->head; e; e = e->next)
    {
        update_line(BSTR(&e->buf), &applied, &unknown);
    }
    msg(M_CLIENT, "SUCCESS: cluster-update applied=%d,unknown=%d", applied, unknown);
}

void
cluster_management_lines(void *arg, const struct buffer_list *lines)
{
    if (!strcmp(collecting.command, "cluster-import"))
    {
        lines_import(arg, lines);
    }
    else if (!strcmp(collecting.command, "cluster-cookie"))
    {
        cluster_lines_cookie(arg, lines);
    }
    else
    {
        lines_update(lines);
    }
}

#endif /* ifdef ENABLE_CLUSTER */
