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
 * @file cluster_range.c
 * Who may send which packet id: see cluster_range.h for the rules.
 *
 * The invariant every function here keeps, for a key that is sending and was
 * exported or promoted (limit != 0):
 *
 *   segment_start <= id + 1 <= limit <= next <= rest <= CLUSTER_RANGE_END
 *
 * where next and rest stand for both their ends, and no id inside
 * [id + 1, limit), next or rest was ever sent or granted by anyone. cut() is
 * the only place where an interval leaves the rest, enter() the only place
 * where the send counter moves other than by one.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_range.h"
#include "integer.h"

#include "memdbg.h"

static packet_id_type
range_length(struct cluster_range range)
{
    return range.end - range.start;
}

static packet_id_type
id_min(packet_id_type a, packet_id_type b)
{
    return a < b ? a : b;
}

/** The owner of a key that may send, or NULL. */
static struct cluster_range_owner *
sending_owner(const struct packet_id_send *send)
{
    return send->range && send->range->sending ? send->range : NULL;
}

/** Take \c n ids off the low end of the rest: they are never given twice. */
static struct cluster_range
cut(struct cluster_range_owner *owner, packet_id_type n)
{
    ASSERT(n <= range_length(owner->rest));
    const struct cluster_range taken = { owner->rest.start, owner->rest.start + n };
    owner->rest.start = taken.end;
    return taken;
}

/**
 * Ids that each of \c parts equal cuts gets: what the round is entitled to,
 * but not more than half of the rest for all, as long as that is worth it.
 */
static packet_id_type
share(const struct cluster_range_owner *owner, int parts)
{
    const packet_id_type n = (packet_id_type)parts;
    const packet_id_type room = range_length(owner->rest);
    const unsigned int doublings = owner->round < 4 ? owner->round : 4;
    const packet_id_type due = id_min(CLUSTER_RANGE_FIRST << doublings, CLUSTER_RANGE_LAST);
    packet_id_type size = room / (2 * n);

    if (size < CLUSTER_RANGE_MIN)
    {
        size = CLUSTER_RANGE_MIN;
    }
    return id_min(id_min(size, due), room / n);
}

/** Cut the next segment; enter() makes it the current one. */
static void
cut_segment(struct cluster_range_owner *owner, packet_id_type size)
{
    owner->next = cut(owner, size);
    owner->round++;
}

/** Where the highest segment that the sender will work in ends. */
static packet_id_type
sender_top(const struct packet_id_send *send)
{
    const struct cluster_range next = send->range->next;
    return range_length(next) ? next.end : send->limit;
}

/** Would a client that saw all of the sender's segments accept this range? */
static bool
grant_is_current(const struct packet_id_send *send, const struct cluster_grant *grant)
{
    return grant->range.start >= sender_top(send);
}

static bool
grant_is_protecting(const struct packet_id_send *send, const struct cluster_grant *grant)
{
    return grant->stored && grant_is_current(send, grant);
}

static struct cluster_grant *
find_grant(struct cluster_range_owner *owner, const struct cluster_holder *holder)
{
    for (int i = 0; i < owner->n_grants; i++)
    {
        if (cluster_holder_equal(&owner->grants[i].holder, holder))
        {
            return &owner->grants[i];
        }
    }
    return NULL;
}

static bool
has_current_grant(const struct packet_id_send *send, const struct cluster_holder *holder)
{
    const struct cluster_grant *grant = find_grant(send->range, holder);
    return grant && grant_is_current(send, grant);
}

static bool
is_listed(const struct cluster_holder *holder, const struct cluster_holder *holders, int n)
{
    for (int i = 0; i < n; i++)
    {
        if (cluster_holder_equal(holder, &holders[i]))
        {
            return true;
        }
    }
    return false;
}

/**
 * An entry for a new grant to holders[i]: its own, a free one, or that of the
 * oldest grant to a holder nobody asks for any more. (To forget a grant loses
 * its idempotence; the ids are gone either way.)
 */
static struct cluster_grant *
entry_for(struct cluster_range_owner *owner, const struct cluster_holder *holders, int n, int i)
{
    struct cluster_grant *entry = find_grant(owner, &holders[i]);

    if (entry)
    {
        return entry;
    }
    if (owner->n_grants < CLUSTER_HOLDERS_MAX)
    {
        return &owner->grants[owner->n_grants++];
    }
    for (int k = 0; k < owner->n_grants; k++)
    {
        struct cluster_grant *grant = &owner->grants[k];
        const bool listed = is_listed(&grant->holder, holders, n);
        if (!listed && (!entry || grant->range.start < entry->range.start))
        {
            entry = grant;
        }
    }
    return entry;
}

/** Has the sender used this many per cent of its segment? */
static bool
past(const struct packet_id_send *send, unsigned int percent)
{
    const packet_id_type start = send->range->segment_start;
    const uint64_t used = send->id + 1 - start;
    const uint64_t length = send->limit - start;
    return used * 100 >= length * percent;
}

/** Is there no segment to go to, although half of this one is used? */
static bool
needs_round(const struct packet_id_send *send)
{
    return send->limit && !range_length(send->range->next) && past(send, 50);
}

/** Move on to the next segment, over every id between. */
static void
enter(struct packet_id_send *send)
{
    struct cluster_range_owner *owner = send->range;

    ASSERT(owner->next.start > send->id);
    owner->segment_start = owner->next.start;
    send->id = owner->next.start - 1;
    send->limit = owner->next.end;
    owner->next.start = owner->next.end;
    owner->wanted = false;
}

/** What the move means to the holders: told, they are forgotten. */
static void
release_overtaken(struct packet_id_send *send)
{
    struct cluster_range_owner *owner = send->range;
    int kept = 0;

    for (int i = 0; i < owner->n_grants; i++)
    {
        struct cluster_grant grant = owner->grants[i];
        grant.stale = grant.stale || !grant_is_protecting(send, &grant);
        if (!grant.reported || grant_is_current(send, &grant))
        {
            owner->grants[kept++] = grant;
        }
    }
    owner->n_grants = kept;
}

/** packet_id_send.at_limit: the segment is used up. */
static bool
jump(struct packet_id_send *send)
{
    struct cluster_range_owner *owner = sending_owner(send);

    if (!owner)
    {
        return false;
    }
#ifdef CLUSTER_TRACE_NO_CAP
    /* a defect that the split brain test must find: on into what was granted */
    send->limit = CLUSTER_RANGE_END;
    return true;
#endif
    if (!range_length(owner->next))
    {
        const packet_id_type size = share(owner, owner->n_grants + 1);
        cut_segment(owner, size ? size : range_length(owner->rest));
    }
    if (!range_length(owner->next))
    {
        return false;
    }
    enter(send);
    release_overtaken(send);
    return true;
}

static struct cluster_range_owner *
new_owner(struct packet_id_send *send)
{
    ALLOC_OBJ_CLEAR(send->range, struct cluster_range_owner);
    send->at_limit = jump;
    return send->range;
}

void
cluster_range_generate(struct packet_id_send *send)
{
    ASSERT(!send->range);
    struct cluster_range_owner *owner = new_owner(send);
    owner->sending = true;
    owner->rest.start = 1;
    owner->rest.end = CLUSTER_RANGE_END;
}

void
cluster_range_standby(struct packet_id_send *send)
{
    if (!send->range)
    {
        new_owner(send);
        send->id = 0;
        send->limit = 1;
    }
}

/** packet_id_send.at_limit: there never was an id, and there will be none. */
static bool
never(struct packet_id_send *send)
{
    const struct cluster_range_owner *owner = send->range;

    ASSERT(!send->id && send->limit == 1);
    ASSERT(!owner->sending && !range_length(owner->next) && !range_length(owner->rest));
    return false;
}

void
cluster_range_receive_only(struct packet_id_send *send)
{
    ASSERT(!send->range && !send->id);
    new_owner(send)->receive_only = true;
    send->limit = 1;
    send->at_limit = never;
}

const char *
cluster_range_import(struct packet_id_send *send, struct cluster_range range)
{
    if (!send->range || send->range->sending)
    {
        return "this process sends with the key";
    }
    if (send->range->receive_only)
    {
        return "the key is to receive with only";
    }
    if (range.start < 1 || range.start >= range.end || range.end > CLUSTER_RANGE_END)
    {
        return "not a range of packet ids";
    }

    struct cluster_range *stored = &send->range->rest;
    const bool same = range.start == stored->start && range.end == stored->end;
    if (!range_length(*stored) || range.start >= stored->end)
    {
        *stored = range;
    }
    else if (!same && range.end > stored->start)
    {
        return "the range overlaps the one that is stored";
    }
    return NULL;
}

packet_id_type
cluster_range_imported_end(const struct packet_id_send *send)
{
    return send->range && !send->range->sending ? send->range->rest.end : 0;
}

/** The range that was stored for a key when this standby dropped it. */
struct kept_range
{
    uint8_t fp[CLUSTER_RANGE_FP_SIZE];
    struct cluster_range range;
};

static struct kept_range *kept; /* GLOBAL */

/** Where a key's range is kept: whatever was kept there before is forgotten. */
static struct kept_range *
kept_slot(const uint8_t *fp)
{
    return &kept[(fp[0] | (unsigned int)fp[1] << 8) % CLUSTER_RANGE_KEPT];
}

void
cluster_range_keep(const struct packet_id_send *send, const uint8_t *fp)
{
    if (!send->range || send->range->sending || !range_length(send->range->rest))
    {
        return;
    }
    if (!kept)
    {
        ALLOC_ARRAY_CLEAR(kept, struct kept_range, CLUSTER_RANGE_KEPT);
    }
    struct kept_range *slot = kept_slot(fp);
    memcpy(slot->fp, fp, sizeof(slot->fp));
    slot->range = send->range->rest;
}

void
cluster_range_recall(struct packet_id_send *send, const uint8_t *fp)
{
    struct kept_range *slot = kept ? kept_slot(fp) : NULL;

    if (slot && !memcmp(slot->fp, fp, sizeof(slot->fp)) && range_length(slot->range)
        && !cluster_range_import(send, slot->range))
    {
        CLEAR(*slot);
    }
}

void
cluster_range_forget(void)
{
    free(kept);
    kept = NULL;
}

void
cluster_range_promote(struct packet_id_send *send)
{
    struct cluster_range_owner *owner = send->range;

    if (!owner || owner->sending || owner->receive_only)
    {
        return;
    }
    owner->sending = true;
    owner->segment_start = send->limit;
    if (range_length(owner->rest))
    {
        const packet_id_type room = range_length(owner->rest);
        owner->next = cut(owner, room / 8 < CLUSTER_RANGE_MIN ? room / 2 : room / 8);
        enter(send);
    }
}

void
cluster_range_overtake(struct packet_id_send *send)
{
    struct cluster_range_owner *owner = sending_owner(send);

    if (!owner || !send->limit || !range_length(owner->rest))
    {
        return;
    }
    cut_segment(owner, share(owner, owner->n_grants + 1));
    enter(send);
    release_overtaken(send);
}

/** The first export of a generated key: what was sent is not owned any more. */
static void
forget_sent(struct packet_id_send *send)
{
    struct cluster_range *rest = &send->range->rest;

    if (send->id >= rest->start)
    {
        rest->start = id_min(send->id, CLUSTER_RANGE_END - 1) + 1;
    }
}

/** One new grant to each holder that has none above the sender. */
static void
cut_grants(struct packet_id_send *send, const struct cluster_holder *holders, int n,
           packet_id_type size)
{
    for (int i = 0; i < n; i++)
    {
        if (!has_current_grant(send, &holders[i]))
        {
            struct cluster_grant *entry = entry_for(send->range, holders, n, i);
            CLEAR(*entry);
            entry->holder = holders[i];
            entry->range = cut(send->range, size);
        }
    }
}

/** Cut what the holders lack, and the sender's segment if that is due. */
static void
cut_round(struct packet_id_send *send, const struct cluster_holder *holders, int n)
{
    struct cluster_range_owner *owner = send->range;
    const bool first = !send->limit;
    const bool segment = first || needs_round(send);
    int parts = segment ? n + 1 : 0;

    for (int i = 0; !segment && i < n; i++)
    {
        parts += !has_current_grant(send, &holders[i]);
    }
    const packet_id_type size = parts ? share(owner, parts) : 0;
    if (parts && size < CLUSTER_RANGE_MIN)
    {
        owner->short_of_ids = true;
    }
    if (segment && size)
    {
        cut_segment(owner, size);
    }
    if (first && size)
    {
        enter(send);
    }
    if (size)
    {
        cut_grants(send, holders, n, size);
    }
}

int
cluster_range_export(struct packet_id_send *send,
                     const struct cluster_holder *holders, int n,
                     struct cluster_grant *grants)
{
    struct cluster_range_owner *owner = sending_owner(send);
    int written = 0;

    if (!owner || n < 1 || n > CLUSTER_HOLDERS_MAX)
    {
        return 0;
    }
    if (!send->limit)
    {
        forget_sent(send);
    }
    cut_round(send, holders, n);
    for (int i = 0; send->limit && i < n; i++)
    {
        const struct cluster_grant *grant = find_grant(owner, &holders[i]);
        if (grant && grant_is_current(send, grant))
        {
            grants[written++] = *grant;
        }
    }
    return written;
}

bool
cluster_range_stored(struct packet_id_send *send,
                     const struct cluster_holder *holder, packet_id_type end)
{
    struct cluster_range_owner *owner = sending_owner(send);
    struct cluster_grant *grant = owner ? find_grant(owner, holder) : NULL;

    if (!grant || end < grant->range.end || !grant_is_current(send, grant))
    {
        return false;
    }
    grant->stored = true;
    grant->stale = grant->reported = false;
    return true;
}

bool
cluster_range_round_wanted(struct packet_id_send *send)
{
    struct cluster_range_owner *owner = sending_owner(send);

    if (!owner || owner->wanted || !owner->n_grants
        || !range_length(owner->rest) || !needs_round(send))
    {
        return false;
    }
    owner->wanted = true;
    return true;
}

bool
cluster_range_stale(struct packet_id_send *send, struct cluster_holder *holder)
{
    struct cluster_range_owner *owner = sending_owner(send);
    const bool waited = owner && range_length(owner->next) && past(send, 90);

    for (int i = 0; owner && i < owner->n_grants; i++)
    {
        struct cluster_grant *grant = &owner->grants[i];
        const bool silent = waited && !grant_is_protecting(send, grant);
        if (!grant->reported && (grant->stale || silent))
        {
            grant->stale = grant->reported = true;
            *holder = grant->holder;
            return true;
        }
    }
    return false;
}

bool
cluster_range_ready(struct packet_id_send *send)
{
    return !send->limit || send->id < send->limit - 1 || send->at_limit(send);
}

packet_id_type
cluster_range_room(const struct packet_id_send *send)
{
    const struct cluster_range_owner *owner = sending_owner(send);
    const packet_id_type limit = send->limit ? send->limit : CLUSTER_RANGE_END;

    return !owner ? 0 : range_length(owner->next) + range_length(owner->rest)
           + (send->id + 1 < limit ? limit - send->id - 1 : 0);
}

bool
cluster_range_capped(const struct packet_id_send *send)
{
    const struct cluster_range_owner *owner = sending_owner(send);
    return owner && send->limit && send->id >= send->limit - 1
           && !range_length(owner->next) && !range_length(owner->rest);
}

bool
cluster_range_renegotiate(const struct packet_id_send *send)
{
    const struct cluster_range_owner *owner = sending_owner(send);
    const packet_id_type parts = owner ? (packet_id_type)owner->n_grants + 1 : 1;
    return owner
           && (owner->short_of_ids
               || (needs_round(send) && range_length(owner->rest) / parts < CLUSTER_RANGE_MIN));
}

/**
 * What has been received lies above the mark: nothing up to it that has not
 * been received is accepted any more.
 */
static void
fill_window(struct packet_id_rec *rec, packet_id_type id)
{
    const int size = rec->seq_list ? CIRC_LIST_SIZE(rec->seq_list) : 0;

    for (packet_id_type i = rec->id - id; i < (packet_id_type)size; i++)
    {
        CIRC_LIST_ITEM(rec->seq_list, i) = SEQ_EXPIRED;
    }
}

void
cluster_window_raise(struct packet_id_rec *rec, packet_id_type id, time_t time)
{
    if (time < rec->time)
    {
        return;
    }
    if (time == rec->time && id <= rec->id)
    {
        fill_window(rec, id);
        return;
    }
    rec->time = time;
    rec->id = id;
    for (int i = 0; rec->seq_list && i < rec->seq_list->x_cap; i++)
    {
        CIRC_LIST_PUSH(rec->seq_list, SEQ_EXPIRED);
    }
}

#endif /* ifdef ENABLE_CLUSTER */
