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
 * @file cluster_manage_export.c
 * cluster-export and cluster-stored; see cluster_manage.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "base64.h"
#include "cluster_export.h"
#include "cluster_manage.h"
#include "multi.h"

#include "memdbg.h"

/** Characters of base64 in a line. */
#define LINE_TEXT 512

/**
 * @return number of holders, -1 if they make no sense
 */
static int
parse_holders(const char *const *p, struct cluster_holder *holders)
{
    int n = 0;

    for (; *p; ++p)
    {
        struct gc_arena gc = gc_new();
        char *rest = string_alloc(*p, &gc);
        bool ok = true;

        for (char *word; ok && (word = strsep(&rest, ",")); )
        {
            ok = n < CLUSTER_HOLDERS_MAX && cluster_parse_hex(word, holders[n].id, CLUSTER_HOLDER_SIZE);
            ++n;
        }
        gc_free(&gc);
        if (!ok)
        {
            return -1;
        }
    }
    return n;
}

static void
write_part(const char *prefix, const struct buffer *part)
{
    char *text = NULL;

    if (BLEN(part) <= 0 || openvpn_base64_encode(BPTR(part), BLEN(part), &text) < 0)
    {
        return;
    }
    for (size_t done = 0, len = strlen(text); done < len; done += LINE_TEXT)
    {
        msg(M_CLIENT, "%s,%.*s", prefix, LINE_TEXT, text + done);
    }
    secure_memzero(text, strlen(text));
    free(text);
}

static void
write_parts(const struct cluster_parts *parts)
{
    write_part("HOT", &parts->part[CLUSTER_PART_HOT]);
    for (int kind = CLUSTER_PART_HOT + 1; kind < CLUSTER_PARTS; ++kind)
    {
        char prefix[16];
        openvpn_snprintf(prefix, sizeof(prefix), "COLD,%d", kind);
        write_part(prefix, &parts->part[kind]);
    }
}

/**
 * Grant packet ids of each key in the record to each holder, but of none that is
 * only received with. They have left this process when they are written.
 */
static void
write_grants(struct tls_multi *multi, const struct cluster_record *rec,
             const struct cluster_holder *holders, int n_holders)
{
    struct key_state *ks[KEY_SCAN_SIZE];
    const int n = cluster_client_keys(multi, ks);

    for (int i = 0; i < n && i < rec->n_keys && rec->keys[i].slot != CLUSTER_SLOT_KEPT; ++i)
    {
        struct cluster_grant grants[CLUSTER_HOLDERS_MAX];
        const int n_grants = cluster_range_export(&ks[i]->crypto_options.packet_id.send,
                                                  holders, n_holders, grants);
        for (int g = 0; g < n_grants; ++g)
        {
            struct gc_arena gc = gc_new();
            msg(M_CLIENT, "GRANT,%s,%s," packet_id_format "," packet_id_format,
                format_hex_ex(grants[g].holder.id, CLUSTER_HOLDER_SIZE, 0, 1, NULL, &gc),
                cluster_hex(ks[i]->cluster_ks->key.fp, &gc),
                grants[g].range.start, grants[g].range.end);
            gc_free(&gc);
        }
    }
}

/**
 * Leave out what is needed least, if there is something that may be missing: a key
 * that is kept, which the client uses for a moment only, then a last message,
 * without which it will have to reconnect if it comes to that.
 */
static bool
shorten(struct cluster_record *rec)
{
    if (rec->keys[rec->n_keys - 1].slot == CLUSTER_SLOT_KEPT)
    {
        --rec->n_keys;
        return true;
    }
    const bool shorter = rec->last_message.len > 0;
    rec->last_message.len = 0;
    return shorter;
}

/**
 * Make a client's record and write it, without what the hot part has no room for.
 */
static bool
make_parts(const struct multi_context *m, struct multi_instance *mi, struct cluster_record *rec,
           struct cluster_parts *parts, struct cluster_reason *why)
{
    if (!cluster_client_record(m, mi, rec))
    {
        return false;
    }
    while (!cluster_record_encode(rec, parts, why))
    {
        if (!shorten(rec))
        {
            return false;
        }
    }
    return true;
}

void
cluster_command_export(struct multi_context *m, const char **p)
{
    struct cluster_holder holders[CLUSTER_HOLDERS_MAX];
    struct cluster_record rec;
    struct cluster_parts parts;
    struct cluster_reason why = { CLUSTER_CODE_NO_KEY, "no key yet" };

    if (!cluster_need_role(p, cluster->role != CLUSTER_STANDBY))
    {
        return;
    }
    struct multi_instance *mi = cluster_find_instance(p);
    const int n_holders = p[1] ? parse_holders(p + 2, holders) : 0;
    if (!mi)
    {
        return;
    }
    if (n_holders < 0)
    {
        cluster_fail(p[0], p[1], CLUSTER_CODE_MALFORMED, "holders are at most 15 ids of 32 hex digits");
        return;
    }
    if (!make_parts(m, mi, &rec, &parts, &why))
    {
        cluster_fail_with(p[0], p[1], &why);
    }
    else
    {
        msg(M_CLIENT, "RECORD,%s,%" PRIu64 ",%lu", p[1], rec.generation,
            mi->context.c2.mda_context.cid);
        write_parts(&parts);
        if (n_holders)
        {
            write_grants(mi->context.c2.tls_multi, &rec, holders, n_holders);
        }
        msg(M_CLIENT, "END");
        cluster_parts_free(&parts);
    }
    cluster_record_free(&rec);
}

void
cluster_command_stored(struct multi_context *m, const char **p)
{
    uint8_t fp[CLUSTER_FP_SIZE];
    struct cluster_holder holder;
    packet_id_type end;
    struct multi_instance *mi;
    struct key_state *ks[KEY_SCAN_SIZE];

    if (!cluster_need_role(p, cluster->role != CLUSTER_STANDBY) || !(mi = cluster_find_instance(p)))
    {
        return;
    }
    if (!cluster_parse_hex(p[2], fp, sizeof(fp)) || !cluster_parse_hex(p[3], holder.id, sizeof(holder.id))
        || !cluster_parse_packet_id(p[4], &end))
    {
        cluster_fail(p[0], p[1], CLUSTER_CODE_MALFORMED, "needs FP, HOLDER and END");
        return;
    }

    const int n = cluster_client_keys(mi->context.c2.tls_multi, ks);
    for (int i = 0; i < n; ++i)
    {
        if (!memcmp(ks[i]->cluster_ks->key.fp, fp, sizeof(fp)))
        {
            cluster_range_stored(&ks[i]->crypto_options.packet_id.send, &holder, end);
            msg(M_CLIENT, "SUCCESS: cluster-stored %s %s", p[1], p[2]);
            return;
        }
    }
    cluster_fail(p[0], p[1], CLUSTER_CODE_NO_KEY, "no such key");
}

#endif /* ifdef ENABLE_CLUSTER */
