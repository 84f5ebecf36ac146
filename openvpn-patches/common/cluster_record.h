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
 * @file cluster_record.h
 * The record of one client: what a standby needs to become the client's server
 * without the client noticing, and how it is written.
 *
 * A record travels as parts: one hot part of at most CLUSTER_HOT_MAX bytes and
 * up to seven cold parts, all of them together at most CLUSTER_RECORD_MAX
 * bytes. A part opens with a head of 4 bytes (16 bit format version, 8 reserved
 * bits that are zero, 8 bit kind), followed by fields: 16 bit tag, 16 bit
 * length, value. All numbers are big-endian. Bit 15 of a tag means that a
 * reader that does not know the field must refuse the record; other unknown
 * fields are skipped. Bits 8 to 14 are the kind of the part it belongs to. A
 * field occurs once, except where noted; (!) marks fields a record must have.
 *
 * | tag    | value                                                   | bytes |
 * |--------|---------------------------------------------------------|-------|
 * |        | <b>kind 0, hot</b>                                      |       |
 * | 0x8001 | (!) uid                                                 | 8     |
 * | 0x8002 | (!) generation                                          | 8     |
 * | 0x8003 | (!) peer-id                                             | 4     |
 * | 0x8004 | (!) CLUSTER_RECORD_ flags                               | 4     |
 * | 0x8005 | (!) our session id                                      | 8     |
 * | 0x8006 | (!) next key id                                         | 1     |
 * | 0x8007 | (!) cipher name                                         | 1..31 |
 * | 0x8008 | (!) digest name ("none" for AEAD)                       | 1..31 |
 * | 0x8009 | (!) crypto_flags of tls_options                         | 4     |
 * | 0x800a | (!) imported_protocol_flags                             | 4     |
 * | 0x800b | (!) client: IPv4 or IPv6 address, 16 bit port           | 6, 18 |
 * | 0x800c | tunnel: local, remote or netmask, local alias           | 12    |
 * | 0x800d | tunnel IPv6: local, remote, prefix length               | 33    |
 * | 0x000e | reporting address                                       | 4     |
 * | 0x000f | reporting address IPv6                                  | 16    |
 * | 0x0010 | created, seconds since 1970                             | 8     |
 * | 0x0011 | ages in s: inactivity, session, auth-token              | 12    |
 * | 0x0012 | bytes read, bytes written                               | 16    |
 * | 0x8013 | packet ids of tls_wrap: send time, id, rec time, id     | 16    |
 * | 0x8014 | the same of tls_wrap_reneg                              | 16    |
 * | 0x8015 | DAF_ flags of man_def_auth_context                      | 4     |
 * | 0x8016 | (!) a key, one per slot: slot 1, flags 1, key id 1, auth token flags 1, remote session id 8, fingerprint 8, established age 4, must die in 4, deferred expire in 4, bytes 8, packets 8, rec id 4, rec time 4, cipher key length 1, HMAC key length 1, then cipher and HMAC key of keys[0] and of keys[1] | 58 + 2 * (c + h) |
 * | 0x0017 | last message, for a pending key: the client's packets below this id have been received 4, then of each control packet its length 2, its packet id 4 and its ciphertext | 11..600 |
 * |        | <b>kind 1, identity</b>                                 |       |
 * | 0x8101 | common name                                             | text  |
 * | 0x8102 | locked common name                                      | text  |
 * | 0x8103 | locked user name                                        | text  |
 * | 0x0104 | arrival 8: of two clients that claim an address the later has it; CLUSTER_ROUTE_ 1: what it has of its own, all of it if this field is missing | 9 |
 * | 0x0105 | network interface of a client with a link-local address | text  |
 * | 0x0106 | MAC addresses it was heard with (--dev tap): address 6, VLAN id 2, or 0 without --vlan-tagging | 8 * (1..1024) |
 * | 0x0107 | our address that the client speaks to, where the socket has many    | 4, 16 |
 * |        | <b>kind 2, wrap</b>                                     |       |
 * | 0x8201 | tls-crypt-v2 client key: the 32 bytes of a cipher and of an HMAC key that tls-crypt uses, of keys[0] and of keys[1] | 128 |
 * | 0x8202 | dynamic tls-crypt key, likewise                         | 128   |
 * |        | <b>kind 3, peer_info</b>                                |       |
 * | 0x8301 | as the client sent it                                   | text  |
 * |        | <b>kind 4, token</b>                                    |       |
 * | 0x8401 | auth-token                                              | text  |
 * | 0x8402 | initial auth-token                                      | text  |
 * |        | <b>kind 5, cert_hashes</b>                              |       |
 * | 0x8501 | depth and SHA-256, once per depth                       | 33    |
 * |        | <b>kind 6, options</b>                                  |       |
 * | 0x8601 | per-client options, one a line                          | text  |
 * |        | <b>kind 7, environment</b>                              |       |
 * | 0x0701 | NAME=value, one a line                                  | text  |
 *
 * A record holds live keys: everything decoded or set is owned by it and is
 * wiped by cluster_record_free(), encoded parts by cluster_parts_free(). What
 * is decoded comes from a network: lengths, counts, enumerations and text are
 * checked, but text stays text that a client could choose.
 *
 * This file pair depends on buffer, crypto and session_id only.
 */

#ifndef CLUSTER_RECORD_H
#define CLUSTER_RECORD_H

#ifdef ENABLE_CLUSTER

#include "buffer.h"
#include "cluster_reason.h"
#include "crypto.h"
#include "session_id.h"
#include "ssl_verify.h"

/** Format that is written, and the only one that is read. */
#define CLUSTER_RECORD_FORMAT 1

/** Most bytes of the hot part. */
#define CLUSTER_HOT_MAX 1000

/** Most bytes of all parts of a client. */
#define CLUSTER_RECORD_MAX 65536

/** Bytes of a uid, and of a fingerprint. */
#define CLUSTER_UID_SIZE 8
#define CLUSTER_FP_SIZE 8

/**
 * Most keys in a record: one per slot. Two keys fit the hot part whatever their
 * cipher and digest, three do unless the digest is longer than 48 bytes;
 * cluster_record_encode() says so if they do not.
 */
#define CLUSTER_KEYS_MAX 3

/** Cipher and digest name, with the final NUL. */
#define CLUSTER_ALG_SIZE 32

/** Longest name, user name or token. */
#define CLUSTER_NAME_MAX 4096

/** An age or a deadline that does not exist. */
#define CLUSTER_AGE_NONE UINT32_MAX

/** Parts of a record; the value is the KIND of the management interface. */
enum cluster_part
{
    CLUSTER_PART_HOT = 0,
    CLUSTER_PART_IDENTITY = 1,
    CLUSTER_PART_WRAP = 2,
    CLUSTER_PART_PEER_INFO = 3,
    CLUSTER_PART_TOKEN = 4,
    CLUSTER_PART_CERT_HASHES = 5,
    CLUSTER_PART_OPTIONS = 6,
    CLUSTER_PART_ENVIRONMENT = 7,
    CLUSTER_PARTS = 8
};

/** Which key_state a key sits in. */
enum cluster_key_slot
{
    CLUSTER_SLOT_PRIMARY = 1,           /**< TM_ACTIVE, KS_PRIMARY */
    CLUSTER_SLOT_LAME_DUCK = 2,         /**< TM_ACTIVE, KS_LAME_DUCK */
    CLUSTER_SLOT_KEPT = 3               /**< TM_LAME_DUCK, KS_LAME_DUCK: it is
                                         *   received with only, and imported so;
                                         *   who does not know that ignores it */
};

/** @name struct cluster_record.flags
 *  @{ */
#define CLUSTER_RECORD_USE_PEER_ID      (1<<0)  /**< tls_multi.use_peer_id */
#define CLUSTER_RECORD_VERIFIED         (1<<1)  /**< tls_session.verified */
#define CLUSTER_RECORD_CERT_LOCKED      (1<<2)  /**< the hashes are locked_cert_hash_set too */
#define CLUSTER_RECORD_FLAGS            (7)     /**< all that are defined */
/** @} */

/** @name struct cluster_record.routes: what it has of the addresses it claims
 *  @{ */
#define CLUSTER_ROUTE_IPV4              (1<<0)  /**< the tunnel address */
#define CLUSTER_ROUTE_IPV6              (1<<1)  /**< the tunnel IPv6 address */
#define CLUSTER_ROUTE_NETWORKS          (1<<2)  /**< every --iroute and --iroute-ipv6 */
#define CLUSTER_ROUTE_ALL               (7)
/** @} */

/** @name struct cluster_key.flags
 *  @{ */
#define CLUSTER_KEY_PENDING             (1<<0)  /**< receive-only until used or established */
#define CLUSTER_KEY_FLAGS               (1)     /**< all that are defined */
/** @} */

/** Most control packets of a last message, and most bytes of it. */
#define CLUSTER_LAST_MESSAGE_PACKETS 6
#define CLUSTER_LAST_MESSAGE_MAX 600

/** What gives a client its pending key, as it travels; see cluster_last_message.h. */
struct cluster_last_message
{
    int len;                            /**< 0: there is none */
    uint8_t bytes[CLUSTER_LAST_MESSAGE_MAX];
};

/** Most MAC addresses that a record has, and bytes of one. */
#define CLUSTER_MACS_MAX 1024
#define CLUSTER_MAC_SIZE 6

/** A MAC address that a client was heard with. */
struct cluster_mac
{
    uint8_t addr[CLUSTER_MAC_SIZE];
    uint16_t vid;                       /**< VLAN, 0 without --vlan-tagging */
};

/** All of them, in no order. */
struct cluster_macs
{
    int n;                              /**< 0 .. CLUSTER_MACS_MAX */
    struct cluster_mac *list;           /**< owned */
};

/** A client's transport address, or one of ours. */
struct cluster_addr
{
    sa_family_t family;                 /**< AF_INET or AF_INET6 */
    uint16_t port;                      /**< host byte order, 0 of one of ours */
    union {
        struct in_addr in4;
        struct in6_addr in6;
    } ip;
};

/** Packet ids of one control channel wrap (long form). */
struct cluster_wrap_pid
{
    bool defined;
    uint32_t send_time;                 /**< the epoch we send in */
    uint32_t send_id;
    uint32_t rec_time;                  /**< highest received */
    uint32_t rec_id;
};

/** One data channel key. */
struct cluster_key
{
    enum cluster_key_slot slot;
    unsigned int flags;                 /**< CLUSTER_KEY_ */
    int key_id;                         /**< 0 .. KEY_ID_MASK */
    unsigned int auth_token_state_flags; /**< of key_state, at most 8 bits */
    struct session_id session_id_remote;
    uint8_t fp[CLUSTER_FP_SIZE];        /**< set by cluster_key_set() */
    uint32_t established_age;           /**< seconds */
    uint32_t must_die_in;               /**< seconds, CLUSTER_AGE_NONE for never */
    uint32_t deferred_expire_in;        /**< seconds, 0 when over */
    uint64_t n_bytes;
    uint64_t n_packets;
    uint32_t rec_id;                    /**< receive high-water mark */
    uint32_t rec_time;                  /**< its time, 0 in the short form */
    int cipher_len;                     /**< bytes used of each key's cipher[] */
    int hmac_len;                       /**< bytes used of each key's hmac[] */
    struct key keys[2];                 /**< in the order of struct key2 */
};

/** Everything of a client that moves. Text is owned by the record. */
struct cluster_record
{
    /* hot */
    uint8_t uid[CLUSTER_UID_SIZE];
    uint64_t generation;
    uint32_t peer_id;                   /**< at most 0xFFFFFF */
    uint32_t flags;                     /**< CLUSTER_RECORD_ */
    struct session_id session_id;       /**< ours */
    int key_id;                         /**< tls_session.key_id: the next one */
    char cipher[CLUSTER_ALG_SIZE];
    char digest[CLUSTER_ALG_SIZE];      /**< key_type.digest: "none" for AEAD */
    uint32_t crypto_flags;
    uint32_t imported_protocol_flags;
    struct cluster_addr remote;
    bool ifconfig_defined;
    in_addr_t ifconfig_local;           /**< this and the next ones in host
                                         *   byte order, as in context_2 */
    in_addr_t ifconfig_remote_netmask;
    in_addr_t ifconfig_local_alias;
    bool ifconfig_ipv6_defined;
    struct in6_addr ifconfig_ipv6_local;
    struct in6_addr ifconfig_ipv6_remote;
    int ifconfig_ipv6_netbits;          /**< 0 .. 128 */
    in_addr_t reporting_addr;
    struct in6_addr reporting_addr_ipv6;
    uint64_t created;                   /**< seconds since 1970 */
    uint32_t inactivity_age;            /**< seconds, or CLUSTER_AGE_NONE */
    uint32_t session_age;               /**< likewise */
    uint32_t token_age;                 /**< likewise */
    uint64_t bytes_read;
    uint64_t bytes_written;
    struct cluster_wrap_pid wrap;       /**< of tls_wrap */
    struct cluster_wrap_pid wrap_reneg; /**< of tls_wrap_reneg */
    uint32_t mda_flags;                 /**< DAF_ */
    int n_keys;                         /**< 1 .. CLUSTER_KEYS_MAX */
    struct cluster_key keys[CLUSTER_KEYS_MAX];
    struct cluster_last_message last_message; /**< for the key in the primary slot */

    /* cold; text is NULL when there is nothing to say */
    char *common_name;
    char *locked_cn;
    char *locked_username;
    uint64_t arrival;                   /**< see cluster_route.h, 0: unknown */
    uint32_t routes;                    /**< CLUSTER_ROUTE_ */
    char *interface;                    /**< of a link-local remote */
    struct cluster_addr spoken_to;      /**< see cluster_address.h, AF_UNSPEC: unknown */
    struct cluster_macs macs;           /**< see cluster_mac.h */
    struct key2 client_key;             /**< tls-crypt-v2, n == 0: none */
    struct key2 dynamic_key;            /**< dynamic tls-crypt, n == 0: none */
    char *peer_info;
    char *auth_token;
    char *auth_token_initial;
    uint32_t cert_depths;               /**< bit d: cert_hash[d] is set */
    struct cert_hash cert_hash[MAX_CERT_DEPTH];
    char *options;
    char *environment;
};

/** A record as it travels; parts with nothing to say are not allocated. */
struct cluster_parts
{
    struct buffer part[CLUSTER_PARTS];
};

/** Make an empty record: no keys, no text, ages CLUSTER_AGE_NONE. */
void cluster_record_init(struct cluster_record *rec);

/** Wipe a record and all it owns. It is initialised afterwards. */
void cluster_record_free(struct cluster_record *rec);

/** Wipe and free encoded parts. */
void cluster_parts_free(struct cluster_parts *parts);

/**
 * Give a text field of a record a copy of \c text, wiping the old one.
 *
 * @param field         e.g. &rec->common_name
 * @param text          may be NULL or empty: nothing to say
 */
void cluster_record_set_text(char **field, const char *text);

/** Add to a list. Returns false if it is full. */
bool cluster_macs_add(struct cluster_macs *macs, const struct cluster_mac *mac);

/** Free a list. It is empty afterwards. */
void cluster_macs_free(struct cluster_macs *macs);

/**
 * Write a record.
 *
 * @param rec           what to write
 * @param parts         is overwritten; to be freed by the caller on success
 * @param why           the reason on failure
 *
 * @return false if the record would not be accepted by
 *         cluster_record_decode(); nothing is allocated then
 */
bool cluster_record_encode(const struct cluster_record *rec, struct cluster_parts *parts,
                           struct cluster_reason *why);

/**
 * Read a record, trusting nothing. Names and lengths of cipher and digest are
 * checked against this OpenVPN, fingerprints against the keys. Whether the
 * configuration allows that cipher, and whether addresses and peer-id are free,
 * is for the caller to check.
 *
 * @param rec           is overwritten; to be freed by the caller on success
 * @param parts         the parts as received, in full; an absent one is empty
 * @param why           the reason on failure
 *
 * @return false if the record is refused; it is wiped then
 */
bool cluster_record_decode(struct cluster_record *rec, const struct cluster_parts *parts,
                           struct cluster_reason *why);

/** Bytes of key material that a cipher and a digest use, per direction. */
void cluster_key_lengths(const char *cipher, const char *digest, int *cipher_len, int *hmac_len);

/**
 * Put data channel key material into a record's key, cut to the lengths that
 * the key type uses, and set the fingerprint.
 *
 * @param key           its keys, lengths and fp are set, nothing else
 * @param key2          as generate_key_expansion() made it
 * @param kt            the session's key type
 */
void cluster_key_set(struct cluster_key *key, const struct key2 *key2, const struct key_type *kt);

/**
 * The reverse: fit for init_key_contexts(). The caller wipes it.
 */
void cluster_key_get(const struct cluster_key *key, struct key2 *key2);

/**
 * The name of a key: the first CLUSTER_FP_SIZE bytes of
 *
 *   HMAC-SHA256(K, "ovpnha data channel key v1"),  K = SHA-256(material)
 *
 * where material is one byte cipher_len, one byte hmac_len, then the used bytes
 * of keys[0].cipher, keys[0].hmac, keys[1].cipher and keys[1].hmac.
 *
 * @param fp            receives CLUSTER_FP_SIZE bytes
 * @param key           with keys, cipher_len and hmac_len set
 */
void cluster_key_fingerprint(uint8_t *fp, const struct cluster_key *key);

/** Take over a socket address; false if it is neither IPv4 nor IPv6. */
bool cluster_addr_from_sockaddr(struct cluster_addr *addr, const struct sockaddr *sa);

/** The reverse, into a cleared struct sockaddr_in or sockaddr_in6. */
void cluster_addr_to_sockaddr(const struct cluster_addr *addr, struct sockaddr_storage *ss);

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_RECORD_H */
