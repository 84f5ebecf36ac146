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
 * @file cluster_heal.h
 * What is wrong with a client that came from another server, and what helps it.
 *
 * Nobody is told to reconnect because of silence: a client that does not answer
 * may have an uplink that is dead for a while, and this server may be too busy
 * to read what has come. It is asked again. Only a client that is \e heard, from
 * its own address and again and again, with what none of its keys is for, is
 * \e stray: it has a key that nobody here has, or is inside a handshake with the
 * server that is gone, and reconnecting is the shortest way out. Of that, data
 * packets prove nothing, since their key id is not authenticated: who seems to
 * send them is asked first, by a soft reset, which a sound client answers.
 */

#ifndef CLUSTER_HEAL_H
#define CLUSTER_HEAL_H

#ifdef ENABLE_CLUSTER

/** Seconds in which a client is heard under an unknown key only, until it is
 *  asked for a renegotiation, and until it is told to reconnect if it has not
 *  answered. A second in which it is silent does not count. */
#define CLUSTER_HEAL_ASK_STRAY 3
#define CLUSTER_HEAL_DATA 10

/** The same for its control packets, which are authenticated. */
#define CLUSTER_HEAL_CONTROL 2

/** Seconds of silence after which what was heard before does not count. */
#define CLUSTER_HEAL_FORGET 30

/** Seconds until a soft reset without an answer is sent in a later epoch of
 *  the control channel; then after twice the time, and so on. */
#define CLUSTER_HEAL_RESEND 5

/** Seconds from the last word on the old control channel, which nobody here can
 *  read, until the client is asked whether it is still there: who says goodbye
 *  stays for a moment. */
#define CLUSTER_HEAL_ASK 3

/** Seconds of silence after that question until the client is told to
 *  reconnect, and until it is taken for gone. Those in which this server has not
 *  read all that came do not count. */
#define CLUSTER_HEAL_SILENT 7
#define CLUSTER_HEAL_GONE 8

/** Seconds before a client that was ended is forgotten, in which it is told to
 *  reconnect if the message did not get through. */
#define CLUSTER_HEAL_LAST_WORD 2

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

/** Packets from a client that none of its keys is for. */
struct cluster_stray
{
    int seconds;                        /**< in how many seconds they came */
    time_t last;                        /**< when the last one came */
    uint64_t marks;                     /**< what was received under known keys
                                         *   before the first */
};

/** What is wrong with a moved client. */
struct cluster_heal
{
    struct cluster_stray data;
    struct cluster_stray control;
    bool stray_asked;                   /**< it was asked about its data */
    int reset_id;                       /**< key id of a soft reset that it waits
                                         *   for, or 0 */
    time_t asked;                       /**< start of a soft reset without answer */
    time_t resend;                      /**< when that is to be sent again */
    time_t spoke;                       /**< last word on the old control channel,
                                         *   0: there was none */
    unsigned int spoke_asked;           /**< when the client was asked about it, or
                                         *   0; see cluster.read_all */
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
cluster_stray_note(struct cluster_stray *stray, uint64_t marks, time_t when)
{
    if (!stray->seconds || when > stray->last + CLUSTER_HEAL_FORGET)
    {
        stray->seconds = 0;
        stray->marks = marks;
    }
    stray->seconds += !stray->seconds || when != stray->last;
    stray->last = when;
}

/**
 * What to do about data of which none is under a known key? The client may
 * never be in need of help: then it answers when it is asked.
 */
static inline enum cluster_cure
cluster_heal_data(struct cluster_heal *heal, uint64_t marks)
{
    if (heal->data.seconds && marks != heal->data.marks)
    {
        heal->data.seconds = 0;
        heal->stray_asked = false;
    }
    if (heal->data.seconds >= CLUSTER_HEAL_DATA)
    {
        heal->data.seconds = 0;
        return CLUSTER_CURE_KICK;
    }
    if (heal->data.seconds >= CLUSTER_HEAL_ASK_STRAY && !heal->stray_asked)
    {
        heal->stray_asked = true;
        return CLUSTER_CURE_ASK;
    }
    return CLUSTER_CURE_NONE;
}

/**
 * What to do about control packets of a handshake that cannot be finished here?
 * If the client waits in it for a soft reset, and no data of it can be read, the
 * key it has is one of those that it cannot be reached with.
 */
static inline enum cluster_cure
cluster_heal_control(struct cluster_heal *heal, uint64_t marks)
{
    if (heal->control.seconds < CLUSTER_HEAL_CONTROL)
    {
        return CLUSTER_CURE_NONE;
    }
    heal->control.seconds = 0;
    return heal->reset_id && marks == heal->control.marks
           ? CLUSTER_CURE_RESTART : CLUSTER_CURE_KICK;
}

/** Is a soft reset that began at \c asked and has no answer to be sent again? */
static inline enum cluster_cure
cluster_heal_unanswered(struct cluster_heal *heal, time_t asked, time_t when)
{
    if (heal->asked != asked)
    {
        heal->asked = asked;
        heal->resend = asked + CLUSTER_HEAL_RESEND;
    }
    if (when < heal->resend)
    {
        return CLUSTER_CURE_NONE;
    }
    heal->resend = when + (when - asked);
    return CLUSTER_CURE_RESEND;
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
 * @param read_all      seconds in which all that came was read, from 1 on
 */
static inline enum cluster_cure
cluster_heal_spoken(struct cluster_heal *heal, uint64_t marks, bool answered, time_t when,
                    unsigned int read_all)
{
    enum cluster_cure due = CLUSTER_CURE_NONE;

    if (!heal->spoke || when < heal->spoke + CLUSTER_HEAL_ASK)
    {
        return CLUSTER_CURE_NONE;
    }
    if (!heal->spoke_asked)
    {
        heal->spoke_asked = read_all;
        heal->spoke_marks = marks;
        heal->spoke_tried = CLUSTER_CURE_NONE;
    }
    if (answered || marks != heal->spoke_marks)
    {
        heal->spoke = heal->spoke_asked = 0;
        return CLUSTER_CURE_NONE;
    }
    due = read_all >= heal->spoke_asked + CLUSTER_HEAL_SILENT ? CLUSTER_CURE_KICK : CLUSTER_CURE_ASK;
    if (read_all >= heal->spoke_asked + CLUSTER_HEAL_GONE && heal->spoke_tried >= CLUSTER_CURE_KICK)
    {
        due = CLUSTER_CURE_CLOSE;
    }
    return cluster_heal_once(&heal->spoke_tried, due);
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_HEAL_H */
