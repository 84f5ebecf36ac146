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
 * @file cluster_client.h
 * What --cluster keeps of a client and of its keys, and the calls by which the
 * rest of OpenVPN tells about them.
 *
 * Key material lives here as long as the key_state that uses it, and is wiped
 * with it. A client is announced (CHANGED) when a standby must know something
 * new; the announcement raises its generation.
 */

#ifndef CLUSTER_CLIENT_H
#define CLUSTER_CLIENT_H

#include "buffer.h"
#include "interval.h"

struct key2;
struct key_state;
struct link_socket_actual;
struct multi_context;
struct multi_instance;
struct tls_multi;
struct tls_session;

#ifdef ENABLE_CLUSTER

#include "cluster_anew.h"
#include "cluster_doubt.h"
#include "cluster_heal.h"
#include "cluster_record.h"
#include "cluster_reply.h"
#include "mroute.h"
#include "ssl_common.h"

/**
 * What makes a client reconnect. It keeps a password that somebody has typed in: one
 * that cannot ask, as it runs as a daemon, would end.
 */
#define CLUSTER_RESTART "RESTART,[P]"

/** A data channel key that can be exported. */
struct cluster_ks
{
    struct cluster_key key;             /**< material and fingerprint; the rest
                                         *   is filled in at export */
    unsigned int serial;                /**< differs for each key ever made */
    bool imported;                      /**< no TLS object behind it */
    bool pending;                       /**< the client may not have it yet; ask
                                         *   cluster_ks_pending() */
    struct cluster_reply last_message;  /**< what gives it to the client */
    packet_id_type message_received;    /**< what came from the client before,
                                         *   if it was imported */
    packet_id_type reported;            /**< receive mark last told */
    bool tried;                         /**< as a kept key: the last packet that may
                                         *   be of it was tried with it, when its */
    packet_id_type tried_at;            /**< receive mark was this */
};

/** What an announcement told, to find out when the next one is due. */
struct cluster_snapshot
{
    unsigned int keys[KEY_SCAN_SIZE];   /**< serials, newest first, 0: none */
    unsigned int token;                 /**< tls_multi.auth_token_serial */
    unsigned int macs;                  /**< cluster_client.macs_serial */
    struct mroute_addr real;
    struct cluster_addr spoken_to;      /**< which of our addresses it uses */
};

/** A client, hanging off its tls_multi. */
struct cluster_client
{
    uint8_t uid[CLUSTER_UID_SIZE];
    uint64_t generation;
    uint64_t arrival;                   /**< see cluster_route.h */
    bool announced;                     /**< uid is in use and in cluster->uids */
    bool apart;                         /**< speaks to an address that no other
                                         *   server has: stays with this one */
    bool moved;                         /**< came from another server */
    bool rekeyed;                       /**< and has a key of this one */
    bool stranger;                      /**< another client is at its address */
    bool reneg_wanted;                  /**< waits for its turn */
    int reneg_told;                     /**< key id of the last RENEG, or -1 */
    uint64_t reneg_generation;          /**< generation of the last RENEG */
    time_t capped_told;                 /**< when CAPPED was told last */
    struct cluster_macs macs;           /**< see cluster_mac.h */
    unsigned int macs_serial;           /**< rises with each change of them */
    time_t macs_told;                   /**< when one was told last */
    struct cluster_snapshot told;
    struct cluster_heal heal;           /**< what is wrong with a moved one */
    struct cluster_anew anew;           /**< how it begins a new session */
    struct cluster_doubt doubt;         /**< whether it does */
    struct buffer reset;                /**< hard reset that was put aside */
    struct link_socket_actual reset_from;
    struct cluster_reply reply;         /**< what completes the connection */
    counter_type bytes_told;            /**< sum of both directions */
    struct buffer options;              /**< per-client option text, raw */
};

/** @name Hooks
 *  @{ */

/** A data channel key was generated: keep the material, own its packet ids. */
void cluster_keep_key(struct tls_session *session, struct key_state *ks,
                      const struct key2 *key2);

/** Wipe what is kept of a key. */
void cluster_ks_free(struct key_state *ks);

/** Free what is kept of a client. */
void cluster_client_free(struct tls_multi *multi);

/**
 * Wipe what is as good as a password before it is freed, with --cluster.
 *
 * @param text          may be NULL
 */
static inline void
cluster_wipe_text(const struct tls_multi *multi, char *text)
{
    if (text && multi->opt.cluster)
    {
        secure_memzero(text, strlen(text));
    }
}

/** Keep per-client option text for the server that takes over. */
void cluster_keep_options(struct multi_instance *mi, const char *text);

/** The same for the files that are read from now on, line by line as they are
 *  used: who would read them again may find something else. NULL ends it. */
void cluster_keep_lines(struct multi_instance *mi);

/**
 * A line of an options file was read.
 *
 * @param name          of its option, which is not kept if it names another file
 * @param lines_inline  lines of a file inside the file, which no client has
 */
void cluster_keep_line(const char *line, const char *name, int lines_inline);

/** Was this key made by another server? It has no TLS object, no reliability
 *  layer and no buffers for control packets here. */
bool cluster_ks_imported(const struct key_state *ks);

/** May this key not be renegotiated yet? While it is pending a soft reset would
 *  end the key that the client uses, and meet it inside a handshake; and there are
 *  whiles in which nothing begins, see cluster_quiesce.h. */
bool cluster_reneg_waits(const struct key_state *ks);

/** A new session may begin: an imported instance has none ready. */
void cluster_wake_initial(struct tls_multi *multi);

/**
 * Something will be sent on the control channel: have one.
 *
 * @return false if there can be none now, since the client may still be inside
 *         the handshake of the newest key, or nothing may begin
 */
bool cluster_prepare_control(struct tls_session *session);

/** Must this key be passed over for sending, since no owned packet id is left? */
bool cluster_key_capped(struct tls_multi *multi, struct key_state *ks);

/** Send on the newest key at once, without the grace for the client? */
bool cluster_sends_on_newest(const struct tls_multi *multi);

/** An instance is being closed. */
void cluster_client_down(struct multi_instance *mi);

/** @} name Hooks */

/** The client's state, made when it is asked for first. */
struct cluster_client *cluster_client_get(struct tls_multi *multi);

/** Is this a key that a standby must have: one that data packets use, or will
 *  use as soon as the client has it? */
bool cluster_ks_usable(const struct key_state *ks);

/**
 * May the client not have this key yet? Then nothing is sent with it, unless
 * there is no other. A packet that decrypts under it proves that the client
 * does.
 */
static inline bool
cluster_ks_pending(const struct key_state *ks)
{
    const struct packet_id_rec *rec = &ks->crypto_options.packet_id.rec;

    return ks->cluster_ks && ks->cluster_ks->pending && !rec->id && !rec->time;
}

/**
 * The keys of a client that a standby must have, newest first.
 *
 * @param ks            receives up to KEY_SCAN_SIZE of them
 *
 * @return their number
 */
int cluster_client_keys(struct tls_multi *multi, struct key_state **ks);

/** Session that the newest of these keys belongs to. */
struct tls_session *cluster_client_session(struct tls_multi *multi);

/** Remember what is known of the client now, so that it is not announced. */
void cluster_client_snapshot(struct multi_instance *mi, struct cluster_snapshot *snapshot);

/** Give an instance its uid, under which cluster_lookup() finds it. */
void cluster_client_name(struct multi_instance *mi, const uint8_t *uid);

/** Tell the management client that a client is to be exported. */
void cluster_client_announce(struct multi_instance *mi, const char *reason);

/** Take an instance's timers to be due, and wake it after a while. */
void cluster_wake(struct multi_context *m, struct multi_instance *mi, unsigned int usec);

/**
 * Let the control channel of a session send in an epoch that is later than any
 * other server's, whose clock may be ahead of ours.
 */
void cluster_advance_wraps(struct tls_session *session);

/** Text of a uid or a fingerprint. */
const char *cluster_hex(const uint8_t *id, struct gc_arena *gc);

/** Make what is kept of a key, with a serial of its own. */
struct cluster_ks *cluster_ks_new(void);

/** The client has this key, which was pending: news for a standby. */
void cluster_ks_confirm(struct key_state *ks);

#else  /* ifdef ENABLE_CLUSTER */

static inline void
cluster_keep_key(struct tls_session *session, struct key_state *ks,
                 const struct key2 *key2)
{
}

static inline void
cluster_ks_free(struct key_state *ks)
{
}

static inline void
cluster_client_free(struct tls_multi *multi)
{
}

static inline void
cluster_wipe_text(const struct tls_multi *multi, char *text)
{
}

static inline void
cluster_keep_options(struct multi_instance *mi, const char *text)
{
}

static inline void
cluster_keep_lines(struct multi_instance *mi)
{
}

static inline void
cluster_keep_line(const char *line, const char *name, int lines_inline)
{
}

static inline bool
cluster_ks_imported(const struct key_state *ks)
{
    return false;
}

static inline bool
cluster_reneg_waits(const struct key_state *ks)
{
    return false;
}

static inline void
cluster_wake_initial(struct tls_multi *multi)
{
}

static inline bool
cluster_prepare_control(struct tls_session *session)
{
    return true;
}

static inline bool
cluster_key_capped(struct tls_multi *multi, struct key_state *ks)
{
    return false;
}

static inline bool
cluster_sends_on_newest(const struct tls_multi *multi)
{
    return false;
}

static inline void
cluster_client_down(struct multi_instance *mi)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_CLIENT_H */
