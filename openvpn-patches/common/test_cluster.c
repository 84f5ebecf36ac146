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
 * The record of a client: what is written is read again, and whatever else is
 * read is refused in one line, or harmless. And the reply that completes a
 * connection: when it waits, and for how long.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "cluster_address.h"
#include "cluster_anew.h"
#include "cluster_doubt.h"
#include "cluster_frame.h"
#include "cluster_heal.h"
#include "cluster_record.h"
#include "cluster_reply.h"

#ifdef ENABLE_CLUSTER

#include "cluster_client.h"
#include "socket.h"

#define CORRUPTIONS 20000

static const struct key_type gcm = { "AES-256-GCM", "none" };
static const struct key_type gcm128 = { "AES-128-GCM", "none" };
static const struct key_type chacha = { "CHACHA20-POLY1305", "none" };
static const struct key_type cbc = { "AES-256-CBC", "SHA512" };
static const struct key_type cbc384 = { "AES-256-CBC", "SHA384" };
static const struct key_type unsigned_cbc = { "AES-128-CBC", "none" };
static const struct key_type unencrypted = { "none", "SHA256" };

/** Key material whose bytes are all different within a direction. */
static void
fill_key2(struct key2 *key2, uint8_t seed)
{
    uint8_t *bytes = (uint8_t *)key2->keys;

    key2->n = 2;
    for (size_t i = 0; i < sizeof(key2->keys); i++)
    {
        bytes[i] = (uint8_t)(i + seed);
    }
}

/** What tls-crypt uses of such key material; the rest does not travel. */
static void
fill_wrap_key(struct key2 *key2, uint8_t seed)
{
    fill_key2(key2, seed);
    for (int i = 0; i < 2; i++)
    {
        memset(key2->keys[i].cipher + 32, 0, sizeof(key2->keys[i].cipher) - 32);
        memset(key2->keys[i].hmac + 32, 0, sizeof(key2->keys[i].hmac) - 32);
    }
}

static void
add_key(struct cluster_record *rec, const struct key_type *kt, enum cluster_key_slot slot)
{
    struct cluster_key *key = &rec->keys[rec->n_keys++];
    struct key2 key2;

    fill_key2(&key2, (uint8_t)slot);
    cluster_key_set(key, &key2, kt);
    key->slot = slot;
    key->key_id = rec->n_keys;
    memset(key->session_id_remote.id, 0x40 + rec->n_keys, SID_SIZE);
    key->auth_token_state_flags = 5;
    key->established_age = 1234;
    key->must_die_in = CLUSTER_AGE_NONE;
    key->deferred_expire_in = 60;
    key->n_bytes = 0x123456789abcdefULL;
    key->n_packets = 77;
    key->rec_id = 0xFFFFFFFE;
}

static void
fill_hot(struct cluster_record *rec, const struct key_type *kt)
{
    memset(rec->uid, 0xAB, sizeof(rec->uid));
    rec->generation = 0x1122334455667788ULL;
    rec->peer_id = 0xFFFFFF;
    rec->flags = CLUSTER_RECORD_FLAGS;
    memset(rec->session_id.id, 0xCD, SID_SIZE);
    rec->key_id = 7;
    strcpy(rec->cipher, kt->cipher);
    strcpy(rec->digest, kt->digest);
    rec->crypto_flags = CO_USE_TLS_KEY_MATERIAL_EXPORT | CO_USE_DYNAMIC_TLS_CRYPT;
    rec->imported_protocol_flags = CO_USE_CC_EXIT_NOTIFY;
    rec->remote.family = AF_INET6;
    rec->remote.port = 40000;
    inet_pton(AF_INET6, "2001:db8::1", &rec->remote.ip.in6);
    rec->ifconfig_defined = rec->ifconfig_ipv6_defined = true;
    rec->ifconfig_local = 0x0A080006;
    rec->ifconfig_remote_netmask = 0xFFFFFF00;
    rec->ifconfig_local_alias = 0x0A080007;
    inet_pton(AF_INET6, "fd00::1006", &rec->ifconfig_ipv6_local);
    inet_pton(AF_INET6, "fd00::1", &rec->ifconfig_ipv6_remote);
    rec->ifconfig_ipv6_netbits = 64;
    rec->reporting_addr = 0x0A080006;
    rec->reporting_addr_ipv6 = rec->ifconfig_ipv6_local;
    rec->created = 1700000000;
    rec->inactivity_age = 10;
    rec->session_age = 20;
    rec->bytes_read = 1ULL << 40;
    rec->bytes_written = 3;
    const struct cluster_wrap_pid wrap = { true, 1700000001, 5, 1700000002, 9 };
    rec->wrap = rec->wrap_reneg = wrap;
    rec->mda_flags = 5;
}

static void
fill_cold(struct cluster_record *rec)
{
    cluster_record_set_text(&rec->common_name, "client one");
    cluster_record_set_text(&rec->locked_cn, "client one");
    cluster_record_set_text(&rec->locked_username, "us\xc3\xa9r");
    rec->arrival = 1ULL << 33;
    rec->routes = CLUSTER_ROUTE_IPV6;
    cluster_record_set_text(&rec->interface, "eth0");
    rec->spoken_to.family = AF_INET6;
    inet_pton(AF_INET6, "::ffff:192.0.2.10", &rec->spoken_to.ip.in6);
    for (uint8_t i = 0; i < 3; i++)
    {
        const struct cluster_mac mac = { { 0x02, 0, 0, 0, 0, i }, (uint16_t)(i * 2047) };
        cluster_macs_add(&rec->macs, &mac);
    }
    fill_wrap_key(&rec->client_key, 100);
    fill_wrap_key(&rec->dynamic_key, 101);
    cluster_record_set_text(&rec->peer_info, "IV_VER=2.6.14\nIV_PROTO=990\nUV_\x01=odd\n");
    cluster_record_set_text(&rec->auth_token, "SESS_ID_AT_abc");
    cluster_record_set_text(&rec->auth_token_initial, "SESS_ID_AT_first");
    rec->cert_depths = 1u << 0 | 1u << 1 | 1u << 15;
    memset(rec->cert_hash[0].sha256_hash, 1, 32);
    memset(rec->cert_hash[1].sha256_hash, 2, 32);
    memset(rec->cert_hash[15].sha256_hash, 3, 32);
    cluster_record_set_text(&rec->options, "ifconfig-push 10.8.0.6 255.255.255.0\r\n\tiroute 10.9.0.0\n");
    cluster_record_set_text(&rec->environment, "tls_serial_0=12\nX509_0_CN=a=b\nIV_VER=");
}

static struct cluster_record
new_record(const struct key_type *kt, int n_keys)
{
    struct cluster_record rec;

    cluster_record_init(&rec);
    fill_hot(&rec, kt);
    fill_cold(&rec);
    for (int i = 0; i < n_keys; i++)
    {
        add_key(&rec, kt, (enum cluster_key_slot)(CLUSTER_SLOT_PRIMARY + i));
    }
    return rec;
}

static struct cluster_parts
encode(const struct cluster_record *rec)
{
    struct cluster_parts parts;
    struct cluster_reason why = { 0 };
    if (!cluster_record_encode(rec, &parts, &why))
    {
        fail_msg("%s", why.text);
    }
    return parts;
}

/** Encoded and forgotten. */
static struct cluster_parts
new_parts(void)
{
    struct cluster_record rec = new_record(&gcm, 2);
    struct cluster_parts parts = encode(&rec);
    cluster_record_free(&rec);
    return parts;
}

static void
assert_parts_equal(const struct cluster_parts *a, const struct cluster_parts *b)
{
    for (int kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        assert_int_equal(BLEN(&a->part[kind]), BLEN(&b->part[kind]));
        if (BLEN(&a->part[kind]))
        {
            assert_memory_equal(BPTR(&a->part[kind]), BPTR(&b->part[kind]), BLEN(&a->part[kind]));
        }
    }
}

static void
assert_text_equal(const char *a, const char *b)
{
    assert_string_equal(a ? a : "(none)", b ? b : "(none)");
}

/** Member by member: text by content, everything else by its bytes. */
static void
assert_records_equal(const struct cluster_record *a, const struct cluster_record *b)
{
    assert_memory_equal(a, b, offsetof(struct cluster_record, common_name));
    assert_memory_equal(&a->client_key, &b->client_key, sizeof(a->client_key));
    assert_memory_equal(&a->dynamic_key, &b->dynamic_key, sizeof(a->dynamic_key));
    assert_int_equal(a->cert_depths, b->cert_depths);
    assert_memory_equal(a->cert_hash, b->cert_hash, sizeof(a->cert_hash));
    assert_text_equal(a->common_name, b->common_name);
    assert_text_equal(a->locked_cn, b->locked_cn);
    assert_text_equal(a->locked_username, b->locked_username);
    assert_true(a->arrival == b->arrival);
    assert_int_equal(a->routes, b->routes);
    assert_text_equal(a->interface, b->interface);
    assert_memory_equal(&a->spoken_to, &b->spoken_to, sizeof(a->spoken_to));
    assert_int_equal(a->macs.n, b->macs.n);
    for (int i = 0; i < a->macs.n; i++)
    {
        assert_memory_equal(a->macs.list[i].addr, b->macs.list[i].addr, CLUSTER_MAC_SIZE);
        assert_int_equal(a->macs.list[i].vid, b->macs.list[i].vid);
    }
    assert_text_equal(a->peer_info, b->peer_info);
    assert_text_equal(a->auth_token, b->auth_token);
    assert_text_equal(a->auth_token_initial, b->auth_token_initial);
    assert_text_equal(a->options, b->options);
    assert_text_equal(a->environment, b->environment);
}

/** What was made or taken can be written, read again, and says the same. */
static void
round_trip(struct cluster_record *rec)
{
    struct cluster_parts parts = encode(rec);
    struct cluster_record back;
    struct cluster_reason why = { 0 };

    if (!cluster_record_decode(&back, &parts, &why))
    {
        fail_msg("%s", why.text);
    }
    assert_records_equal(rec, &back);

    struct cluster_parts again = encode(&back);
    assert_parts_equal(&parts, &again);
    cluster_parts_free(&again);
    cluster_parts_free(&parts);
    cluster_record_free(&back);
    cluster_record_free(rec);
}

static void
everything_comes_back(void **state)
{
    const struct key_type *const types[] = {
        &gcm, &gcm128, &chacha, &cbc, &unsigned_cbc, &unencrypted
    };
    for (size_t i = 0; i < SIZE(types); i++)
    {
        for (int n_keys = 1; n_keys <= 2; n_keys++)
        {
            struct cluster_record rec = new_record(types[i], n_keys);
            round_trip(&rec);
        }
    }
}

static void
little_comes_back(void **state)
{
    struct cluster_record rec = new_record(&gcm, 0), bare;

    cluster_record_init(&bare);
    memcpy(&bare, &rec, offsetof(struct cluster_record, ifconfig_defined));
    bare.flags = 0;
    bare.remote.family = AF_INET;
    memset(&bare.remote.ip, 0, sizeof(bare.remote.ip));
    bare.remote.ip.in4.s_addr = htonl(0xC0000201);
    add_key(&bare, &gcm, CLUSTER_SLOT_PRIMARY);
    bare.keys[0].flags = CLUSTER_KEY_PENDING;
    cluster_record_free(&rec);

    struct cluster_parts parts = encode(&bare);
    for (int kind = 1; kind < CLUSTER_PARTS; kind++)
    {
        assert_null(parts.part[kind].data);
    }
    cluster_parts_free(&parts);
    round_trip(&bare);
}

/** Only what tls-crypt uses of a control channel key travels. */
static void
wrap_keys_have_their_real_length(void **state)
{
    struct cluster_record rec = new_record(&gcm, 1);
    struct cluster_parts parts = encode(&rec);

    memset(rec.dynamic_key.keys[1].cipher + 32, 7, 32);
    memset(rec.client_key.keys[0].hmac + 32, 7, 32);
    struct cluster_parts again = encode(&rec);
    assert_parts_equal(&parts, &again);
    rec.dynamic_key.keys[1].cipher[31] ^= 1;
    struct cluster_parts other = encode(&rec);
    assert_memory_not_equal(BPTR(&parts.part[CLUSTER_PART_WRAP]),
                            BPTR(&other.part[CLUSTER_PART_WRAP]),
                            BLEN(&parts.part[CLUSTER_PART_WRAP]));
    assert_in_range(BLEN(&parts.part[CLUSTER_PART_WRAP]), 256, 280);
    cluster_parts_free(&other);
    cluster_parts_free(&again);
    cluster_parts_free(&parts);
    cluster_record_free(&rec);
}

/** Two keys always, three with a digest of at most 48 bytes, and all else. */
static void
hot_part_stays_small(void **state)
{
    const struct { const struct key_type *kt; int n_keys; } cases[] = {
        { &gcm, 3 }, { &chacha, 3 }, { &cbc384, 3 }, { &cbc, 2 }
    };
    for (size_t i = 0; i < SIZE(cases); i++)
    {
        struct cluster_record rec = new_record(cases[i].kt, cases[i].n_keys);
        struct cluster_parts parts = encode(&rec);
        print_message("hot part, %d keys of %s: %d bytes\n", cases[i].n_keys,
                      cases[i].kt->cipher, BLEN(&parts.part[CLUSTER_PART_HOT]));
        assert_true(BLEN(&parts.part[CLUSTER_PART_HOT]) <= CLUSTER_HOT_MAX);
        cluster_parts_free(&parts);
        cluster_record_free(&rec);
    }
    /* longest names, longest keys: what two keys can take at the very most */
    struct cluster_record rec = new_record(&cbc, 2);
    struct cluster_parts parts = encode(&rec);
    const int names = 2 * (CLUSTER_ALG_SIZE - 1) - (int)(strlen(cbc.cipher) + strlen(cbc.digest));
    const int keys = 2 * 2 * (MAX_CIPHER_KEY_LENGTH - 32);
    assert_true(BLEN(&parts.part[CLUSTER_PART_HOT]) + names + keys <= CLUSTER_HOT_MAX);
    cluster_parts_free(&parts);
    cluster_record_free(&rec);
}

/*
 * Refusals of the encoder, which are those of the decoder
 */

static void
assert_not_encoded(struct cluster_record *rec, const char *reason)
{
    struct cluster_parts parts;
    struct cluster_reason why = { 0 };

    assert_false(cluster_record_encode(rec, &parts, &why));
    assert_string_equal(why.text, reason);
    for (int kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        assert_null(parts.part[kind].data);
    }
    cluster_record_free(rec);
}

#define ASSERT_REFUSED(change, reason) \
    do { \
        struct cluster_record r = new_record(&gcm, 2); \
        change; \
        assert_not_encoded(&r, reason); \
    } while (false)

static void
bad_hot_values_are_refused(void **state)
{
    ASSERT_REFUSED(memset(r.uid, 0, 8), "uid: zero");
    ASSERT_REFUSED(CLEAR(r.session_id), "session id: zero");
    ASSERT_REFUSED(r.peer_id = 0x1000000, "peer-id: above 0xFFFFFF");
    ASSERT_REFUSED(r.flags = 8, "flags: unknown flag");
    ASSERT_REFUSED(r.crypto_flags = 1 << 8, "crypto flags: unknown flag");
    ASSERT_REFUSED(r.imported_protocol_flags = 1u << 31, "protocol flags: unknown flag");
    ASSERT_REFUSED(r.key_id = 8, "key id: above 7");
    ASSERT_REFUSED(r.key_id = 256, "key id: cannot be written, or the record is too long");
    ASSERT_REFUSED(r.key_id = -1, "key id: cannot be written, or the record is too long");
    ASSERT_REFUSED(strcpy(r.cipher, "AES-256-GCX"), "cipher: not known to this OpenVPN");
    ASSERT_REFUSED(strcpy(r.cipher, "AES 256"), "cipher: not the name of an algorithm");
    ASSERT_REFUSED(strcpy(r.cipher, ""), "cipher: wrong length");
    ASSERT_REFUSED(memset(r.cipher, 'A', CLUSTER_ALG_SIZE), "cipher: wrong length");
    ASSERT_REFUSED(strcpy(r.cipher, "AES-128-GCM"), "key: not of the length that the cipher needs");
    ASSERT_REFUSED(strcpy(r.digest, "SHA256"), "digest: an AEAD cipher has none");
    ASSERT_REFUSED(strcpy(r.cipher, "none"), "cipher: neither cipher nor digest: there is no key");
    ASSERT_REFUSED(strcpy(r.cipher, "AES-256-CBC"); strcpy(r.digest, "SHA-ONE"),
            "digest: not known to this OpenVPN");
}

static void
bad_addresses_are_refused(void **state)
{
    ASSERT_REFUSED(r.remote.family = AF_UNIX,
            "client address: cannot be written, or the record is too long");
    ASSERT_REFUSED(r.remote.port = 0, "client address: no port");
    ASSERT_REFUSED(CLEAR(r.remote.ip), "client address: not a unicast address");
    ASSERT_REFUSED(r.remote.ip.in6.s6_addr[0] = 0xFF, "client address: not a unicast address");
    ASSERT_REFUSED(r.remote.family = AF_INET; r.remote.ip.in4.s_addr = htonl(0xE0000001),
            "client address: not a unicast address");
    ASSERT_REFUSED(r.ifconfig_local = 0, "tunnel address: zero");
    ASSERT_REFUSED(r.ifconfig_ipv6_netbits = 129, "tunnel IPv6 address: prefix longer than 128");
}

/** What OpenVPN lets an administrator give to a client. */
static void
odd_addresses_and_options_come_back(void **state)
{
    struct cluster_record rec = new_record(&gcm, 1);

    rec.ifconfig_local = 0xFFFFFFFF;
    CLEAR(rec.ifconfig_ipv6_local);
    cluster_record_set_text(&rec.options, "push \"echo \x1b[1m\"\n");
    round_trip(&rec);
}

static void
bad_keys_are_refused(void **state)
{
    ASSERT_REFUSED(r.n_keys = 0, "key: missing");
    ASSERT_REFUSED(r.n_keys = CLUSTER_KEYS_MAX + 1,
            "key: cannot be written, or the record is too long");
    ASSERT_REFUSED(r.keys[1].slot = CLUSTER_SLOT_PRIMARY, "key: two keys in one slot");
    ASSERT_REFUSED(r.keys[0].slot = CLUSTER_SLOT_KEPT, "key: none in the primary slot");
    ASSERT_REFUSED(r.keys[0].slot = 0, "key: unknown slot");
    ASSERT_REFUSED(r.keys[0].slot = 4, "key: unknown slot");
    ASSERT_REFUSED(r.keys[0].flags = 2, "key: unknown flag");
    ASSERT_REFUSED(r.keys[0].key_id = 8, "key: key id above 7");
    ASSERT_REFUSED(CLEAR(r.keys[0].session_id_remote), "key: remote session id is zero");
    ASSERT_REFUSED(r.keys[0].fp[0] ^= 1, "key: the fingerprint is not that of the key");
    ASSERT_REFUSED(r.keys[0].keys[1].hmac[7] ^= 1, "key: the fingerprint is not that of the key");
    ASSERT_REFUSED(r.keys[1] = r.keys[0]; r.keys[1].slot = CLUSTER_SLOT_LAME_DUCK,
            "key: the same key twice");
    ASSERT_REFUSED(r.keys[0].cipher_len = 65, "key: cannot be written, or the record is too long");
    ASSERT_REFUSED(r.keys[0].hmac_len = -1, "key: cannot be written, or the record is too long");
    ASSERT_REFUSED(r.keys[0].cipher_len = 16;
            cluster_key_fingerprint(r.keys[0].fp, &r.keys[0]),
            "key: not of the length that the cipher needs");
}

static void
bad_text_is_refused(void **state)
{
    char big[CLUSTER_NAME_MAX + 2];

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    ASSERT_REFUSED(cluster_record_set_text(&r.common_name, "a\nb"),
            "common name: a control character inside");
    ASSERT_REFUSED(cluster_record_set_text(&r.locked_cn, "\x7f"),
            "locked common name: a control character inside");
    ASSERT_REFUSED(cluster_record_set_text(&r.locked_username, "\t"),
            "locked user name: a control character inside");
    ASSERT_REFUSED(cluster_record_set_text(&r.common_name, big), "common name: wrong length");
    ASSERT_REFUSED(cluster_record_set_text(&r.auth_token, "a\rb"),
            "auth-token: a control character inside");
    ASSERT_REFUSED(cluster_record_set_text(&r.environment, "A=1\nB"),
            "environment: a line that is not NAME=value");
    ASSERT_REFUSED(cluster_record_set_text(&r.environment, "A=1\n\nB=2"),
            "environment: a line that is not NAME=value");
    ASSERT_REFUSED(cluster_record_set_text(&r.environment, "A B=1"),
            "environment: a line that is not NAME=value");
    ASSERT_REFUSED(cluster_record_set_text(&r.environment, "A=\t"),
            "environment: a control character inside");
}

static char *
long_text(size_t length)
{
    char *text = malloc(length + 1);
    assert_non_null(text);
    memset(text, 'x', length);
    text[length] = '\0';
    return text;
}

static void
size_is_bounded(void **state)
{
    char *half = long_text(40000), *whole = long_text(UINT16_MAX + 1);

    ASSERT_REFUSED(cluster_record_set_text(&r.peer_info, half);
            cluster_record_set_text(&r.options, half), "record: more than 65536 bytes");
    ASSERT_REFUSED(cluster_record_set_text(&r.peer_info, whole),
            "peer info: cannot be written, or the record is too long");

    struct cluster_record r = new_record(&cbc, 3);
    assert_not_encoded(&r, "hot part: more than 1000 bytes");
    free(half);
    free(whole);
}

/*
 * Codes
 */

/** What programs go by: a word of its own for each, which is no part of a sentence. */
static void
codes_are_words(void **state)
{
    for (int a = 0; a < CLUSTER_CODES; a++)
    {
        const char *word = cluster_code_word(a);

        assert_non_null(word);
        assert_true(strlen(word) && strspn(word, "abcdefghijklmnopqrstuvwxyz-") == strlen(word));
        for (int b = 0; b < a; b++)
        {
            assert_string_not_equal(word, cluster_code_word(b));
        }
    }
}

static void
errors_begin_with_a_code(void **state)
{
    struct gc_arena gc = gc_new();
    struct cluster_reason why;

    assert_false(cluster_refuse(&why, CLUSTER_CODE_IN_THE_WAY, "peer-id %d is in use", 7));
    assert_string_equal(cluster_error("cluster-import", "0011223344556677", &why, &gc),
                        "ERROR: cluster-import 0011223344556677: in-the-way peer-id 7 is in use");
    assert_string_equal(cluster_error("cluster-hold", NULL, &why, &gc),
                        "ERROR: cluster-hold: in-the-way peer-id 7 is in use");
    gc_free(&gc);
}

/*
 * Refusals of bytes that no encoder wrote
 */

/** Decode with one part replaced, from memory of exactly its size. */
static bool
decode_with(const struct cluster_parts *parts, int kind, const uint8_t *data, size_t length,
            struct cluster_record *rec, struct cluster_reason *why)
{
    struct cluster_parts changed = *parts;
    uint8_t *exact = malloc(length ? length : 1);

    assert_non_null(exact);
    memcpy(exact, data, length);
    buf_set_read(&changed.part[kind], exact, length);
    why->text[0] = '\0';
    const bool good = cluster_record_decode(rec, &changed, why);
    free(exact);
    assert_true(good || strlen(why->text));
    return good;
}

static void
assert_refused(const struct cluster_parts *parts, int kind, const uint8_t *data, size_t length,
               const char *reason)
{
    struct cluster_record rec, empty;
    struct cluster_reason why;

    assert_false(decode_with(parts, kind, data, length, &rec, &why));
    assert_string_equal(why.text, reason);
    assert_int_equal(why.code, CLUSTER_CODE_BAD_RECORD);
    cluster_record_init(&empty);
    assert_memory_equal(&rec, &empty, sizeof(rec));
}

/** Two control packets, the second of them with nothing in it. */
static const char small_message[] = "\0\0\0\5" "\0\6" "\0\0\0\7" "ab" "\0\5" "\0\0\0\10" "c";

static void
message_comes_back(void **state)
{
    struct cluster_record rec = new_record(&gcm, 2);

    rec.keys[0].flags = CLUSTER_KEY_PENDING;
    rec.last_message.len = sizeof(small_message) - 1;
    memcpy(rec.last_message.bytes, small_message, sizeof(small_message) - 1);
    round_trip(&rec);
}

/** Whoever exports then does without it. */
static void
message_needs_room(void **state)
{
    struct cluster_record rec = new_record(&cbc, 2);
    struct cluster_parts parts;
    struct cluster_reason why;
    struct buffer buf;

    rec.last_message.len = CLUSTER_LAST_MESSAGE_MAX;
    buf_set_write(&buf, rec.last_message.bytes, sizeof(rec.last_message.bytes));
    assert_true(buf_write_u32(&buf, 1) && buf_write_u16(&buf, CLUSTER_LAST_MESSAGE_MAX - 6));
    assert_false(cluster_record_encode(&rec, &parts, &why));
    assert_string_equal(why.text, "hot part: more than 1000 bytes");
    CLEAR(rec.last_message);
    round_trip(&rec);
}

/** The hot part with a field appended. */
static void
assert_field(const struct cluster_parts *parts, const char *field, size_t length, const char *reason)
{
    uint8_t data[CLUSTER_HOT_MAX + 100];
    const struct buffer *hot = &parts->part[CLUSTER_PART_HOT];

    memcpy(data, BPTR(hot), (size_t)BLEN(hot));
    memcpy(data + BLEN(hot), field, length);
    if (reason)
    {
        assert_refused(parts, CLUSTER_PART_HOT, data, (size_t)BLEN(hot) + length, reason);
        return;
    }
    struct cluster_record rec;
    struct cluster_reason why;
    assert_true(decode_with(parts, CLUSTER_PART_HOT, data, (size_t)BLEN(hot) + length, &rec, &why));
    cluster_record_free(&rec);
}

static void
unknown_and_foreign_fields(void **state)
{
    struct cluster_parts parts = new_parts();

    assert_field(&parts, "\x00\x7e\x00\x03xyz", 7, NULL);
    assert_field(&parts, "\x00\x7e\x00\x00", 4, NULL);
    assert_field(&parts, "\x80\x7e\x00\x03xyz", 7,
                 "hot part: a mandatory field that this OpenVPN does not know");
    assert_field(&parts, "\x81\x01\x00\x01x", 5, "hot part: a field of another part inside");
    assert_field(&parts, "\x07\x01\x00\x03" "A=1", 7, "hot part: a field of another part inside");
    assert_field(&parts, "\x80\x03\x00\x04\x00\x00\x00\x01", 8, "peer-id: given too often");
    assert_field(&parts, "\x00\x7e\x00\x04xyz", 7, "hot part: truncated");
    assert_field(&parts, "\x00\x7e\x00", 3, "hot part: truncated");
    assert_field(&parts, "\x00", 1, "hot part: truncated");
    cluster_parts_free(&parts);
}

static void
broken_messages_are_refused(void **state)
{
    struct cluster_parts parts = new_parts();
    const char *const bad = "last message: not a list of control packets";

    assert_field(&parts, "\0\x17\0\x0b" "\0\0\0\1" "\0\5" "\0\0\0\2" "x", 15, NULL);
    assert_field(&parts, "\0\x17\0\x0a" "\0\0\0\1" "\0\4" "\0\0\0\2", 14, "last message: wrong length");
    assert_field(&parts, "\0\x17\0\x0b" "\0\0\0\1" "\0\4" "\0\0\0\2" "x", 15, bad);
    assert_field(&parts, "\0\x17\0\x0b" "\0\0\0\1" "\0\6" "\0\0\0\2" "x", 15, bad);
    assert_field(&parts, "\0\x17\0\x0c" "\0\0\0\1" "\0\5" "\0\0\0\2" "xy", 16, bad);

    char many[8 + 7 * 7] = "\0\x17\0\x35\0\0\0\1";
    for (int i = 0; i < 7; i++)
    {
        memcpy(many + 8 + 7 * i, "\0\5\0\0\0\2x", 7);
    }
    assert_field(&parts, many, sizeof(many), bad);
    many[3] -= 7;
    assert_field(&parts, many, sizeof(many) - 7, NULL);
    cluster_parts_free(&parts);
}

static void
head_is_checked(void **state)
{
    struct cluster_parts parts = new_parts();
    const char *identity = "\x00\x01\x00\x01\x81\x01\x00\x02" "cn";
    struct cluster_record rec;
    struct cluster_reason why;

    assert_true(decode_with(&parts, 1, (const uint8_t *)identity, 10, &rec, &why));
    assert_string_equal(rec.common_name, "cn");
    cluster_record_free(&rec);
    assert_refused(&parts, 1, (const uint8_t *)"\x00\x02\x00\x01", 4,
                   "identity: written in another format version");
    assert_refused(&parts, 1, (const uint8_t *)"\x00\x01\x00\x02", 4, "identity: the head is wrong");
    assert_refused(&parts, 1, (const uint8_t *)"\x00\x01\x80\x01", 4, "identity: the head is wrong");
    assert_refused(&parts, 1, (const uint8_t *)"\x00", 1, "identity: the head is wrong");
    assert_refused(&parts, 1, (const uint8_t *)"\x00\x01\x00\x01\x81\x01\x00\x03" "a\0b", 11,
                   "common name: a NUL character inside");
    assert_refused(&parts, 1, (const uint8_t *)"\x00\x01\x00\x01\x81\x01\x00\x00", 8,
                   "common name: wrong length");
    assert_refused(&parts, 0, (const uint8_t *)"", 0, "uid: missing");
    cluster_parts_free(&parts);
}

static void
certificate_depths_are_checked(void **state)
{
    struct cluster_parts parts = new_parts();
    const struct buffer *hashes = &parts.part[CLUSTER_PART_CERT_HASHES];
    uint8_t data[200];

    assert_int_equal(BLEN(hashes), 4 + 3 * 37);
    memcpy(data, BPTR(hashes), (size_t)BLEN(hashes));
    data[4 + 37 + 4] = 0;
    assert_refused(&parts, CLUSTER_PART_CERT_HASHES, data, (size_t)BLEN(hashes),
                   "certificate hash: depth too large or given twice");
    data[4 + 37 + 4] = 16;
    assert_refused(&parts, CLUSTER_PART_CERT_HASHES, data, (size_t)BLEN(hashes),
                   "certificate hash: depth too large or given twice");
    cluster_parts_free(&parts);
}

/** A list of so many. */
static struct cluster_macs
new_macs(int n)
{
    struct cluster_macs macs = { 0 };

    for (int i = 0; i < n; i++)
    {
        const struct cluster_mac mac = { { 0x02, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i }, 0 };
        assert_true(cluster_macs_add(&macs, &mac));
    }
    return macs;
}

static void
mac_addresses_have_a_most(void **state)
{
    for (int n = 0; n <= CLUSTER_MACS_MAX; n = n ? 2 * n : 1)
    {
        struct cluster_record rec = new_record(&gcm, 1);
        cluster_macs_free(&rec.macs);
        rec.macs = new_macs(n);
        round_trip(&rec);
    }

    struct cluster_macs macs = new_macs(CLUSTER_MACS_MAX);
    const struct cluster_mac more = { { 0x06 }, 0 };
    assert_false(cluster_macs_add(&macs, &more));
    assert_int_equal(macs.n, CLUSTER_MACS_MAX);
    assert_int_equal(macs.list[CLUSTER_MACS_MAX - 1].addr[5], 0xff);
    cluster_macs_free(&macs);
    assert_int_equal(macs.n, 0);
    assert_null(macs.list);
}

static void
bad_mac_addresses_are_refused(void **state)
{
    struct cluster_parts parts = new_parts();
    const struct buffer *identity = &parts.part[CLUSTER_PART_IDENTITY];
    const uint8_t head[] = { 0x01, 0x06, 0, 24 };
    uint8_t data[CLUSTER_HOT_MAX];

    memcpy(data, BPTR(identity), (size_t)BLEN(identity));
    uint8_t *field = memmem(data, (size_t)BLEN(identity), head, sizeof(head));
    assert_non_null(field);
    field[4] |= 1;
    assert_refused(&parts, CLUSTER_PART_IDENTITY, data, (size_t)BLEN(identity),
                   "MAC addresses: one that no host has, or a VLAN that there is not");
    field[4] &= 0xfe;
    field[4 + 6] = 0x0f; /* with the next byte 4095 */
    field[4 + 7] = 0xff;
    assert_refused(&parts, CLUSTER_PART_IDENTITY, data, (size_t)BLEN(identity),
                   "MAC addresses: one that no host has, or a VLAN that there is not");
    field[4 + 7] = 0xfe;
    field[3] = 23;
    memmove(field + 4, field + 5, (size_t)(data + BLEN(identity) - (field + 5)));
    assert_refused(&parts, CLUSTER_PART_IDENTITY, data, (size_t)BLEN(identity) - 1,
                   "MAC addresses: not a list of MAC addresses");
    cluster_parts_free(&parts);
}

static void
bad_server_addresses_are_refused(void **state)
{
    struct cluster_parts parts = new_parts();
    const struct buffer *identity = &parts.part[CLUSTER_PART_IDENTITY];
    const uint8_t head[] = { 0x01, 0x07, 0, 16 };
    uint8_t data[CLUSTER_HOT_MAX];

    memcpy(data, BPTR(identity), (size_t)BLEN(identity));
    uint8_t *field = memmem(data, (size_t)BLEN(identity), head, sizeof(head));
    assert_non_null(field);
    memset(field + 4, 0, 16);
    assert_refused(&parts, CLUSTER_PART_IDENTITY, data, (size_t)BLEN(identity),
                   "server's address: not a unicast address");
    field[3] = 15;
    memmove(field + 4, field + 5, (size_t)(data + BLEN(identity) - (field + 5)));
    assert_refused(&parts, CLUSTER_PART_IDENTITY, data, (size_t)BLEN(identity) - 1,
                   "server's address: neither IPv4 nor IPv6");
    cluster_parts_free(&parts);
}

static void
server_address_of_each_family_comes_back(void **state)
{
    for (int i = 0; i < 3; ++i)
    {
        struct cluster_record rec = new_record(&gcm, 1), back;
        struct cluster_reason why;

        CLEAR(rec.spoken_to);
        if (i)
        {
            rec.spoken_to.family = i == 1 ? AF_INET : AF_INET6;
            inet_pton(rec.spoken_to.family, i == 1 ? "192.0.2.10" : "2001:db8::10",
                      &rec.spoken_to.ip);
        }
        struct cluster_parts parts = encode(&rec);
        assert_true(cluster_record_decode(&back, &parts, &why));
        assert_memory_equal(&back.spoken_to, &rec.spoken_to, sizeof(rec.spoken_to));
        cluster_parts_free(&parts);
        cluster_record_free(&rec);
        cluster_record_free(&back);
    }
}

/*
 * Frames
 */

static const uint8_t a_mac[CLUSTER_MAC_SIZE] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };

static void
assert_frame(const struct buffer *frame, const uint8_t *expected, size_t size)
{
    assert_int_equal(BLEN(frame), size);
    assert_memory_equal(BPTR(frame), expected, size);
}

static void
frames_for_switches_and_hosts(void **state)
{
    const uint8_t rarp[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x80, 0x35,
        0, 1, 8, 0, 6, 4, 0, 3,
        0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0, 0, 0,
        0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0, 0, 0
    };
    const uint8_t arp[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
        0, 1, 8, 0, 6, 4, 0, 1,
        0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 8, 0, 1,
        0, 0, 0, 0, 0, 0, 10, 8, 0, 1
    };
    struct buffer frame = alloc_buf(CLUSTER_FRAME_MAX);
    struct in_addr ipv4;

    cluster_frame_rarp(&frame, a_mac);
    assert_frame(&frame, rarp, sizeof(rarp));
    buf_reset_len(&frame);
    inet_pton(AF_INET, "10.8.0.1", &ipv4);
    cluster_frame_arp(&frame, a_mac, ipv4);
    assert_frame(&frame, arp, sizeof(arp));
    free_buf(&frame);
}

/* the checksum was worked out apart from this code */
static void
frame_for_ipv6_hosts(void **state)
{
    const uint8_t advertisement[CLUSTER_FRAME_MAX] = {
        0x33, 0x33, 0, 0, 0, 1, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0xdd,
        0x60, 0, 0, 0, 0, 32, 58, 255,
        0x20, 0x01, 0x0d, 0xb8, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        136, 0, 0x12, 0x82, 0xa0, 0, 0, 0,
        0x20, 0x01, 0x0d, 0xb8, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        2, 1, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55
    };
    struct buffer frame = alloc_buf(CLUSTER_FRAME_MAX);
    struct in6_addr ipv6;

    inet_pton(AF_INET6, "2001:db8:8::1", &ipv6);
    cluster_frame_advertisement(&frame, a_mac, &ipv6);
    assert_frame(&frame, advertisement, sizeof(advertisement));
    free_buf(&frame);
}

static void
questions_are_known(void **state)
{
    uint8_t bytes[CLUSTER_FRAME_MAX] = { 0 };
    struct buffer frame = alloc_buf(CLUSTER_FRAME_MAX), part;
    struct cluster_addr target;
    struct in_addr ipv4;

    inet_pton(AF_INET, "10.8.0.5", &ipv4);
    cluster_frame_arp(&frame, a_mac, ipv4);
    assert_true(cluster_frame_question(&frame, &target));
    assert_int_equal(target.family, AF_INET);
    assert_int_equal(target.ip.in4.s_addr, ipv4.s_addr);
    for (int len = 0; len < 60; len++)
    {
        buf_set_read(&part, BPTR(&frame), (size_t)len);
        assert_int_equal(cluster_frame_question(&part, &target), len >= 42);
    }
    BPTR(&frame)[21] = 2; /* an answer */
    assert_false(cluster_frame_question(&frame, &target));

    bytes[12] = 0x86;
    bytes[13] = 0xdd;
    bytes[20] = IPPROTO_ICMPV6;
    bytes[54] = 135;
    bytes[62] = 0x20;
    bytes[77] = 9;
    buf_set_read(&part, bytes, 78);
    assert_true(cluster_frame_question(&part, &target));
    assert_int_equal(target.family, AF_INET6);
    assert_memory_equal(&target.ip.in6, bytes + 62, 16);
    buf_set_read(&part, bytes, 77);
    assert_false(cluster_frame_question(&part, &target));
    bytes[54] = 136; /* an advertisement */
    buf_set_read(&part, bytes, 78);
    assert_false(cluster_frame_question(&part, &target));
    bytes[20] = IPPROTO_UDP;
    assert_false(cluster_frame_question(&part, &target));
    free_buf(&frame);
}

static void
address_of_a_wrong_length_is_refused(void **state)
{
    struct cluster_parts parts = new_parts();
    const struct buffer *hot = &parts.part[CLUSTER_PART_HOT];
    const uint8_t head[] = { 0x80, 0x0b, 0, 18 };
    uint8_t data[CLUSTER_HOT_MAX];

    memcpy(data, BPTR(hot), (size_t)BLEN(hot));
    uint8_t *field = memmem(data, (size_t)BLEN(hot), head, sizeof(head));
    assert_non_null(field);
    field[3] = 17;
    memmove(field + 4, field + 5, (size_t)(data + BLEN(hot) - (field + 5)));
    assert_refused(&parts, CLUSTER_PART_HOT, data, (size_t)BLEN(hot) - 1,
                   "client address: neither IPv4 nor IPv6");
    cluster_parts_free(&parts);
}

static void
every_truncation(void **state)
{
    struct cluster_parts parts = new_parts();
    struct cluster_record rec;
    struct cluster_reason why;

    for (int kind = 0; kind < CLUSTER_PARTS; kind++)
    {
        const struct buffer *part = &parts.part[kind];
        int accepted = 0;
        for (size_t length = 0; length < (size_t)BLEN(part); length++)
        {
            if (decode_with(&parts, kind, BPTR(part), length, &rec, &why))
            {
                accepted++;
                round_trip(&rec);
            }
        }
        /* only at the border of an optional field: hot loses its second key */
        assert_true(accepted <= (kind == CLUSTER_PART_HOT ? 1 : 8));
    }
    cluster_parts_free(&parts);
}

static uint32_t
draw(uint64_t *seed, uint32_t below)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return (uint32_t)((*seed * 0x2545F4914F6CDD1DULL) >> 32) % below;
}

/** A few bytes, mostly in what looks like a length, are something else. */
static void
corrupt(uint64_t *seed, uint8_t *data, size_t length)
{
    static const uint8_t liked[] = { 0, 1, 0x7F, 0x80, 0xFF };

    for (uint32_t i = draw(seed, 4) + 1; i > 0; i--)
    {
        uint8_t *byte = &data[draw(seed, (uint32_t)length)];
        *byte = draw(seed, 2) ? liked[draw(seed, SIZE(liked))] : (uint8_t)(*byte ^ (1u << draw(seed, 8)));
    }
}

static void
random_corruption(void **state)
{
    struct cluster_parts parts = new_parts();
    uint64_t seed = 20240607;
    uint8_t data[CLUSTER_HOT_MAX];
    struct cluster_record rec;
    struct cluster_reason why;
    int accepted = 0;

    for (int i = 0; i < CORRUPTIONS; i++)
    {
        const int kind = (int)draw(&seed, CLUSTER_PARTS);
        const struct buffer *part = &parts.part[kind];
        memcpy(data, BPTR(part), (size_t)BLEN(part));
        corrupt(&seed, data, (size_t)BLEN(part));
        if (decode_with(&parts, kind, data, (size_t)BLEN(part), &rec, &why))
        {
            accepted++;
            round_trip(&rec);
        }
    }
    print_message("%d of %d corrupted records were sound\n", accepted, CORRUPTIONS);
    cluster_parts_free(&parts);
}

static void
random_bytes(void **state)
{
    struct cluster_parts parts = new_parts();
    uint64_t seed = 42;
    uint8_t data[64];
    struct cluster_record rec;
    struct cluster_reason why;

    for (int i = 0; i < CORRUPTIONS; i++)
    {
        const int kind = (int)draw(&seed, CLUSTER_PARTS);
        const size_t length = draw(&seed, sizeof(data));
        for (size_t k = 0; k < sizeof(data); k++)
        {
            data[k] = (uint8_t)draw(&seed, 256);
        }
        memcpy(data, BPTR(&parts.part[kind]), 4);
        if (decode_with(&parts, kind, data, length, &rec, &why))
        {
            round_trip(&rec);
        }
    }
    cluster_parts_free(&parts);
}

/*
 * Keys and addresses
 */

/** Computed apart, with another implementation of HMAC and SHA-256. */
static void
fingerprint_is_as_documented(void **state)
{
    static const uint8_t expected[CLUSTER_FP_SIZE] = { 0x92, 0x10, 0x4d, 0xed, 0x62, 0x1b, 0xf7, 0x9e };
    struct cluster_key key;
    struct key2 key2;

    CLEAR(key);
    fill_key2(&key2, 0);
    cluster_key_set(&key, &key2, &gcm);
    assert_int_equal(key.cipher_len, 32);
    assert_int_equal(key.hmac_len, 8);
    assert_memory_equal(key.fp, expected, sizeof(expected));
}

static void
fingerprint_is_the_same_on_both_sides(void **state)
{
    const struct key_type *const types[] = { &gcm, &gcm128, &chacha, &cbc, &unencrypted };

    for (size_t i = 0; i < SIZE(types); i++)
    {
        struct cluster_key exported, imported;
        struct key2 key2, got;

        CLEAR(exported);
        CLEAR(imported);
        fill_key2(&key2, 9);
        cluster_key_set(&exported, &key2, types[i]);
        cluster_key_get(&exported, &got);
        assert_int_equal(got.n, 2);
        cluster_key_set(&imported, &got, types[i]);
        assert_memory_equal(exported.fp, imported.fp, CLUSTER_FP_SIZE);
    }
}

static void
fingerprint_tells_keys_apart(void **state)
{
    struct cluster_key a, b;
    struct key2 key2;

    CLEAR(a);
    CLEAR(b);
    fill_key2(&key2, 9);
    cluster_key_set(&a, &key2, &gcm);

    const struct key swap = key2.keys[0];
    key2.keys[0] = key2.keys[1];
    key2.keys[1] = swap;
    cluster_key_set(&b, &key2, &gcm);
    assert_memory_not_equal(a.fp, b.fp, CLUSTER_FP_SIZE);

    fill_key2(&key2, 9);
    cluster_key_set(&b, &key2, &gcm128);
    assert_memory_not_equal(a.fp, b.fp, CLUSTER_FP_SIZE);

    key2.keys[1].hmac[8] ^= 1;          /* not used by the cipher */
    cluster_key_set(&b, &key2, &gcm);
    assert_memory_equal(a.fp, b.fp, CLUSTER_FP_SIZE);
    key2.keys[1].hmac[7] ^= 1;          /* used */
    cluster_key_set(&b, &key2, &gcm);
    assert_memory_not_equal(a.fp, b.fp, CLUSTER_FP_SIZE);
}

static void
addresses_come_back(void **state)
{
    struct sockaddr_storage ss, back;
    struct cluster_addr addr;
    struct sockaddr_in *in4 = (struct sockaddr_in *)&ss;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

    CLEAR(ss);
    in4->sin_family = AF_INET;
    in4->sin_port = htons(1194);
    in4->sin_addr.s_addr = htonl(0xC0000201);
    assert_true(cluster_addr_from_sockaddr(&addr, (struct sockaddr *)&ss));
    cluster_addr_to_sockaddr(&addr, &back);
    assert_memory_equal(&ss, &back, sizeof(ss));

    CLEAR(ss);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(1194);
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &in6->sin6_addr);
    assert_true(cluster_addr_from_sockaddr(&addr, (struct sockaddr *)&ss));
    cluster_addr_to_sockaddr(&addr, &back);
    assert_memory_equal(&ss, &back, sizeof(ss));

    ss.ss_family = AF_UNIX;
    assert_false(cluster_addr_from_sockaddr(&addr, (struct sockaddr *)&ss));
}

static void
client_with_its_data_channel_in_the_kernel_is_known(void **state)
{
    assert_true(cluster_anew_in_kernel(2974));
    assert_false(cluster_anew_in_kernel(8094)); /* the same in its process */
    assert_false(cluster_anew_in_kernel(2974 | CLUSTER_IV_DATA_EPOCH));
    assert_false(cluster_anew_in_kernel(2974 | CLUSTER_IV_PUSH_UPDATE));
    assert_false(cluster_anew_in_kernel(990)); /* 2.6 */
    assert_false(cluster_anew_in_kernel(0));
}

static void
client_that_cannot_begin_anew_is_told_once(void **state)
{
    struct cluster_anew anew = { 0 };

    cluster_anew_note(&anew, 2974, 100);
    assert_true(anew.begun && anew.due);
    anew.begun = anew.due = false;

    /* it comes back from the same port */
    cluster_anew_note(&anew, 2974, 100 + CLUSTER_ANEW_ONCE - 1);
    assert_true(anew.begun && !anew.due);
    cluster_anew_note(&anew, 2974, 100 + CLUSTER_ANEW_ONCE);
    assert_true(anew.due);
}

static void
client_that_can_begin_anew_is_not_told(void **state)
{
    struct cluster_anew anew = { 0 };

    cluster_anew_note(&anew, 8094, 100);
    assert_true(anew.begun && !anew.due);
}

static void
reply_waits_until_released(void **state)
{
    struct cluster_reply reply = { 0 };

    assert_true(cluster_reply_hold(&reply, 100));
    assert_true(cluster_reply_hold(&reply, 101)); /* asked again */
    assert_int_equal(reply.since, 100);
    assert_true(cluster_reply_release(&reply));
    assert_false(cluster_reply_hold(&reply, 102));
    assert_false(cluster_reply_release(&reply));
}

static void
release_before_the_client_asks(void **state)
{
    struct cluster_reply reply = { 0 };

    assert_false(cluster_reply_release(&reply));
    assert_false(cluster_reply_hold(&reply, 100));
    assert_false(cluster_reply_due(&reply, true, 200));
}

static void
reply_waits_no_longer_than_patience(void **state)
{
    struct cluster_reply reply = { 0 };

    assert_false(cluster_reply_due(&reply, false, 100));
    cluster_reply_hold(&reply, 100);
    assert_false(cluster_reply_due(&reply, true, 100 + CLUSTER_REPLY_PATIENCE - 1));
    assert_true(cluster_reply_due(&reply, true, 100 + CLUSTER_REPLY_PATIENCE));
    assert_true(cluster_reply_due(&reply, false, 100)); /* nobody will release it */
}

static void
key_is_pending_until_a_packet_decrypts_under_it(void **state)
{
    struct cluster_ks kept = { .pending = true };
    struct key_state ks = { .cluster_ks = &kept };
    struct packet_id_rec *rec = &ks.crypto_options.packet_id.rec;

    assert_true(cluster_ks_pending(&ks));
    rec->id = 1;
    assert_false(cluster_ks_pending(&ks));
    rec->id = 0;
    rec->time = 1790000000; /* long form: CFB and OFB */
    assert_false(cluster_ks_pending(&ks));
    rec->time = 0;
    kept.pending = false; /* established where it was made */
    assert_false(cluster_ks_pending(&ks));
    ks.cluster_ks = NULL; /* a key without --cluster */
    assert_false(cluster_ks_pending(&ks));
}

static void
note_data(struct cluster_heal *heal, uint64_t marks, time_t from, time_t to)
{
    for (time_t when = from; when <= to; ++when)
    {
        cluster_stray_note(&heal->data, marks, when);
        cluster_stray_note(&heal->data, marks, when); /* counts once a second */
    }
}

static void
data_under_an_unknown_key_alone_is_healed(void **state)
{
    struct cluster_heal heal = { 0 };

    assert_int_equal(cluster_heal_data(&heal, 7), CLUSTER_CURE_NONE);
    note_data(&heal, 7, 100, 101);
    assert_int_equal(cluster_heal_data(&heal, 7), CLUSTER_CURE_NONE);
    note_data(&heal, 7, 102, 102);
    assert_int_equal(cluster_heal_data(&heal, 7), CLUSTER_CURE_ASK);
    note_data(&heal, 7, 103, 108);
    assert_int_equal(cluster_heal_data(&heal, 7), CLUSTER_CURE_NONE);
    note_data(&heal, 7, 109, 109);
    assert_int_equal(cluster_heal_data(&heal, 7), CLUSTER_CURE_KICK);
    note_data(&heal, 7, 110, 118); /* once more, it may have been lost */
    assert_int_equal(cluster_heal_data(&heal, 7), CLUSTER_CURE_NONE);
    note_data(&heal, 7, 119, 119);
    assert_int_equal(cluster_heal_data(&heal, 7), CLUSTER_CURE_KICK);
}

static void
silence_proves_nothing(void **state)
{
    struct cluster_heal heal = { 0 };

    note_data(&heal, 7, 100, 101);
    for (int i = 0; i < 1000; ++i)
    {
        assert_int_equal(cluster_heal_data(&heal, 7), CLUSTER_CURE_NONE);
        assert_int_equal(cluster_heal_control(&heal, 7), CLUSTER_CURE_NONE);
    }
    note_data(&heal, 7, 200, 201); /* what was long ago does not count */
    assert_int_equal(cluster_heal_data(&heal, 7), CLUSTER_CURE_NONE);
}

static void
client_that_uses_a_known_key_is_left_alone(void **state)
{
    struct cluster_heal heal = { 0 };

    note_data(&heal, 7, 100, 150);
    assert_int_equal(cluster_heal_data(&heal, 8), CLUSTER_CURE_NONE);
    assert_int_equal(heal.data.seconds, 0);
    assert_int_equal(cluster_heal_data(&heal, 8), CLUSTER_CURE_NONE);
}

static void
client_inside_a_lost_handshake_is_told(void **state)
{
    struct cluster_heal heal = { 0 };

    cluster_stray_note(&heal.control, 7, 100);
    cluster_stray_note(&heal.control, 7, 100);
    assert_int_equal(cluster_heal_control(&heal, 8), CLUSTER_CURE_NONE);
    cluster_stray_note(&heal.control, 8, 104);
    assert_int_equal(cluster_heal_control(&heal, 9), CLUSTER_CURE_KICK);
    assert_int_equal(cluster_heal_control(&heal, 9), CLUSTER_CURE_NONE);
    cluster_stray_note(&heal.control, 9, 112); /* it was not understood */
    cluster_stray_note(&heal.control, 9, 120);
    assert_int_equal(cluster_heal_control(&heal, 9), CLUSTER_CURE_KICK);
}

static void
client_that_waits_for_another_reset_is_given_it(void **state)
{
    struct cluster_heal heal = { .reset_id = 3 };

    cluster_stray_note(&heal.control, 7, 100);
    cluster_stray_note(&heal.control, 7, 102);
    assert_int_equal(cluster_heal_control(&heal, 7), CLUSTER_CURE_RESTART);
    assert_int_equal(cluster_heal_control(&heal, 7), CLUSTER_CURE_NONE);
    cluster_stray_note(&heal.control, 7, 200);
    cluster_stray_note(&heal.control, 7, 202);
    assert_int_equal(cluster_heal_control(&heal, 8), CLUSTER_CURE_KICK); /* it can be reached */
}

static void
unanswered_soft_reset_is_sent_again_and_no_more(void **state)
{
    struct cluster_heal heal = { 0 };
    int sent = 0;

    assert_int_equal(cluster_heal_unanswered(&heal, 100, 104), CLUSTER_CURE_NONE);
    assert_int_equal(cluster_heal_unanswered(&heal, 100, 105), CLUSTER_CURE_RESEND);
    assert_int_equal(cluster_heal_unanswered(&heal, 100, 109), CLUSTER_CURE_NONE);
    assert_int_equal(cluster_heal_unanswered(&heal, 100, 110), CLUSTER_CURE_RESEND);
    assert_int_equal(cluster_heal_unanswered(&heal, 100, 119), CLUSTER_CURE_NONE);
    for (time_t when = 120; when < 100 + 3600; ++when)
    {
        const enum cluster_cure cure = cluster_heal_unanswered(&heal, 100, when);
        assert_true(cure == CLUSTER_CURE_NONE || cure == CLUSTER_CURE_RESEND);
        sent += cure == CLUSTER_CURE_RESEND;
    }
    assert_int_equal(sent, 8);
    assert_int_equal(cluster_heal_unanswered(&heal, 9000, 9004), CLUSTER_CURE_NONE);
    assert_int_equal(cluster_heal_unanswered(&heal, 9000, 9005), CLUSTER_CURE_RESEND); /* another */
}

static void
client_that_says_goodbye_is_closed(void **state)
{
    struct cluster_heal heal = { 0 };

    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 100, 100), CLUSTER_CURE_NONE);
    cluster_heal_speak(&heal, 100);
    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 101, 101), CLUSTER_CURE_NONE);
    cluster_heal_speak(&heal, 102); /* not acknowledged, so said again */
    assert_int_equal(cluster_heal_spoken(&heal, 9, false, 104, 104), CLUSTER_CURE_NONE);
    assert_int_equal(cluster_heal_spoken(&heal, 9, false, 105, 105), CLUSTER_CURE_ASK);
    cluster_heal_speak(&heal, 106); /* does not begin anew */
    assert_int_equal(cluster_heal_spoken(&heal, 9, false, 111, 111), CLUSTER_CURE_NONE);
    assert_int_equal(cluster_heal_spoken(&heal, 9, false, 112, 112), CLUSTER_CURE_KICK);
    assert_int_equal(cluster_heal_spoken(&heal, 9, false, 113, 113), CLUSTER_CURE_CLOSE);
    assert_int_equal(cluster_heal_spoken(&heal, 9, false, 114, 114), CLUSTER_CURE_NONE);
}

static void
client_that_is_still_there_is_not_closed(void **state)
{
    struct cluster_heal heal = { 0 };

    cluster_heal_speak(&heal, 100);
    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 103, 103), CLUSTER_CURE_ASK);
    assert_int_equal(cluster_heal_spoken(&heal, 7, true, 104, 104), CLUSTER_CURE_NONE);
    assert_int_equal(heal.spoke, 0);
    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 120, 120), CLUSTER_CURE_NONE);

    cluster_heal_speak(&heal, 200);
    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 203, 203), CLUSTER_CURE_ASK);
    assert_int_equal(cluster_heal_spoken(&heal, 8, false, 204, 204), CLUSTER_CURE_NONE); /* data */
    assert_int_equal(heal.spoke, 0);

    /* it has renegotiated by itself meanwhile */
    cluster_heal_speak(&heal, 300);
    assert_int_equal(cluster_heal_spoken(&heal, 8, true, 303, 303), CLUSTER_CURE_NONE);
    assert_int_equal(heal.spoke, 0);
}

static void
nobody_is_closed_without_having_been_told(void **state)
{
    struct cluster_heal heal = { 0 };

    cluster_heal_speak(&heal, 100);
    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 103, 103), CLUSTER_CURE_ASK);
    /* the server stood still, and cannot know what it has not read */
    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 160, 104), CLUSTER_CURE_NONE);
    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 170, 109), CLUSTER_CURE_NONE);
    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 171, 111), CLUSTER_CURE_KICK);
    assert_int_equal(cluster_heal_spoken(&heal, 7, false, 172, 112), CLUSTER_CURE_CLOSE);
}

static void
client_that_answers_keeps_its_session(void **state)
{
    struct cluster_doubt doubt = { 0 };
    int asked = 0;

    /* replayed five times a second for a minute */
    for (int64_t when = 1000000; when < 1060000; when += 50)
    {
        if (when % 200 == 0)
        {
            assert_int_not_equal(cluster_doubt_arrive(&doubt, when), CLUSTER_DOUBT_TAKE);
        }
        const enum cluster_doubt_step step = cluster_doubt_due(&doubt, when, 60000);
        assert_int_not_equal(step, CLUSTER_DOUBT_TAKE);
        if (step == CLUSTER_DOUBT_ASK)
        {
            ++asked;
            assert_true(doubt.question);
            cluster_doubt_answer(&doubt);
        }
        assert_false(doubt.question);
    }
    assert_in_range(asked, 59, 60);
}

static void
client_that_does_not_answer_begins_anew(void **state)
{
    struct cluster_doubt doubt = { 0 };
    const int64_t third = CLUSTER_DOUBT_WAIT / CLUSTER_DOUBT_QUESTIONS;

    assert_int_equal(cluster_doubt_due(&doubt, 1000, 60000), CLUSTER_DOUBT_NONE);
    assert_int_equal(cluster_doubt_arrive(&doubt, 1000), CLUSTER_DOUBT_KEEP);
    for (int i = 0; i < CLUSTER_DOUBT_QUESTIONS; ++i)
    {
        assert_int_equal(cluster_doubt_due(&doubt, 1000 + i * third, 60000), CLUSTER_DOUBT_ASK);
        assert_int_equal(cluster_doubt_due(&doubt, 1000 + i * third, 60000), CLUSTER_DOUBT_NONE);
        assert_int_equal(cluster_doubt_arrive(&doubt, 1001 + i * third), CLUSTER_DOUBT_NONE);
    }
    assert_int_equal(cluster_doubt_due(&doubt, 999 + CLUSTER_DOUBT_WAIT, 60000), CLUSTER_DOUBT_NONE);
    assert_int_equal(cluster_doubt_due(&doubt, 1000 + CLUSTER_DOUBT_WAIT, 60000), CLUSTER_DOUBT_TAKE);
    assert_false(doubt.question);

    /* what it sends until its handshake is over, or has timed out */
    assert_int_equal(cluster_doubt_arrive(&doubt, 2000), CLUSTER_DOUBT_TAKE);
    assert_int_equal(cluster_doubt_arrive(&doubt, 61000), CLUSTER_DOUBT_TAKE);
    assert_int_equal(cluster_doubt_arrive(&doubt, 61750), CLUSTER_DOUBT_KEEP);
}

static void
client_with_a_new_session_is_asked_again(void **state)
{
    struct cluster_doubt doubt = { 0 };

    assert_int_equal(cluster_doubt_arrive(&doubt, 1000), CLUSTER_DOUBT_KEEP);
    while (cluster_doubt_due(&doubt, 1750, 60000) != CLUSTER_DOUBT_TAKE)
    {
    }
    cluster_doubt_close(&doubt);
    /* at once, although the last question was short ago */
    assert_int_equal(cluster_doubt_arrive(&doubt, 1800), CLUSTER_DOUBT_KEEP);
    assert_int_equal(cluster_doubt_due(&doubt, 1800, 60000), CLUSTER_DOUBT_ASK);
}

static void
hard_reset_is_the_first_packet_of_a_session(void **state)
{
    const uint8_t none[] = { 0, 0, 0, 0, 0 };
    const uint8_t acks[] = { 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 9 };
    const uint8_t later[] = { 0, 0, 0, 0, 1 };
    const uint8_t later_acks[] = { 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0, 0 };
    struct buffer buf;

    buf_set_read(&buf, none, sizeof(none));
    assert_true(cluster_doubt_is_first(buf));
    assert_int_equal(BLEN(&buf), sizeof(none)); /* is left as it was */
    buf_set_read(&buf, acks, sizeof(acks));
    assert_true(cluster_doubt_is_first(buf));
    buf_set_read(&buf, later, sizeof(later));
    assert_false(cluster_doubt_is_first(buf));
    buf_set_read(&buf, later_acks, sizeof(later_acks));
    assert_false(cluster_doubt_is_first(buf));
    for (size_t len = 0; len < sizeof(none); ++len)
    {
        buf_set_read(&buf, none, len);
        assert_false(cluster_doubt_is_first(buf)); /* cut off */
    }
    for (size_t len = 0; len < sizeof(acks) - 1; ++len)
    {
        buf_set_read(&buf, acks, len);
        assert_false(cluster_doubt_is_first(buf));
    }
}

static void
resets_one_after_another_wait_for_their_question(void **state)
{
    struct cluster_doubt doubt = { 0 };

    assert_int_equal(cluster_doubt_arrive(&doubt, 1000), CLUSTER_DOUBT_KEEP);
    assert_int_equal(cluster_doubt_due(&doubt, 1000, 60000), CLUSTER_DOUBT_ASK);
    cluster_doubt_answer(&doubt);

    /* the client has begun anew after it had answered: it need not say so again */
    assert_int_equal(cluster_doubt_arrive(&doubt, 1010), CLUSTER_DOUBT_KEEP);
    assert_int_equal(cluster_doubt_due(&doubt, 999 + CLUSTER_DOUBT_EVERY, 60000), CLUSTER_DOUBT_NONE);
    assert_int_equal(cluster_doubt_due(&doubt, 1000 + CLUSTER_DOUBT_EVERY, 60000), CLUSTER_DOUBT_ASK);
}

static struct cluster_addresses
new_addresses(const char *const *texts)
{
    struct cluster_addresses addresses = { 0 };

    for (; *texts; ++texts)
    {
        assert_null(cluster_addresses_add(&addresses, *texts));
    }
    return addresses;
}

/** From a client of that family, to one of our addresses. */
static struct link_socket_actual
spoken_to(const char *text)
{
    struct link_socket_actual actual;

    CLEAR(actual);
    if (strchr(text, ':'))
    {
        actual.dest.addr.sa.sa_family = AF_INET6;
        inet_pton(AF_INET6, text, &actual.pi.in6.ipi6_addr);
        actual.pi.in6.ipi6_ifindex = 7;
    }
    else
    {
        actual.dest.addr.sa.sa_family = AF_INET;
        inet_pton(AF_INET, text, &actual.pi.in4.ipi_spec_dst);
        actual.pi.in4.ipi_ifindex = 7;
    }
    return actual;
}

static void
shared_addresses_are_a_set(void **state)
{
    const char *const some[] = { "2001:db8::10", "192.0.2.20", "192.0.2.10", "192.0.2.20",
                                 "2001:DB8:0::10", NULL };
    const char *const other[] = { "192.0.2.10", "2001:db8::10", "192.0.2.20", NULL };
    struct cluster_addresses a = new_addresses(some);
    const struct cluster_addresses b = new_addresses(other);
    struct gc_arena gc = gc_new();

    assert_int_equal(a.n, 3);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_string_equal(cluster_addresses_print(&a, &gc), "192.0.2.10 192.0.2.20 2001:db8::10");
    assert_true(cluster_addresses_of_family(&a, AF_INET));
    assert_true(cluster_addresses_of_family(&a, AF_INET6));
    for (int i = a.n; i < CLUSTER_ADDRESSES_MAX; ++i)
    {
        char text[32];
        snprintf(text, sizeof(text), "198.51.100.%d", i);
        assert_null(cluster_addresses_add(&a, text));
    }
    assert_string_equal(cluster_addresses_add(&a, "198.51.100.99"), "is one too many");
    assert_null(cluster_addresses_add(&a, "192.0.2.10"));

    CLEAR(a);
    assert_string_equal(cluster_addresses_print(&a, &gc), "-");
    assert_false(cluster_addresses_of_family(&a, AF_INET));
    assert_null(cluster_addresses_add(&a, "2001:db8::10"));
    assert_false(cluster_addresses_of_family(&a, AF_INET));
    assert_true(cluster_addresses_of_family(&a, AF_INET6));
    gc_free(&gc);
}

static void
what_servers_cannot_share_is_refused(void **state)
{
    const char *const bad[] = { "0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.5", "255.255.255.255",
                                "::", "::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1" };
    const char *const none[] = { "", "vpn", "192.0.2", "192.0.2.10/24", "2001:db8::g" };
    struct cluster_addresses addresses = { 0 };

    for (size_t i = 0; i < SIZE(bad); ++i)
    {
        assert_string_equal(cluster_addresses_add(&addresses, bad[i]),
                            "is no address that servers can share");
    }
    for (size_t i = 0; i < SIZE(none); ++i)
    {
        assert_string_equal(cluster_addresses_add(&addresses, none[i]), "is no address");
    }
    assert_int_equal(addresses.n, 0);
    assert_null(cluster_addresses_add(&addresses, "223.255.255.254"));
    assert_null(cluster_addresses_add(&addresses, "1.0.0.1"));
}

static void
client_moves_by_the_address_that_it_speaks_to(void **state)
{
    const char *const some[] = { "192.0.2.10", "2001:db8::10", NULL };
    const struct cluster_addresses shared = new_addresses(some), none = { 0 };
    const char *const move[] = { "192.0.2.10", "::ffff:192.0.2.10", "2001:db8::10" };
    const char *const stay[] = { "192.0.2.11", "::ffff:192.0.2.11", "2001:db8::11", "0.0.0.0",
                                 "::" };
    struct link_socket_actual actual;

    for (size_t i = 0; i < SIZE(move); ++i)
    {
        actual = spoken_to(move[i]);
        assert_true(cluster_address_moves(&shared, &actual));
    }
    for (size_t i = 0; i < SIZE(stay); ++i)
    {
        actual = spoken_to(stay[i]);
        assert_false(cluster_address_moves(&shared, &actual));
        /* with --local there is but one */
        assert_true(cluster_address_moves(&none, &actual));
    }
    CLEAR(actual);
    assert_false(cluster_address_moves(&shared, &actual));
}

static void
answers_come_from_the_address_that_was_spoken_to(void **state)
{
    const char *const texts[] = { "192.0.2.10", "2001:db8::10", "::ffff:192.0.2.10" };

    for (size_t i = 0; i < SIZE(texts); ++i)
    {
        const struct link_socket_actual there = spoken_to(texts[i]);
        struct link_socket_actual here = spoken_to("192.0.2.99");
        struct cluster_addr addr;

        here.dest = there.dest;
        cluster_address_read(&there, &addr);
        assert_int_equal(addr.family, there.dest.addr.sa.sa_family);
        assert_int_equal(addr.port, 0);
        cluster_address_write(&here, &addr);
        if (addr.family == AF_INET)
        {
            assert_int_equal(here.pi.in4.ipi_spec_dst.s_addr, there.pi.in4.ipi_spec_dst.s_addr);
            assert_int_equal(here.pi.in4.ipi_ifindex, 0);
        }
        else
        {
            assert_memory_equal(&here.pi.in6.ipi6_addr, &there.pi.in6.ipi6_addr, 16);
            assert_int_equal(here.pi.in6.ipi6_ifindex, 0);
        }
    }
}

static void
answers_leave_by_whatever_interface_leads_there(void **state)
{
    struct link_socket_actual v4 = spoken_to("192.0.2.10"), v6 = spoken_to("2001:db8::10"),
                              link = spoken_to("fe80::10");

    cluster_address_route(&v4);
    cluster_address_route(&v6);
    cluster_address_route(&link);
    assert_int_equal(v4.pi.in4.ipi_ifindex, 0);
    assert_int_equal(v6.pi.in6.ipi6_ifindex, 0);
    assert_int_equal(link.pi.in6.ipi6_ifindex, 7);
    assert_int_equal(v4.pi.in4.ipi_spec_dst.s_addr, spoken_to("192.0.2.10").pi.in4.ipi_spec_dst.s_addr);
    assert_true(IN6_IS_ADDR_LINKLOCAL(&link.pi.in6.ipi6_addr));
}

static void
client_floats_to_another_of_our_addresses(void **state)
{
    const struct link_socket_actual before = spoken_to("192.0.2.10"), unknown = spoken_to("0.0.0.0"),
                                    v6 = spoken_to("2001:db8::10");
    struct link_socket_actual from = spoken_to("192.0.2.10");

    from.pi.in4.ipi_ifindex = 8;
    assert_false(cluster_address_floats(&before, &from));
    assert_false(cluster_address_floats(&before, &unknown));
    assert_true(cluster_address_floats(&unknown, &before));
    from = spoken_to("192.0.2.11");
    assert_true(cluster_address_floats(&before, &from));
    /* another client, or one that OpenVPN knows to have floated */
    from.dest.addr.in4.sin_port = htons(1);
    assert_false(cluster_address_floats(&before, &from));
    from = spoken_to("2001:db8::11");
    assert_true(cluster_address_floats(&v6, &from));
}

static void
addresses_fit_the_family_of_the_socket(void **state)
{
    struct cluster_addr addr = { .family = AF_INET, .port = 5 };
    const struct cluster_addr v4 = { .family = AF_INET, .port = 5,
                                     .ip.in4.s_addr = htonl(0xc000020a) };
    struct in6_addr in6;

    addr.ip.in4 = v4.ip.in4;
    assert_true(cluster_address_fit(&addr, AF_INET));
    assert_memory_equal(&addr, &v4, sizeof(addr));
    assert_true(cluster_address_fit(&addr, AF_INET6));
    inet_pton(AF_INET6, "::ffff:192.0.2.10", &in6);
    assert_int_equal(addr.family, AF_INET6);
    assert_int_equal(addr.port, 5);
    assert_memory_equal(&addr.ip.in6, &in6, sizeof(in6));
    assert_true(cluster_address_fit(&addr, AF_INET6));
    assert_true(cluster_address_fit(&addr, AF_INET));
    assert_int_equal(addr.ip.in4.s_addr, v4.ip.in4.s_addr);

    addr.family = AF_INET6;
    inet_pton(AF_INET6, "2001:db8::1", &addr.ip.in6);
    assert_false(cluster_address_fit(&addr, AF_INET));
    assert_true(cluster_address_fit(&addr, AF_INET6));
    addr.family = AF_UNSPEC;
    assert_false(cluster_address_fit(&addr, AF_INET));
}

static int
start_crypto(void **state)
{
    crypto_init_lib();
    return 0;
}

static int
stop_crypto(void **state)
{
    crypto_uninit_lib();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(little_comes_back),
        cmocka_unit_test(odd_addresses_and_options_come_back),
        cmocka_unit_test(wrap_keys_have_their_real_length),
        cmocka_unit_test(hot_part_stays_small),
        cmocka_unit_test(bad_hot_values_are_refused),
        cmocka_unit_test(bad_addresses_are_refused),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(codes_are_words),
        cmocka_unit_test(errors_begin_with_a_code),
        cmocka_unit_test(message_comes_back),
        cmocka_unit_test(message_needs_room),
        cmocka_unit_test(broken_messages_are_refused),
        cmocka_unit_test(unknown_and_foreign_fields),
        cmocka_unit_test(head_is_checked),
        cmocka_unit_test(certificate_depths_are_checked),
        cmocka_unit_test(mac_addresses_have_a_most),
        cmocka_unit_test(bad_mac_addresses_are_refused),
        cmocka_unit_test(bad_server_addresses_are_refused),
        cmocka_unit_test(server_address_of_each_family_comes_back),
        cmocka_unit_test(frames_for_switches_and_hosts),
        cmocka_unit_test(frame_for_ipv6_hosts),
        cmocka_unit_test(questions_are_known),
        cmocka_unit_test(address_of_a_wrong_length_is_refused),
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(random_corruption),
        cmocka_unit_test(random_bytes),
        cmocka_unit_test(fingerprint_is_as_documented),
        cmocka_unit_test(fingerprint_is_the_same_on_both_sides),
        cmocka_unit_test(fingerprint_tells_keys_apart),
        cmocka_unit_test(addresses_come_back),
        cmocka_unit_test(client_with_its_data_channel_in_the_kernel_is_known),
        cmocka_unit_test(client_that_cannot_begin_anew_is_told_once),
        cmocka_unit_test(client_that_can_begin_anew_is_not_told),
        cmocka_unit_test(reply_waits_until_released),
        cmocka_unit_test(release_before_the_client_asks),
        cmocka_unit_test(reply_waits_no_longer_than_patience),
        cmocka_unit_test(key_is_pending_until_a_packet_decrypts_under_it),
        cmocka_unit_test(data_under_an_unknown_key_alone_is_healed),
        cmocka_unit_test(client_that_uses_a_known_key_is_left_alone),
        cmocka_unit_test(silence_proves_nothing),
        cmocka_unit_test(client_inside_a_lost_handshake_is_told),
        cmocka_unit_test(client_that_waits_for_another_reset_is_given_it),
        cmocka_unit_test(unanswered_soft_reset_is_sent_again_and_no_more),
        cmocka_unit_test(client_that_says_goodbye_is_closed),
        cmocka_unit_test(client_that_is_still_there_is_not_closed),
        cmocka_unit_test(nobody_is_closed_without_having_been_told),
        cmocka_unit_test(client_that_answers_keeps_its_session),
        cmocka_unit_test(client_that_does_not_answer_begins_anew),
        cmocka_unit_test(client_with_a_new_session_is_asked_again),
        cmocka_unit_test(resets_one_after_another_wait_for_their_question),
        cmocka_unit_test(hard_reset_is_the_first_packet_of_a_session),
        cmocka_unit_test(shared_addresses_are_a_set),
        cmocka_unit_test(what_servers_cannot_share_is_refused),
        cmocka_unit_test(client_moves_by_the_address_that_it_speaks_to),
        cmocka_unit_test(answers_come_from_the_address_that_was_spoken_to),
        cmocka_unit_test(answers_leave_by_whatever_interface_leads_there),
        cmocka_unit_test(client_floats_to_another_of_our_addresses),
        cmocka_unit_test(addresses_fit_the_family_of_the_socket),
    };

    return cmocka_run_group_tests_name("cluster record tests", tests, start_crypto, stop_crypto);
}

#else  /* ifdef ENABLE_CLUSTER */

/** Automake's word for a test that was skipped. */
int
main(void)
{
    return 77;
}

#endif /* ifdef ENABLE_CLUSTER */
