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
 * @file cluster_import_check.c
 * What of a record is refused before anything is made of it; see
 * cluster_import.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "cluster_import.h"
#include "multi.h"
#include "ssl_ncp.h"

#include "memdbg.h"

static bool
can_use_cipher(const char *name)
{
    return cipher_valid(name)
           && (cipher_kt_mode_aead(name) || cipher_kt_mode_cbc(name) || cipher_kt_mode_ofb_cfb(name));
}

bool
cluster_check_crypto(const struct options *o, const struct cluster_record *rec,
                     struct cluster_reason *why)
{
    if (!can_use_cipher(rec->cipher))
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE, "cipher %s is not known here", rec->cipher);
    }
    if (!tls_item_in_cipher_list(rec->cipher, o->ncp_ciphers)
        && strcmp(rec->cipher, o->ciphername))
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE, "cipher %s is not in --data-ciphers",
                              rec->cipher);
    }
    if (strcmp(rec->digest, "none") && strcmp(rec->digest, md_kt_name(o->authname)))
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE, "digest %s is not that of --auth",
                              rec->digest);
    }
    return true;
}

static bool
check_addresses(struct multi_context *m, const struct multi_instance *mi,
                const struct cluster_record *rec, const struct mroute_addr *real,
                struct cluster_reason *why)
{
    const struct multi_instance *other = hash_lookup(m->hash, real);

    if (other && other != mi)
    {
        return cluster_refuse(why, CLUSTER_CODE_IN_THE_WAY, "address of the client is in use");
    }
    if (rec->peer_id >= (uint32_t)m->max_clients)
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE,
                              "peer-id %" PRIu32 " is not below --max-clients", rec->peer_id);
    }
    if (m->instances[rec->peer_id] && m->instances[rec->peer_id] != mi)
    {
        return cluster_refuse(why, CLUSTER_CODE_IN_THE_WAY, "peer-id %" PRIu32 " is in use",
                              rec->peer_id);
    }
    return true;
}

/**
 * What never changes as long as a uid lives must not differ.
 */
static bool
check_same(const struct multi_instance *mi, const struct cluster_record *rec,
           struct cluster_reason *why)
{
    const struct context_2 *c2 = &mi->context.c2;
    const struct cluster_client *cc = c2->tls_multi->cluster_client;
    const char *options = cc->options.data ? BSTR(&cc->options) : "";

    if (rec->generation < cc->generation)
    {
        return cluster_refuse(why, CLUSTER_CODE_STALE,
                              "generation is older than the one imported, %" PRIu64, cc->generation);
    }
    if (rec->peer_id != c2->tls_multi->peer_id
        || rec->ifconfig_defined != c2->push_ifconfig_defined
        || rec->ifconfig_local != c2->push_ifconfig_local
        || rec->ifconfig_ipv6_defined != c2->push_ifconfig_ipv6_defined
        || memcmp(&rec->ifconfig_ipv6_local, &c2->push_ifconfig_ipv6_local,
                  sizeof(struct in6_addr))
        || strcmp(rec->options ? rec->options : "", options))
    {
        return cluster_refuse(why, CLUSTER_CODE_DROP_FIRST,
                              "peer-id, addresses or options differ from those imported: drop it first");
    }
    return true;
}

const struct cluster_key *
cluster_key_in_slot(const struct cluster_record *rec, enum cluster_key_slot slot)
{
    for (int i = 0; i < rec->n_keys; ++i)
    {
        if (rec->keys[i].slot == slot)
        {
            return &rec->keys[i];
        }
    }
    return NULL;
}

bool
cluster_fp_equal(const struct cluster_key *key, const uint8_t *fp)
{
    return key && !memcmp(key->fp, fp, CLUSTER_FP_SIZE);
}

static bool
check_grants(const struct cluster_record *rec, const struct cluster_import_grants *grants,
             struct cluster_reason *why)
{
    for (int i = 0; i < grants->n; ++i)
    {
        const struct cluster_import_grant *grant = &grants->list[i];
        struct packet_id_send scratch = { 0 };

        if (!cluster_fp_equal(cluster_key_in_slot(rec, CLUSTER_SLOT_PRIMARY), grant->fp)
            && !cluster_fp_equal(cluster_key_in_slot(rec, CLUSTER_SLOT_LAME_DUCK), grant->fp))
        {
            return cluster_refuse(why, CLUSTER_CODE_BAD_GRANT,
                                  "grant for a key that is not in the record");
        }
        cluster_range_standby(&scratch);
        const char *reason = cluster_range_import(&scratch, grant->range);
        free(scratch.range);
        if (reason)
        {
            return cluster_refuse(why, CLUSTER_CODE_BAD_GRANT, "grant: %s", reason);
        }
    }
    return true;
}

/**
 * The hot part tells which cold parts there must be.
 */
static bool
check_complete(const struct cluster_record *rec, struct cluster_reason *why)
{
    if (rec->wrap_reneg.defined && rec->dynamic_key.n != 2)
    {
        return cluster_refuse(why, CLUSTER_CODE_BAD_RECORD, "the wrap part (COLD,%d) is missing",
                              CLUSTER_PART_WRAP);
    }
    if ((rec->flags & CLUSTER_RECORD_CERT_LOCKED) && !rec->cert_depths)
    {
        return cluster_refuse(why, CLUSTER_CODE_BAD_RECORD,
                              "the cert_hashes part (COLD,%d) is missing", CLUSTER_PART_CERT_HASHES);
    }
    return true;
}

bool
cluster_import_check(struct multi_context *m, const struct multi_instance *mi,
             const struct cluster_record *rec, const struct mroute_addr *real,
             const struct cluster_import_grants *grants, struct cluster_reason *why)
{
    if (!mi && hash_n_elements(m->hash) >= m->max_clients)
    {
        return cluster_refuse(why, CLUSTER_CODE_FULL, "--max-clients (%d) is reached",
                              m->max_clients);
    }
    if (!cluster_key_in_slot(rec, CLUSTER_SLOT_PRIMARY))
    {
        return cluster_refuse(why, CLUSTER_CODE_BAD_RECORD, "no primary key");
    }
    return check_complete(rec, why)
           && (!mi || cluster_check_crypto(&mi->context.options, rec, why))
           && (!mi || check_same(mi, rec, why))
           && check_addresses(m, mi, rec, real, why)
           && check_grants(rec, grants, why);
}

#endif /* ifdef ENABLE_CLUSTER */
