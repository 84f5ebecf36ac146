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
 * @file cluster_record.c
 * Writes and reads the record of a client: see cluster_record.h for the format.
 *
 * One table, \c fields, says what there is; cluster_value.h says how each type
 * of value is written and read. Nothing here may log or return key material,
 * tokens or text.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_value.h"

#include "memdbg.h"

/** Bit of a tag: who does not know the field must refuse the record. */
#define TAG_MANDATORY 0x8000

/** Bytes of a part before its first field. */
#define PART_HEAD 4

/** One field of struct cluster_record. */
struct cluster_field
{
    uint16_t tag;
    bool required;
    const char *name;
    const struct cluster_value_type *type;
    size_t offset;              /**< of the member, 0 for the whole record */
};

static const char *const part_names[CLUSTER_PARTS] = {
    "hot part", "identity", "wrap", "peer_info", "token", "cert_hashes", "options", "environment"
};

static bool
refuse(struct cluster_reason *why, const char *what, const char *reason)
{
    return cluster_refuse(why, CLUSTER_CODE_BAD_RECORD, "%s: %s", what, reason);
}

#define AT(member) offsetof(struct cluster_record, member)

static const struct cluster_field fields[] = {
    { 0x8001, true, "uid", &cluster_type_id8, AT(uid) },
    { 0x8002, true, "generation", &cluster_type_u64, AT(generation) },
    { 0x8003, true, "peer-id", &cluster_type_peer_id, AT(peer_id) },
    { 0x8004, true, "flags", &cluster_type_record_flags, AT(flags) },
    { 0x8005, true, "session id", &cluster_type_id8, AT(session_id) },
    { 0x8006, true, "key id", &cluster_type_key_id, AT(key_id) },
    { 0x8007, true, "cipher", &cluster_type_algorithm, AT(cipher) },
    { 0x8008, true, "digest", &cluster_type_algorithm, AT(digest) },
    { 0x8009, true, "crypto flags", &cluster_type_crypto_flags, AT(crypto_flags) },
    { 0x800a, true, "protocol flags", &cluster_type_crypto_flags, AT(imported_protocol_flags) },
    { 0x800b, true, "client address", &cluster_type_remote, AT(remote) },
    { 0x800c, false, "tunnel address", &cluster_type_ifconfig, 0 },
    { 0x800d, false, "tunnel IPv6 address", &cluster_type_ifconfig_ipv6, 0 },
    { 0x000e, false, "reporting address", &cluster_type_u32, AT(reporting_addr) },
    { 0x000f, false, "reporting IPv6 address", &cluster_type_in6, AT(reporting_addr_ipv6) },
    { 0x0010, false, "created", &cluster_type_u64, AT(created) },
    { 0x0011, false, "ages", &cluster_type_ages, 0 },
    { 0x0012, false, "bytes", &cluster_type_bytes, 0 },
    { 0x8013, false, "tls_wrap packet ids", &cluster_type_wrap_pid, AT(wrap) },
    { 0x8014, false, "tls_wrap_reneg packet ids", &cluster_type_wrap_pid, AT(wrap_reneg) },
    { 0x8015, false, "management flags", &cluster_type_u32, AT(mda_flags) },
    { 0x8016, true, "key", &cluster_type_keys, 0 },
    { 0x0017, false, "last message", &cluster_type_last_message, AT(last_message) },
    { 0x8101, false, "common name", &cluster_type_line, AT(common_name) },
    { 0x8102, false, "locked common name", &cluster_type_line, AT(locked_cn) },
    { 0x8103, false, "locked user name", &cluster_type_line, AT(locked_username) },
    { 0x0104, false, "arrival", &cluster_type_arrival, 0 },
    { 0x0105, false, "interface", &cluster_type_line, AT(interface) },
    { 0x0106, false, "MAC addresses", &cluster_type_macs, AT(macs) },
    { 0x0107, false, "server's address", &cluster_type_spoken_to, AT(spoken_to) },
    { 0x8201, false, "tls-crypt-v2 client key", &cluster_type_key2, AT(client_key) },
    { 0x8202, false, "dynamic tls-crypt key", &cluster_type_key2, AT(dynamic_key) },
    { 0x8301, false, "peer info", &cluster_type_raw, AT(peer_info) },
    { 0x8401, false, "auth-token", &cluster_type_line, AT(auth_token) },
    { 0x8402, false, "initial auth-token", &cluster_type_line, AT(auth_token_initial) },
    { 0x8501, false, "certificate hash", &cluster_type_cert_hashes, 0 },
    { 0x8601, false, "options", &cluster_type_raw, AT(options) },
    { 0x0701, false, "environment", &cluster_type_environment, AT(environment) },
};

#define N_FIELDS ((int)SIZE(fields))

static enum cluster_part
tag_part(uint16_t tag)
{
    return (enum cluster_part)((tag & ~TAG_MANDATORY) >> 8);
}

/*
 * Life and death
 */

/** Members that own memory. */
static const size_t text_members[] = {
    AT(common_name), AT(locked_cn), AT(locked_username), AT(interface), AT(peer_info),
    AT(auth_token), AT(auth_token_initial), AT(options), AT(environment)
};

void
cluster_record_init(struct cluster_record *rec)
{
    CLEAR(*rec);
    rec->inactivity_age = rec->session_age = rec->token_age = CLUSTER_AGE_NONE;
    rec->routes = CLUSTER_ROUTE_ALL;
}

void
cluster_record_free(struct cluster_record *rec)
{
    for (size_t i = 0; i < SIZE(text_members); i++)
    {
        cluster_record_set_text((char **)((uint8_t *)rec + text_members[i]), NULL);
    }
    cluster_macs_free(&rec->macs);
    secure_memzero(rec, sizeof(*rec));
    cluster_record_init(rec);
}

bool
cluster_macs_add(struct cluster_macs *macs, const struct cluster_mac *mac)
{
    if (macs->n >= CLUSTER_MACS_MAX)
    {
        return false;
    }
    if (!(macs->n & (macs->n - 1)))
    {
        /* as long as a power of two, which it has just filled */
        const size_t room = macs->n ? 2 * (size_t)macs->n : 1;
        macs->list = realloc(macs->list, room * sizeof(*mac));
        check_malloc_return(macs->list);
    }
    macs->list[macs->n++] = *mac;
    return true;
}

void
cluster_macs_free(struct cluster_macs *macs)
{
    free(macs->list);
    macs->list = NULL;
    macs->n = 0;
}

void
cluster_record_set_text(char **field, const char *text)
{
    char *copy = text && *text ? string_alloc(text, NULL) : NULL;

    if (*field)
    {
        secure_memzero(*field, strlen(*field));
        free(*field);
    }
    *field = copy;
}

/** Wipe and free; a buffer without data stays as it is. */
static void
wipe_buf(struct buffer *buf)
{
    if (buf->data)
    {
        secure_memzero(buf->data, (size_t)buf->capacity);
    }
    free_buf(buf);
}

void
cluster_parts_free(struct cluster_parts *parts)
{
    for (int kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        wipe_buf(&parts->part[kind]);
    }
}

/*
 * Writing
 */

static bool
write_part(const struct cluster_record *rec, int kind, struct buffer *out, const char **failed)
{
    *failed = "head";
    bool good = buf_write_u16(out, CLUSTER_RECORD_FORMAT) && buf_write_u16(out, (uint16_t)kind);

    for (int i = 0; good && i < N_FIELDS; i++)
    {
        if ((int)tag_part(fields[i].tag) == kind)
        {
            *failed = fields[i].name;
            good = fields[i].type->write((const uint8_t *)rec + fields[i].offset,
                                         fields[i].tag, out);
        }
    }
    return good;
}

static bool
write_parts(const struct cluster_record *rec, struct cluster_parts *parts,
            struct buffer *work, struct cluster_reason *why)
{
    for (int kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        const char *failed;
        buf_reset_len(work);
        if (!write_part(rec, kind, work, &failed))
        {
            return refuse(why, failed, "cannot be written, or the record is too long");
        }
        if (BLEN(work) > PART_HEAD)
        {
            parts->part[kind] = alloc_buf((size_t)BLEN(work));
            buf_copy(&parts->part[kind], work);
        }
    }
    return true;
}

bool
cluster_record_encode(const struct cluster_record *rec, struct cluster_parts *parts,
                      struct cluster_reason *why)
{
    struct buffer work = alloc_buf(CLUSTER_RECORD_MAX);
    struct cluster_record check;

    CLEAR(*parts);
    bool good = write_parts(rec, parts, &work, why)
                && cluster_record_decode(&check, parts, why);
    if (good)
    {
        cluster_record_free(&check);
    }
    else
    {
        cluster_parts_free(parts);
    }
    wipe_buf(&work);
    return good;
}

/*
 * Reading
 */

static int
find_field(uint16_t tag)
{
    for (int i = 0; i < N_FIELDS; i++)
    {
        if (fields[i].tag == tag)
        {
            return i;
        }
    }
    return -1;
}

static const char *
read_field(struct cluster_record *rec, const struct cluster_field *field, int seen, struct buffer *value)
{
    const struct cluster_value_type *type = field->type;

    if (seen >= type->most)
    {
        return "given too often";
    }
    if (BLEN(value) < type->min || BLEN(value) > type->max)
    {
        return "wrong length";
    }
    return type->read((uint8_t *)rec + field->offset, value);
}

/** One field: cut its value out of the part and read it if it is known. */
static bool
read_next(struct cluster_record *rec, int kind, int *seen, struct buffer *in,
          struct cluster_reason *why)
{
    const int tag = buf_read_u16(in);
    const int length = buf_read_u16(in);
    struct buffer value;

    if (tag < 0 || length < 0 || length > BLEN(in))
    {
        return refuse(why, part_names[kind], "truncated");
    }
    buf_set_read(&value, BPTR(in), (size_t)length);
    buf_advance(in, length);
    if ((int)tag_part((uint16_t)tag) != kind)
    {
        return refuse(why, part_names[kind], "a field of another part inside");
    }

    const int i = find_field((uint16_t)tag);
    if (i < 0)
    {
        return !(tag & TAG_MANDATORY)
               || refuse(why, part_names[kind], "a mandatory field that this OpenVPN does not know");
    }
    const char *bad = read_field(rec, &fields[i], seen[i]++, &value);
    return !bad || refuse(why, fields[i].name, bad);
}

static bool
read_part(struct cluster_record *rec, int kind, int *seen, struct buffer in,
          struct cluster_reason *why)
{
    const int format = buf_read_u16(&in);

    if (format >= 0 && format != CLUSTER_RECORD_FORMAT)
    {
        return refuse(why, part_names[kind], "written in another format version");
    }
    if (format < 0 || buf_read_u16(&in) != kind)
    {
        return refuse(why, part_names[kind], "the head is wrong");
    }
    while (BLEN(&in) > 0)
    {
        if (!read_next(rec, kind, seen, &in, why))
        {
            return false;
        }
    }
    return true;
}

static bool
read_parts(struct cluster_record *rec, const struct cluster_parts *parts,
           struct cluster_reason *why)
{
    int seen[SIZE(fields)] = { 0 };

    for (int kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        const struct buffer *part = &parts->part[kind];
        if (BLEN(part) && !read_part(rec, kind, seen, *part, why))
        {
            return false;
        }
    }
    for (int i = 0; i < N_FIELDS; i++)
    {
        if (fields[i].required && !seen[i])
        {
            return refuse(why, fields[i].name, "missing");
        }
    }
    return true;
}

static bool
check_sizes(const struct cluster_parts *parts, struct cluster_reason *why)
{
    int total = 0;

    for (int kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        total += BLEN(&parts->part[kind]);
        if (total > CLUSTER_RECORD_MAX)
        {
            return refuse(why, "record", "more than 65536 bytes");
        }
    }
    return BLEN(&parts->part[CLUSTER_PART_HOT]) <= CLUSTER_HOT_MAX
           || refuse(why, part_names[CLUSTER_PART_HOT], "more than 1000 bytes");
}

static bool
check_algorithms(const struct cluster_record *rec, struct cluster_reason *why)
{
    const bool encrypts = cipher_defined(rec->cipher);
    const bool signs = md_defined(rec->digest);

    if (encrypts && !cipher_valid(rec->cipher))
    {
        return refuse(why, "cipher", "not known to this OpenVPN");
    }
    if (signs && !md_valid(rec->digest))
    {
        return refuse(why, "digest", "not known to this OpenVPN");
    }
    if (!encrypts && !signs)
    {
        return refuse(why, "cipher", "neither cipher nor digest: there is no key");
    }
    if (encrypts && signs && cipher_kt_mode_aead(rec->cipher))
    {
        return refuse(why, "digest", "an AEAD cipher has none");
    }
    return true;
}

static bool
check_keys(const struct cluster_record *rec, struct cluster_reason *why)
{
    int cipher_len, hmac_len;
    unsigned int slots = 0;

    cluster_key_lengths(rec->cipher, rec->digest, &cipher_len, &hmac_len);
    for (int i = 0; i < rec->n_keys; i++)
    {
        const struct cluster_key *key = &rec->keys[i];
        if (key->cipher_len != cipher_len || key->hmac_len != hmac_len)
        {
            return refuse(why, "key", "not of the length that the cipher needs");
        }
        if (slots & (1u << key->slot))
        {
            return refuse(why, "key", "two keys in one slot");
        }
        slots |= 1u << key->slot;
        for (int k = 0; k < i; k++)
        {
            if (!memcmp(key->fp, rec->keys[k].fp, sizeof(key->fp)))
            {
                return refuse(why, "key", "the same key twice");
            }
        }
    }
    return slots & (1u << CLUSTER_SLOT_PRIMARY) || refuse(why, "key", "none in the primary slot");
}

bool
cluster_record_decode(struct cluster_record *rec, const struct cluster_parts *parts,
                      struct cluster_reason *why)
{
    cluster_record_init(rec);
    const bool good = check_sizes(parts, why)
                      && read_parts(rec, parts, why)
                      && check_algorithms(rec, why)
                      && check_keys(rec, why);
    if (!good)
    {
        cluster_record_free(rec);
    }
    return good;
}

#endif /* ifdef ENABLE_CLUSTER */
