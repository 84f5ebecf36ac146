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
 * @file cluster_spare_settings.h
 * What the process that opens link socket and tun does to them and to the machine,
 * as its options say it: addresses, routes, scripts. One that takes both does
 * nothing of that, so what it is configured to may be another thing than what is
 * there: clients would be connected and nothing get through, or a change that was
 * asked for never be made.
 *
 * Who opens writes it into the file of all processes of this server; who is brought
 * descriptors compares it with its own. It is not asked of the kernel: what a
 * script, or a person, has changed of an interface is none of our business.
 */

#ifndef CLUSTER_SPARE_SETTINGS_H
#define CLUSTER_SPARE_SETTINGS_H

#include "cluster_reason.h"
#include "options.h"

#ifdef ENABLE_CLUSTER

/**
 * Write down what these options have made of link socket and tun.
 *
 * @param fd            the file, or -1
 * @param ce            the entry of \c o that is used
 * @param dev           the name of the tun
 */
void cluster_settings_write(int fd, const struct options *o, const struct connection_entry *ce,
                            const char *dev);

/**
 * Would these options have made the same of them? Says which one differs. Nothing
 * is refused of which nobody knows how it was made: the tun of a process that writes
 * nothing down, or has another file.
 */
bool cluster_settings_check(int fd, const struct options *o, const struct connection_entry *ce,
                            const char *dev, struct cluster_reason *why);

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_SPARE_SETTINGS_H */
