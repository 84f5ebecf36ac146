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
 * @file cluster_range.h
 * Ownership of the packet ids that one data channel key sends with, and the
 * replay window of a key that was imported.
 *
 * A packet id is (part of) the nonce of an AEAD cipher, so no id may ever be
 * sent twice under one key, by any process of the cluster. Every id of a key
 * has at most one owner, always one OpenVPN process:
 *
 * - \b R1 The process that generated a key owns all its ids, [1, 0xFF000000).
 *   A process sends only ids it owns, each once, rising. A range for another
 *   process is picked out of ids that are owned and not yet reached.
 * - \b R2 A granted range leaves the owner's ids before the grant is returned.
 * - \b R3 It never comes back, whatever was acknowledged, lost or died. Moving
 *   on means jumping over granted ranges.
 * - \b R4 A grant names one holder. The same grant may be repeated to the same
 *   holder; a new holder id needs a new range.
 * - \b R5 Ranges are imported by a standby, never by a process that sends.
 * - \b R6 A key is named by its fingerprint (see cluster_record.h).
 *
 * What is owned and unsent lies in at most three intervals, in this order:
 *
 * @code
 *    id+1 ..... limit      next segment        rest
 *    [ segment  )  (gap)   [ next )  (gap)     [ rest                )
 * @endcode
 *
 * Every operation cuts an interval off the *low* end of the rest (for the
 * sender or for a holder) or gives one up for good; none ever adds ids. That
 * is the whole safety argument, and it needs no clock, no acknowledgement and
 * no knowledge of other nodes.
 *
 * Acknowledgements serve availability only: a client accepts ids that rise, so
 * the holders' ranges lie above the segment the sender works in. At half of a
 * segment a new round is wanted: cluster_range_export() then allots the next
 * segment and, above it, a new range to each holder. At the end of its segment
 * the sender jumps. It never waits for anybody: holders that have not stored
 * by then are reported stale, and without a round the sender cuts its next
 * segment off the rest by itself. Only when nothing owned is left does sending
 * fail.
 *
 * This file pair depends on packet_id.h only.
 */

#ifndef CLUSTER_RANGE_H
#define CLUSTER_RANGE_H

#include "packet_id.h"

/** Bytes of a holder id: 128 random bits, drawn at start and at demote. */
#define CLUSTER_HOLDER_SIZE 16

/** Most holders a key is granted to at any time. */
#define CLUSTER_HOLDERS_MAX 15

/** Bytes of a key's fingerprint: CLUSTER_FP_SIZE of cluster_record.h. */
#define CLUSTER_RANGE_FP_SIZE 8

/** Places for what a standby had stored of keys that it dropped. */
#define CLUSTER_RANGE_KEPT 4096

#ifdef ENABLE_CLUSTER

#ifndef CLUSTER_RANGE_FIRST /* test_cluster_step.c has its own, a few ids each */

/** First id that no key has: where OpenVPN would renegotiate anyway. */
#define CLUSTER_RANGE_END ((packet_id_type)PACKET_ID_WRAP_TRIGGER)

/** Ids in the sender's first segment; doubles each round ... */
#define CLUSTER_RANGE_FIRST ((packet_id_type)1 << 24)

/** ... up to this. */
#define CLUSTER_RANGE_LAST ((packet_id_type)1 << 26)

/** A share below this is not worth a round: renegotiate instead. */
#define CLUSTER_RANGE_MIN ((packet_id_type)1 << 14)

#endif

/** Names an OpenVPN process between start or demote and the next demote. */
struct cluster_holder
{
    uint8_t id[CLUSTER_HOLDER_SIZE];
};

/** Packet ids, half-open; empty if start == end. */
struct cluster_range
{
    packet_id_type start;       /**< first id inside */
    packet_id_type end;         /**< first id after */
};

/** A range that has left its owner, for one holder. */
struct cluster_grant
{
    struct cluster_holder holder;       /**< the only process that may use it */
    struct cluster_range range;         /**< what it may send */
    bool stored;                        /**< the holder's OpenVPN has it */
    bool stale;                         /**< no longer waited for */
    bool reported;                      /**< cluster_range_stale() said so */
};

/**
 * What this process owns of one key's packet ids. Hangs off the key's struct
 * packet_id_send, whose id and limit are its current segment.
 */
struct cluster_range_owner
{
    bool sending;                       /**< false while standby: \c rest is
                                         *   what was imported, nothing else
                                         *   is set */
    bool receive_only;                  /**< never sending, and without ids */
    packet_id_type segment_start;       /**< where the current segment began */
    struct cluster_range next;          /**< segment of the round under way,
                                         *   empty when there is none */
    struct cluster_range rest;          /**< owned, above everything else */
    unsigned int round;                 /**< segments cut so far */
    bool wanted;                        /**< a round was asked for since the
                                         *   current segment began */
    bool short_of_ids;                  /**< the rest did not suffice for an
                                         *   export */
    int n_grants;                       /**< used entries of \c grants */
    struct cluster_grant grants[CLUSTER_HOLDERS_MAX];
};

/**
 * This process generated the key: it owns every id and has no cap until the
 * first export. To be called once per key, before its first packet.
 *
 * @param send          the key's send state, without an owner
 */
void cluster_range_generate(struct packet_id_send *send);

/**
 * The key was imported: it owns nothing and cannot send. Calling it again for
 * a key that is already a standby's changes nothing.
 *
 * @param send          the key's send state, fresh or a standby's
 */
void cluster_range_standby(struct packet_id_send *send);

/**
 * The key was imported to receive with, and for nothing else: this process owns
 * no id of it and never will. No range is stored for it, promotion passes it
 * over, and it grants nothing.
 *
 * @param send          the key's send state, without an owner
 */
void cluster_range_receive_only(struct packet_id_send *send);

/** Is this such a key? */
static inline bool
cluster_range_is_receive_only(const struct packet_id_send *send)
{
    return send->range && send->range->receive_only;
}

/**
 * Store a range that was granted to this process. Of several for one key the
 * highest wins and the others are dropped for good. Nothing is sent before
 * cluster_range_promote().
 *
 * @param send          a key for which cluster_range_standby() was called
 * @param range         as granted
 *
 * @return NULL, or why the range is refused: in which case nothing changed
 */
const char *cluster_range_import(struct packet_id_send *send, struct cluster_range range);

/**
 * End of the range that a standby has stored for this key, 0 when there is
 * none: what \c cluster-import answers and the sender takes as acknowledgement.
 */
packet_id_type cluster_range_imported_end(const struct packet_id_send *send);

/**
 * A standby drops this key: what it has stored is kept under the key's name.
 * The key may come back with an older grant, of which the sender knows nothing:
 * to it the newer one is stored, and its client may have gone past the older.
 * A place may be taken by another key; what is forgotten costs a client its
 * new server at worst, and no id is ever sent twice for it.
 *
 * @param send          the key's send state; ignored unless it is a standby's
 * @param fp            the key's fingerprint
 */
void cluster_range_keep(const struct packet_id_send *send, const uint8_t *fp);

/**
 * A standby imports a key: if it had the key before it has that range again.
 *
 * @param send          the key's send state, a standby's
 * @param fp            the key's fingerprint
 */
void cluster_range_recall(struct packet_id_send *send, const uint8_t *fp);

/**
 * This process is no standby any more, or has another holder id: what was kept
 * is of no use to it.
 */
void cluster_range_forget(void);

/**
 * Start to send: the low end of the stored range becomes the segment, the rest
 * is what this process grants from. The segment is an eighth, as long as that
 * is worth a round, so that many promotions in a row leave room for one more;
 * else it is the half. Without a stored range the key stays unable to send.
 * Does nothing to a key that is sending.
 */
void cluster_range_promote(struct packet_id_send *send);

/**
 * Another process may have been promoted and have sent from the range that it
 * was granted: leave the segment, and the next one, for one above every range
 * granted so far, so that clients accept what follows. Does nothing to a key
 * that was never exported, or when nothing above is owned.
 *
 * @param send          the key's send state
 */
void cluster_range_overtake(struct packet_id_send *send);

/**
 * Grant a range to each of these holders, out of ids this process owns. The
 * first export caps the sender. A holder whose grant lies above the sender's
 * highest segment gets the same grant again; past half of the segment, and
 * when no round is under way, this opens the next round. A standby grants
 * nothing, and neither does a key whose rest is used up.
 *
 * @param send          the key's send state
 * @param holders       distinct holder ids
 * @param n             their number, at most CLUSTER_HOLDERS_MAX
 * @param grants        receives the grants, room for \c n
 *
 * @return the number of grants written. Each of them is lost to this process.
 */
int cluster_range_export(struct packet_id_send *send,
                         const struct cluster_holder *holders, int n,
                         struct cluster_grant *grants);

/**
 * A holder's OpenVPN has stored its range up to \c end.
 *
 * @return whether the newest grant of that holder is thereby acknowledged
 */
bool cluster_range_stored(struct packet_id_send *send,
                          const struct cluster_holder *holder, packet_id_type end);

/**
 * Is the next round wanted? True once per segment, from its half on, if
 * there are holders. The caller asks for an export.
 */
bool cluster_range_round_wanted(struct packet_id_send *send);

/**
 * Report one holder that is no longer waited for: it has not stored its new
 * range at 90 % of the segment, or the sender moved past its range. Each is
 * reported once; call until it returns false.
 *
 * @param holder        receives the holder
 */
bool cluster_range_stale(struct packet_id_send *send, struct cluster_holder *holder);

/**
 * May one more packet be sent with this key? Jumps if the segment is used up,
 * so that a true answer holds for the next packet. Key selection skips a key
 * that answers false.
 */
bool cluster_range_ready(struct packet_id_send *send);

/** How many packet ids this process may still send with. */
packet_id_type cluster_range_room(const struct packet_id_send *send);

/** Has a sending key used up all it owns? Unlike cluster_range_ready() this
 *  changes nothing. */
bool cluster_range_capped(const struct packet_id_send *send);

/**
 * Is the room below one minimal round when one is due, or was it when a holder
 * needed a range, so that the key has to be renegotiated? To be asked wherever packet_id_close_to_wrapping() is.
 */
bool cluster_range_renegotiate(const struct packet_id_send *send);

/**
 * Raise the receive side to a high-water mark that came from the master.
 * Nothing at or below it is accepted any more: the replay window is filled
 * with expired entries. What this process received itself since then may lie
 * above the mark already, and is not lowered.
 *
 * @param rec           the receive state, of a data key or a control wrap
 * @param id            highest packet id received
 * @param time          its time (long form), 0 for the short form
 */
void cluster_window_raise(struct packet_id_rec *rec, packet_id_type id, time_t time);

static inline bool
cluster_holder_equal(const struct cluster_holder *a, const struct cluster_holder *b)
{
    return !memcmp(a->id, b->id, sizeof(a->id));
}

#else  /* ifdef ENABLE_CLUSTER */

static inline bool
cluster_range_ready(struct packet_id_send *send)
{
    return true;
}

static inline bool
cluster_range_renegotiate(const struct packet_id_send *send)
{
    return false;
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_RANGE_H */
