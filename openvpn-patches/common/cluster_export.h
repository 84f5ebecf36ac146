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
 * @file cluster_export.h
 * From an instance to the record of its client.
 *
 * A record is a copy of what another server would need at this moment. Making it
 * changes nothing of the client and gives no packet ids away: the command that
 * writes it cuts each holder's range in the same call, by cluster_range_export(),
 * and tells it beside the record (rule R2).
 *
 * It has the keys that data can be sent or received with, the newest first, then
 * that of the session before, which is only received with (see cluster_reset.h), and
 * for one that the client has still to make, the message that makes it (see
 * cluster_last_message.h). What stays away is what the other server has, or
 * makes, by itself: sockets, timers, buffers, the TLS objects.
 */

#ifndef CLUSTER_EXPORT_H
#define CLUSTER_EXPORT_H

#ifdef ENABLE_CLUSTER

struct cluster_record;
struct multi_context;
struct multi_instance;

/**
 * Make the record of a client. It is to be freed by the caller.
 *
 * @return false if the client has no key yet
 */
bool cluster_client_record(const struct multi_context *m, struct multi_instance *mi,
                           struct cluster_record *rec);

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_EXPORT_H */
