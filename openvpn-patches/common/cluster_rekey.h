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
 * @file cluster_rekey.h
 * A client that came from another server (\e moved) gets keys of this one.
 *
 * Until its first renegotiation here, a moved client sends under keys that the
 * other server made, and has a control channel whose TLS object is gone. Who
 * is renegotiated when is up to the management client, which finds here what
 * it decides by. What must not wait for anybody is done here: a client that
 * uses a key which never arrived, or whose control channel does not answer, is
 * told to reconnect, through the data channel and under the newest key that
 * both sides have.
 */

#ifndef CLUSTER_REKEY_H
#define CLUSTER_REKEY_H

struct multi_context;
struct multi_instance;
struct tls_multi;

#ifdef ENABLE_CLUSTER

#include "packet_id.h"

/** Seconds for which a client may send under an unknown key only. */
#define CLUSTER_HEAL_DATA 3

/** Seconds after which it is tried through a new control channel. */
#define CLUSTER_HEAL_AGAIN 8

/** Seconds after which all is tried anew. */
#define CLUSTER_HEAL_FORGET 30

/** Seconds until a soft reset without an answer is sent in a later epoch of
 *  the control channel, and until the client is told to reconnect. */
#define CLUSTER_HEAL_RESEND 5
#define CLUSTER_HEAL_KICK 10

/** Seconds from the last word on the old control channel, which nobody here can
 *  read, until the client is asked whether it is still there: who says goodbye
 *  stays for a moment. */
#define CLUSTER_HEAL_ASK 3

/** Seconds of silence after that question until the client is told to
 *  reconnect, and until it is taken for gone. A question in a later epoch
 *  comes before (CLUSTER_HEAL_RESEND). */
#define CLUSTER_HEAL_SILENT 7
#define CLUSTER_HEAL_GONE 8

/** Seconds before a client that was ended is forgotten, in which it is told to
 *  reconnect if the message did not get through. */
#define CLUSTER_HEAL_LAST_WORD 2

/** Seconds for which a hard reset is not answered while the client is told to
 *  reconnect under the key that the reset would end. */
#define CLUSTER_HEAL_RESET 5

/** What to do for a client. */
enum cluster_cure
{
    CLUSTER_CURE_NONE,
    CLUSTER_CURE_ASK,                   /**< soft reset */
    CLUSTER_CURE_RESEND,                /**< soft reset in a later epoch */
    CLUSTER_CURE_KICK,                  /**< OCC_EXIT in the data channel */
    CLUSTER_CURE_RESTART,               /**< RESTART in a new control channel */
    CLUSTER_CURE_CLOSE                  /**< it has left */
};

/** What is wrong with a moved client. */
struct cluster_heal
{
    time_t since;                       /**< when packets began to come that none of
                                         *   its keys is for, 0: there are none */
    int key_id;                         /**< their key id */
    bool control;                       /**< of the control channel */
    uint64_t marks;                     /**< what was received under known keys then */
    enum cluster_cure tried;            /**< last cure for them */
    time_t asked;                       /**< start of the soft reset that
                                         *   \c asked_tried is about */
    enum cluster_cure asked_tried;
    time_t spoke;                       /**< last word on the old control channel,
                                         *   0: there was none */
    time_t spoke_asked;                 /**< when the client was asked about it, or 0 */
    uint64_t spoke_marks;               /**< what was received then */
    enum cluster_cure spoke_tried;
};

/** Each cure is tried once, the milder ones first. */
static inline enum cluster_cure
cluster_heal_once(enum cluster_cure *tried, enum cluster_cure due)
{
    if (due <= *tried)
    {
        return CLUSTER_CURE_NONE;
    }
    *tried = due;
    return due;
}

/** A packet came that no key is for. */
static inline void
cluster_heal_note(struct cluster_heal *heal, int key_id, bool control, uint64_t marks, time_t when)
{
    if (!heal->since)
    {
        heal->since = when;
        heal->marks = marks;
        heal->control = false;
        heal->tried = CLUSTER_CURE_NONE;
    }
    heal->control |= control;
    heal->key_id = key_id;
}

/**
 * What to do about such packets now? A client whose data comes under a known
 * key as well needs no help, unless it is inside a handshake with the server
 * that is gone: that ends with a key nobody else has.
 */
static inline enum cluster_cure
cluster_heal_unknown(struct cluster_heal *heal, uint64_t marks, time_t when)
{
    const time_t age = when - heal->since;
    enum cluster_cure due = CLUSTER_CURE_NONE;

    if (!heal->since)
    {
        return CLUSTER_CURE_NONE;
    }
    if (age >= CLUSTER_HEAL_FORGET || (!heal->control && marks != heal->marks))
    {
        heal->since = 0;
        return CLUSTER_CURE_NONE;
    }
    if (age >= (heal->control ? 1 : CLUSTER_HEAL_DATA))
    {
        due = CLUSTER_CURE_KICK;
    }
    if (age >= CLUSTER_HEAL_AGAIN && marks == heal->marks)
    {
        due = CLUSTER_CURE_RESTART;
    }
    return cluster_heal_once(&heal->tried, due);
}

/** What to do about a soft reset that began at \c asked and has no answer? */
static inline enum cluster_cure
cluster_heal_unanswered(struct cluster_heal *heal, time_t asked, time_t when)
{
    enum cluster_cure due = CLUSTER_CURE_NONE;

    if (heal->asked != asked)
    {
        heal->asked = asked;
        heal->asked_tried = CLUSTER_CURE_NONE;
    }
    if (when >= asked + CLUSTER_HEAL_RESEND)
    {
        due = when >= asked + CLUSTER_HEAL_KICK ? CLUSTER_CURE_KICK : CLUSTER_CURE_RESEND;
    }
    return cluster_heal_once(&heal->asked_tried, due);
}

/** A word came on the old control channel. */
static inline void
cluster_heal_speak(struct cluster_heal *heal, time_t when)
{
    if (!heal->spoke_asked)
    {
        heal->spoke = when;
    }
}

/**
 * What to do about such a word now? It may have been a goodbye. Then the client
 * is gone after a moment, while any other answers when it is asked, or sends
 * data anyway.
 *
 * @param answered      it has answered a renegotiation
 */
static inline enum cluster_cure
cluster_heal_spoken(struct cluster_heal *heal, uint64_t marks, bool answered, time_t when)
{
    enum cluster_cure due = CLUSTER_CURE_NONE;

    if (!heal->spoke || when < heal->spoke + CLUSTER_HEAL_ASK)
    {
        return CLUSTER_CURE_NONE;
    }
    if (!heal->spoke_asked)
    {
        heal->spoke_asked = when;
        heal->spoke_marks = marks;
        heal->spoke_tried = CLUSTER_CURE_NONE;
    }
    if (answered || marks != heal->spoke_marks)
    {
        heal->spoke = heal->spoke_asked = 0;
        return CLUSTER_CURE_NONE;
    }
    due = when >= heal->spoke_asked + CLUSTER_HEAL_SILENT ? CLUSTER_CURE_KICK : CLUSTER_CURE_ASK;
    if (when >= heal->spoke_asked + CLUSTER_HEAL_GONE && heal->spoke_tried >= CLUSTER_CURE_KICK)
    {
        due = CLUSTER_CURE_CLOSE;
    }
    return cluster_heal_once(&heal->spoke_tried, due);
}

/** A data packet came whose key id no key of the client has. */
void cluster_unknown_key(struct tls_multi *multi, int key_id);

/** Likewise a control packet, which was authenticated. */
void cluster_unknown_control(struct tls_multi *multi, int key_id);

/** A control packet came for a pending key: the client has not finished that
 *  handshake, and nobody here can. */
void cluster_stuck_control(struct tls_multi *multi, int key_id);

/** A control packet came for a key that was imported: what it says is lost. */
void cluster_spoke(struct tls_multi *multi);

/**
 * A moved client begins anew, perhaps since a handshake has timed out. Then it
 * goes on sending under the key it has until the new one is some time old, which
 * cluster_keep_session() allows for. That is not possible with key id 0, which
 * the new key will have: the client is told to reconnect, which one that has
 * really forgotten that key does not understand. If its newest key is pending,
 * the new session is left unanswered for a while until it has been told.
 *
 * @return true if the packet is to be dropped
 */
bool cluster_defer_reset(struct tls_multi *multi);

/**
 * A new session takes the place of the active one. Keep the key that a moved
 * client still uses.
 */
void cluster_keep_session(struct tls_multi *multi);

/** Does the client still have to be rekeyed here? */
bool cluster_rekey_pending(struct tls_multi *multi);

/** Say so, once, when it is done. */
void cluster_rekey_tell(struct tls_multi *multi);

/**
 * What a renegotiation asks of the client's user: "cert" nothing at all,
 * "token" nothing as long as its auth-token is good, which this server finds
 * it to be, "user" a name and password, or whatever the user gave once.
 */
const char *cluster_rekey_auth(struct tls_multi *multi);

/** Packet ids that are left to the key which a moved client is sent to with. */
packet_id_type cluster_rekey_room(struct tls_multi *multi);

/** Tell a client to reconnect, through the data channel. */
void cluster_kick(struct multi_context *m, struct multi_instance *mi);

/** Help a moved client that needs it. To be called every second. */
void cluster_heal(struct multi_context *m, struct multi_instance *mi);

#else  /* ifdef ENABLE_CLUSTER */

static inline void
cluster_unknown_key(struct tls_multi *multi, int key_id)
{
}

static inline bool
cluster_defer_reset(struct tls_multi *multi)
{
    return false;
}

static inline void
cluster_keep_session(struct tls_multi *multi)
{
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_REKEY_H */
