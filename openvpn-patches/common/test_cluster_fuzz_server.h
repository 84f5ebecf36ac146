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
 * @file test_cluster_fuzz_server.h
 * A whole server inside the fuzzer: OpenVPN's own start, with a socket, a pool
 * and TLS, up to where it would begin to wait for packets. Only what would
 * reach out of the process is left out: the tun is /dev/null, nothing is sent,
 * names are not resolved, and the clock goes on when it is told to.
 */

#ifndef TEST_CLUSTER_FUZZ_SERVER_H
#define TEST_CLUSTER_FUZZ_SERVER_H

#include "multi.h"

/** The server's state, that of a real one. */
extern struct multi_context server;

/**
 * Start OpenVPN with this configuration, and give every input to \c input.
 *
 * @param argc, argv    of libFuzzer
 */
int run_server(char *config, int argc, char **argv, int (*input)(const uint8_t *, size_t));

/** A command with up to two parameters, which may be NULL. */
void server_command(const char *name, const char *first, const char *second);

/** A second passes for a server that serves: timers, packets to send. */
void server_second(void);

/** All clients go, and the server is a standby as at the start. */
void server_reset(void);

#endif /* TEST_CLUSTER_FUZZ_SERVER_H */
