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
 * @file cluster_key.c
 * Data channel keys: their fingerprint, their way between OpenVPN's structures
 * and those of a record, and their field in it. See cluster_record.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_value.h"
#include "ssl_pkt.h"

#include "memdbg.h"

/** Bytes of a key field before its key material. */
#define KEY_HEAD 58

void
cluster_key_lengths(const char *cipher, const char *digest, int *cipher_len, int *hmac_len)
{
    const bool aead = cipher_defined(cipher) && cipher_kt_mode_aead(cipher);

    *cipher_len = cipher_defined(cipher) ? cipher_kt_key_size(cipher) : 0;
    *hmac_len = md_defined(digest) ? md_kt_size(digest) : 0;
    if (aead)
    {
        *hmac_len = cipher_kt_iv_size(cipher) - (int)sizeof(packet_id_type);
    }
}

void
cluster_key_set(struct cluster_key *key, const struct key2 *key2, const struct key_type *kt)
{
    cluster_key_lengths(kt->cipher, kt->digest, &key->cipher_len, &key->hmac_len);
    secure_memzero(key->keys, sizeof(key->keys));
    for (int i = 0; i < 2; i++)
    {
        memcpy(key->keys[i].cipher, key2->keys[i].cipher, (size_t)key->cipher_len);
        memcpy(key->keys[i].hmac, key2->keys[i].hmac, (size_t)key->hmac_len);
    }
    cluster_key_fingerprint(key->fp, key);
}

void
cluster_key_get(const struct cluster_key *key, struct key2 *key2)
{
    key2->n = 2;
    memcpy(key2->keys, key->keys, sizeof(key2->keys));
}

void
cluster_key_fingerprint(uint8_t *fp, const struct cluster_key *key)
{
    static const char label[] = "ovpnha data channel key v1";
    uint8_t material[2 + sizeof(key->keys)];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct buffer buf;

    buf_set_write(&buf, material, sizeof(material));
    buf_write_u8(&buf, (uint8_t)key->cipher_len);
    buf_write_u8(&buf, (uint8_t)key->hmac_len);
    for (int i = 0; i < 2; i++)
    {
        buf_write(&buf, key->keys[i].cipher, key->cipher_len);
        buf_write(&buf, key->keys[i].hmac, key->hmac_len);
    }
    ASSERT(md_full("SHA256", material, BLEN(&buf), digest));

    hmac_ctx_t *hmac = hmac_ctx_new();
    hmac_ctx_init(hmac, digest, "SHA256");
    hmac_ctx_update(hmac, (const uint8_t *)label, (int)strlen(label));
    hmac_ctx_final(hmac, digest);
    memcpy(fp, digest, CLUSTER_FP_SIZE);

    hmac_ctx_cleanup(hmac);
    hmac_ctx_free(hmac);
    secure_memzero(material, sizeof(material));
    secure_memzero(digest, sizeof(digest));
}

static const char *
check_key_head(const struct cluster_key *key)
{
    if (key->slot < CLUSTER_SLOT_PRIMARY || key->slot > CLUSTER_SLOT_KEPT)
    {
        return "unknown slot";
    }
    if (key->flags & ~(unsigned int)CLUSTER_KEY_FLAGS)
    {
        return "unknown flag";
    }
    if (key->key_id > P_KEY_ID_MASK)
    {
        return "key id above 7";
    }
    if (!session_id_defined(&key->session_id_remote))
    {
        return "remote session id is zero";
    }
    return NULL;
}

static void
read_key_head(struct cluster_key *key, struct buffer *in)
{
    key->slot = (enum cluster_key_slot)buf_read_u8(in);
    key->flags = (unsigned int)buf_read_u8(in);
    key->key_id = buf_read_u8(in);
    key->auth_token_state_flags = (unsigned int)buf_read_u8(in);
    session_id_read(&key->session_id_remote, in);
    buf_read(in, key->fp, sizeof(key->fp));
    key->established_age = cluster_get_u32(in);
    key->must_die_in = cluster_get_u32(in);
    key->deferred_expire_in = cluster_get_u32(in);
    key->n_bytes = cluster_get_u64(in);
    key->n_packets = cluster_get_u64(in);
    key->rec_id = cluster_get_u32(in);
    key->rec_time = cluster_get_u32(in);
    key->cipher_len = buf_read_u8(in);
    key->hmac_len = buf_read_u8(in);
}

static const char *
read_key_field(void *at, struct buffer *in)
{
    struct cluster_record *rec = at;
    struct cluster_key *key = &rec->keys[rec->n_keys++];
    uint8_t fp[CLUSTER_FP_SIZE];

    read_key_head(key, in);
    if (key->cipher_len > MAX_CIPHER_KEY_LENGTH || key->hmac_len > MAX_HMAC_KEY_LENGTH
        || BLEN(in) != 2 * (key->cipher_len + key->hmac_len))
    {
        return "wrong length of key material";
    }
    for (int i = 0; i < 2; i++)
    {
        buf_read(in, key->keys[i].cipher, key->cipher_len);
        buf_read(in, key->keys[i].hmac, key->hmac_len);
    }
    cluster_key_fingerprint(fp, key);
    if (memcmp(fp, key->fp, sizeof(fp)))
    {
        return "the fingerprint is not that of the key";
    }
    return check_key_head(key);
}

static bool
write_key_head(const struct cluster_key *key, struct buffer *out)
{
    return cluster_put_u8(out, (unsigned int)key->slot)
           && cluster_put_u8(out, key->flags)
           && cluster_put_u8(out, (unsigned int)key->key_id)
           && cluster_put_u8(out, key->auth_token_state_flags)
           && buf_write(out, key->session_id_remote.id, SID_SIZE)
           && buf_write(out, key->fp, sizeof(key->fp))
           && buf_write_u32(out, key->established_age)
           && buf_write_u32(out, key->must_die_in)
           && buf_write_u32(out, key->deferred_expire_in)
           && cluster_put_u64(out, key->n_bytes)
           && cluster_put_u64(out, key->n_packets)
           && buf_write_u32(out, key->rec_id)
           && buf_write_u32(out, key->rec_time)
           && cluster_put_u8(out, (unsigned int)key->cipher_len)
           && cluster_put_u8(out, (unsigned int)key->hmac_len);
}

static bool
write_key_field(const struct cluster_key *key, uint16_t tag, struct buffer *out)
{
    bool good = key->cipher_len >= 0 && key->cipher_len <= MAX_CIPHER_KEY_LENGTH
                && key->hmac_len >= 0 && key->hmac_len <= MAX_HMAC_KEY_LENGTH
                && cluster_put_head(out, tag, KEY_HEAD + 2 * (size_t)(key->cipher_len + key->hmac_len))
                && write_key_head(key, out);

    for (int i = 0; good && i < 2; i++)
    {
        good = buf_write(out, key->keys[i].cipher, key->cipher_len)
               && buf_write(out, key->keys[i].hmac, key->hmac_len);
    }
    return good;
}

static bool
write_keys(const void *at, uint16_t tag, struct buffer *out)
{
    const struct cluster_record *rec = at;
    bool good = rec->n_keys <= CLUSTER_KEYS_MAX;

    for (int i = 0; good && i < rec->n_keys; i++)
    {
        good = write_key_field(&rec->keys[i], tag, out);
    }
    return good;
}

const struct cluster_value_type cluster_type_keys = {
    KEY_HEAD, KEY_HEAD + 2 * (MAX_CIPHER_KEY_LENGTH + MAX_HMAC_KEY_LENGTH), CLUSTER_KEYS_MAX,
    read_key_field, write_keys
};

#endif /* ifdef ENABLE_CLUSTER */
