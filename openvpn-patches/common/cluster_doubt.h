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
 * @file cluster_doubt.h
 * A hard reset in the name of a client that has a session.
 *
 * It says that the client begins anew, and proves nothing: whoever has recorded
 * that of any client can send it, and without --tls-auth and --tls-crypt anybody
 * can make one. To answer it is no harmless question, since the server's hard
 * reset makes a client of OpenVPN 2.6 begin a session as well, whatever it was
 * doing. So the packet is put aside and the client is asked in the session that
 * it has: a control packet which it must have received already is repeated, and
 * who has that session acknowledges it, without doing anything else. That needs
 * no TLS object, so that a moved client can be asked, too.
 *
 * A client that acknowledges has not begun anew, and the packet is forgotten. One
 * that does not has lost that session: the packet is taken, as every other hard
 * reset until the new session is there or could not be made.
 *
 * What is unauthenticated causes a question a second and nothing more.
 */

#ifndef CLUSTER_DOUBT_H
#define CLUSTER_DOUBT_H

#ifdef ENABLE_CLUSTER

#include "buffer.h"
#include "packet_id.h"
#include "session_id.h"

/** Milliseconds that an answer may take, how often the question is sent
 *  meanwhile, and from the first one about a reset to that about another. */
#define CLUSTER_DOUBT_WAIT 750
#define CLUSTER_DOUBT_QUESTIONS 3
#define CLUSTER_DOUBT_EVERY 1000

/** What to do about a hard reset, or about the one that was put aside. */
enum cluster_doubt_step
{
    CLUSTER_DOUBT_NONE,                 /**< nothing, for now */
    CLUSTER_DOUBT_KEEP,                 /**< put it aside */
    CLUSTER_DOUBT_ASK,                  /**< ask the client */
    CLUSTER_DOUBT_TAKE                  /**< take it */
};

/** Doubts about a client's hard reset; times are in milliseconds. */
struct cluster_doubt
{
    bool waiting;                       /**< one was put aside */
    int64_t begun;                      /**< when the client is asked about it
                                         *   first, or 0 */
    int asked;                          /**< questions that were due since */
    bool question;                      /**< one is to be sent */
    int64_t open_until;                 /**< until then each is taken */
};

/** A hard reset came. */
static inline enum cluster_doubt_step
cluster_doubt_arrive(struct cluster_doubt *doubt, int64_t when)
{
    if (when < doubt->open_until)
    {
        return CLUSTER_DOUBT_TAKE;
    }
    if (doubt->waiting)
    {
        return CLUSTER_DOUBT_NONE;
    }
    if (when < doubt->begun + CLUSTER_DOUBT_EVERY)
    {
        when = doubt->begun + CLUSTER_DOUBT_EVERY;
    }
    doubt->waiting = true;
    doubt->begun = when;
    doubt->asked = 0;
    return CLUSTER_DOUBT_KEEP;
}

/** When is the next step due? */
static inline int64_t
cluster_doubt_next(const struct cluster_doubt *doubt)
{
    return doubt->begun + doubt->asked * CLUSTER_DOUBT_WAIT / CLUSTER_DOUBT_QUESTIONS;
}

/**
 * What is due about the one that was put aside?
 *
 * @param window        for how long each is taken if the client does not answer
 */
static inline enum cluster_doubt_step
cluster_doubt_due(struct cluster_doubt *doubt, int64_t when, int64_t window)
{
    if (!doubt->waiting || when < cluster_doubt_next(doubt))
    {
        return CLUSTER_DOUBT_NONE;
    }
    if (doubt->asked < CLUSTER_DOUBT_QUESTIONS)
    {
        ++doubt->asked;
        doubt->question = true;
        return CLUSTER_DOUBT_ASK;
    }
    doubt->waiting = doubt->question = false;
    doubt->open_until = when + window;
    return CLUSTER_DOUBT_TAKE;
}

/**
 * Is this the first packet of a session, as a hard reset must be? One with another
 * packet id would take the place of a packet of the handshake.
 *
 * @param buf           a control packet behind its wrap
 */
static inline bool
cluster_doubt_is_first(struct buffer buf)
{
    const int acks = buf_read_u8(&buf);
    bool good;

    return acks >= 0
           && buf_advance(&buf, acks * (int)sizeof(packet_id_type) + (acks ? SID_SIZE : 0))
           && buf_read_u32(&buf, &good) == 0 && good;
}

/** The client was heard in the session that it has. */
static inline void
cluster_doubt_answer(struct cluster_doubt *doubt)
{
    doubt->waiting = doubt->question = false;
}

/** It has a new session: what comes now is doubted again. */
static inline void
cluster_doubt_close(struct cluster_doubt *doubt)
{
    doubt->open_until = doubt->begun = 0;
}

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_DOUBT_H */
