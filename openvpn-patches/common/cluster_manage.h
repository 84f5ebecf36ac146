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
 * @file cluster_manage.h
 * The cluster- commands of the management interface, see
 * doc/management-notes.txt. Only text is handled here: what a command does is
 * in cluster.h, cluster_client.h and cluster_import.h.
 */

#ifndef CLUSTER_MANAGE_H
#define CLUSTER_MANAGE_H

#include "cluster.h"
#include "cluster_reason.h"
#include "cluster_report.h"

#ifdef ENABLE_CLUSTER

/**
 * Run a command.
 *
 * @param arg           the multi_context
 * @param p             the command and its parameters
 *
 * @return true if lines follow that belong to the command
 */
bool cluster_management_command(void *arg, const char **p);

/** Show what the commands are, as a part of OpenVPN's own help. */
void cluster_help(void);

/**
 * Does this command of OpenVPN itself concern a client, which a silent server
 * has but does not serve? It would only be said that there is none.
 *
 * @return true after an error that says where the command belongs
 */
bool cluster_refuse_command(const char *name);

/**
 * End this process if another one has the socket of this path open. It would be
 * bound anew, and who serves behind it could not be reached any more. Nobody is
 * connected for it.
 */
void cluster_respect_socket(const struct sockaddr_un *path);

/** Answer a command that comes before there are clients, or after. */
void cluster_not_ready(const char *name);

/** A command that comes while descriptors are waited for. Returns whether it was
 *  answered. */
bool cluster_waiting_command(const char *name);

/** The lines of the last command that said so have come. */
void cluster_management_lines(void *arg, const struct buffer_list *lines);

/** @name Shared by the files that run commands
 *  @{ */

/** Answer with an error; \c object may be NULL. */
void cluster_fail(const char *command, const char *object, enum cluster_code code, const char *text);

/** Likewise, with a reason that was found elsewhere. */
void cluster_fail_with(const char *command, const char *object, const struct cluster_reason *why);

/** Read exactly \c size bytes of hex. */
bool cluster_parse_hex(const char *text, uint8_t *out, size_t size);

/** Read a number. */
bool cluster_parse_u64(const char *text, uint64_t *value);

/** Read a packet id. */
bool cluster_parse_packet_id(const char *text, packet_id_type *id);

/** The instance that a command names by p[1]; NULL after an error. */
struct multi_instance *cluster_find_instance(const char *const *p);

/** Answer with an error unless \c ok, which the role decides. */
bool cluster_need_role(const char *const *p, bool ok);

/** cluster-export */
void cluster_command_export(struct multi_context *m, const char **p);

/** cluster-stored */
void cluster_command_stored(struct multi_context *m, const char **p);

/** cluster-wait */
void cluster_command_wait(struct multi_context *m, const char **p);

/** cluster-release */
void cluster_command_release(struct multi_context *m, const char **p);

/** cluster-quiesce */
void cluster_command_quiesce(struct multi_context *m, const char **p);

/** Remember the parameters of a command that lines follow. */
void cluster_command_collect(struct multi_context *m, const char **p);

/** cluster-take, which comes too late */
void cluster_command_take(struct multi_context *m, const char **p);

/** cluster-descriptors */
void cluster_command_descriptors(struct multi_context *m, const char **p);

/** cluster-silence */
void cluster_command_silence(struct multi_context *m, const char **p);

/** cluster-retire */
void cluster_command_retire(struct multi_context *m, const char **p);

/** What cluster-status says of it. */
void cluster_status_spare(const struct multi_context *m, struct buffer *out);

/** cluster-cookie */
void cluster_lines_cookie(struct multi_context *m, const struct buffer_list *lines);

/** @} name Shared by the files that run commands */

#endif /* ifdef ENABLE_CLUSTER */
#endif /* CLUSTER_MANAGE_H */
