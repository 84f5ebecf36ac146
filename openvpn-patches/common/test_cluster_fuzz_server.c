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
 * @file test_cluster_fuzz_server.c
 * A whole server inside the fuzzer; see test_cluster_fuzz_server.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#include <sys/prctl.h>

#include "cluster.h"
#include "cluster_manage.h"
#include "init.h"
#include "mudp.h"
#include "multi.h"
#include "tun.h"
#include "test_cluster_fuzz_server.h"

/** When it all takes place, in every run. */
#define FUZZ_TIME 1800000000

/** Most wakeups that are looked at in one second. */
#define FUZZ_WAKEUPS 16

/** As the loop of a server without --fast-io has them. */
#define FUZZ_FLAGS (MPP_PRE_SELECT | MPP_CLOSE_ON_SIGNAL)

typedef int input_function (const uint8_t *data, size_t size);

/** OpenVPN's main(), renamed by the linker. */
int openvpn_main(int argc, char **argv);

/** libFuzzer's. */
int LLVMFuzzerRunDriver(int *argc, char ***argv, input_function *input);

struct multi_context server;

static time_t fuzz_now = FUZZ_TIME;
static int fuzz_argc;
static char **fuzz_argv;
static input_function *fuzz_input;

/*
 * What stands in for the world
 */

void __wrap_x_msg(const unsigned int flags, const char *format, ...);

/* nothing is written; an end of the process is a finding */
void
__wrap_x_msg(const unsigned int flags, const char *format, ...)
{
    char text[4096];
    va_list arglist;

    va_start(arglist, format);
    vsnprintf(text, sizeof(text), format, arglist);
    va_end(arglist);
    if (flags & (M_FATAL | M_USAGE_SMALL))
    {
        fprintf(stderr, "OpenVPN ends: %s\n", text);
        abort();
    }
}

time_t __wrap_time(time_t *out);

time_t
__wrap_time(time_t *out)
{
    if (out)
    {
        *out = fuzz_now;
    }
    return fuzz_now;
}

int __wrap_gettimeofday(struct timeval *tv, void *tz);

int
__wrap_gettimeofday(struct timeval *tv, void *tz)
{
    tv->tv_sec = fuzz_now;
    tv->tv_usec = 0;
    return 0;
}

ssize_t __wrap_sendto(int sd, const void *data, size_t len, int flags,
                      const struct sockaddr *to, socklen_t to_len);

ssize_t
__wrap_sendto(int sd, const void *data, size_t len, int flags,
              const struct sockaddr *to, socklen_t to_len)
{
    return (ssize_t)len;
}

int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out);

int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out);

int
__wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                   struct addrinfo **out)
{
    struct addrinfo numeric = { 0 };

    if (hints)
    {
        numeric = *hints;
    }
    numeric.ai_flags |= AI_NUMERICHOST;
    return __real_getaddrinfo(node, service, &numeric, out);
}

void __wrap_open_tun(const char *dev, const char *dev_type, const char *dev_node,
                     struct tuntap *tt, openvpn_net_ctx_t *ctx);

void
__wrap_open_tun(const char *dev, const char *dev_type, const char *dev_node,
                struct tuntap *tt, openvpn_net_ctx_t *ctx)
{
    tt->fd = open("/dev/null", O_RDWR);
    tt->actual_name = string_alloc(dev, NULL);
}

/*
 * Start
 */

void __wrap_tunnel_server_udp(struct context *top);

/* as tunnel_server_udp() up to its loop, in whose place inputs are run */
void
__wrap_tunnel_server_udp(struct context *top)
{
    top->mode = CM_TOP;
    context_clear_2(top);
    init_instance_handle_signals(top, top->es, CC_HARD_USR1_TO_HUP);
    ASSERT(!IS_SIG(top));
    multi_init(&server, top, false);
    multi_top_init(&server, top);
    cluster_init(&server);
    init_management_callback_multi(&server);
    prctl(PR_SET_DUMPABLE, 1); /* leaks are looked for by a debugger */
    server_reset();
    exit(LLVMFuzzerRunDriver(&fuzz_argc, &fuzz_argv, fuzz_input));
}

int
run_server(char *config, int argc, char **argv, input_function *input)
{
    char *arguments[] = { "openvpn", "--config", config, NULL };

    fuzz_argc = argc;
    fuzz_argv = argv;
    fuzz_input = input;
    return openvpn_main(SIZE(arguments) - 1, arguments);
}

/*
 * What a server does
 */

void
server_command(const char *name, const char *first, const char *second)
{
    const char *p[MAX_PARMS + 1] = { name, first, second };

    cluster_management_command(&server, p);
}

static void
send_what_waits(void)
{
    for (int i = 0; i < FUZZ_WAKEUPS && server.pending; ++i)
    {
        if (server.pending->context.c2.to_link.len > 0)
        {
            multi_process_outgoing_link_dowork(&server, server.pending, FUZZ_FLAGS);
        }
        else
        {
            multi_process_outgoing_tun(&server, FUZZ_FLAGS);
        }
    }
}

void
server_second(void)
{
    struct timeval tv;

    ++fuzz_now;
    update_time();
    multi_process_per_second_timers(&server);
    for (int i = 0; i < FUZZ_WAKEUPS; ++i)
    {
        multi_get_timeout(&server, &tv);
        if (!server.earliest_wakeup || tv.tv_sec > 0)
        {
            break;
        }
        multi_process_timeout(&server, FUZZ_FLAGS);
        send_what_waits();
    }
}

/** Routes of clients that are gone. */
static void
reap(void)
{
    server.reaper->bucket_base = 0;
    while (server.reaper->bucket_base < hash_n_buckets(server.vhash))
    {
        multi_reap_process_dowork(&server);
    }
}

void
server_reset(void)
{
    server_command("cluster-demote", NULL, NULL);
    reap();
    CLEAR(cluster->holder);
    fuzz_now = FUZZ_TIME;
    now = FUZZ_TIME;
    server.per_second_trigger = 0;
    server.cid_counter = 0;
    ASSERT(!hash_n_elements(server.hash) && !hash_n_elements(server.iter));
    ASSERT(!hash_n_elements(server.vhash) && !hash_n_elements(cluster->uids));
}
