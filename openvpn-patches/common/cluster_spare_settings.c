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
 * @file cluster_spare_settings.c
 * What was made of link socket and tun; see cluster_spare_settings.h.
 *
 * The file has a line that says of which device it speaks, then one for each thing
 * that was set: its option, and the value. A thing that is not set has no line.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "buffer.h"
#include "cluster_spare_settings.h"
#include "error.h"
#include "socket.h"

#include "memdbg.h"

/** Raised when lines mean something else: those of another format say nothing. */
#define FORMAT 1

/** More than thousands of routes need. */
#define TEXT_MAX (4 * 1024 * 1024)

/** Between an option and its value. */
#define EQUALS '\t'

/*
 * The text
 */

static void
put(FILE *out, const char *name, const char *format, ...)
{
    va_list arglist;

    fprintf(out, "%s%c", name, EQUALS);
    va_start(arglist, format);
    vfprintf(out, format, arglist);
    va_end(arglist);
    fputc('\n', out);
}

static void
put_text(FILE *out, const char *name, const char *value)
{
    if (value)
    {
        put(out, name, "%s", value);
    }
}

static void
put_number(FILE *out, const char *name, int value)
{
    if (value)
    {
        put(out, name, "%d", value);
    }
}

static void
put_flag(FILE *out, const char *name, bool value)
{
    put_text(out, name, value ? "yes" : NULL);
}

static const char *
topology_of(const struct options *o)
{
    return o->topology == TOP_SUBNET ? "subnet" : o->topology == TOP_P2P ? "p2p" : "net30";
}

/** The topology first, since the other values follow from it. */
static void
put_device(FILE *out, const struct options *o, const struct connection_entry *ce)
{
    put_text(out, "topology", topology_of(o));
    if (o->ifconfig_local)
    {
        put(out, o->server_defined ? "server" : "ifconfig", "%s %s", o->ifconfig_local,
            np(o->ifconfig_remote_netmask));
    }
    if (o->ifconfig_ipv6_local)
    {
        put(out, o->server_ipv6_defined ? "server-ipv6" : "ifconfig-ipv6", "%s/%d",
            o->ifconfig_ipv6_local, o->ifconfig_ipv6_netbits);
        put_text(out, "ifconfig-ipv6 remote", o->ifconfig_ipv6_remote);
    }
    put_number(out, "tun-mtu", ce->tun_mtu);
    put_flag(out, "ifconfig-noexec", o->ifconfig_noexec);
    put_text(out, "lladdr", o->lladdr);
#ifdef TARGET_LINUX
    put_number(out, "txqueuelen", o->tuntap_options.txqueuelen);
#endif
    put_text(out, "up", o->up_script);
}

static void
put_route(FILE *out, const char *name, const char *const value[4])
{
    fprintf(out, "%s%c%s", name, EQUALS, value[0]);
    for (int i = 1; i < 4; ++i)
    {
        fprintf(out, value[i] ? " %s" : "%s", value[i] ? value[i] : "");
    }
    fputc('\n', out);
}

/**
 * As they are configured: to its own list OpenVPN adds what follows from
 * redirect-gateway, when it opens the tun.
 */
static const struct route_ipv6_option *
ipv6_routes_of(const struct options *o)
{
    const struct options_pre_connect *pp = o->pre_connect;
    const struct route_ipv6_option_list *list =
        pp && pp->routes_ipv6_defined ? pp->routes_ipv6 : o->routes_ipv6;

    return list ? list->routes_ipv6 : NULL;
}

static void
put_routes(FILE *out, const struct options *o)
{
    put_text(out, "route-gateway", o->route_default_gateway);
    put_text(out, "route-ipv6-gateway", o->route_ipv6_default_gateway);
    put_number(out, "route-metric", o->route_default_metric);
    put_flag(out, "route-noexec", o->route_noexec);
    put_number(out, "redirect-gateway", o->routes ? (int)o->routes->flags : 0);
    put_number(out, "redirect-gateway ipv6", o->routes_ipv6 ? (int)o->routes_ipv6->flags : 0);
    for (const struct route_option *one = o->routes ? o->routes->routes : NULL; one; one = one->next)
    {
        const char *const value[4] = { one->network, one->netmask, one->gateway, one->metric };
        put_route(out, "route", value);
    }
    for (const struct route_ipv6_option *one = ipv6_routes_of(o); one; one = one->next)
    {
        const char *const value[4] = { one->prefix, one->gateway, one->metric };
        put_route(out, "route-ipv6", value);
    }
    put_text(out, "route-up", o->route_script);
}

static void
put_socket(FILE *out, const struct options *o, const struct connection_entry *ce)
{
    put_flag(out, "multihome", o->sockflags & SF_USE_IP_PKTINFO);
    put_flag(out, "bind ipv6only", ce->bind_ipv6_only);
    put_number(out, "sndbuf", o->sndbuf);
}

/** The device by a number that no later one of the same name has. */
static void
put_head(FILE *out, const char *dev)
{
    fprintf(out, "settings %d of %u\n", FORMAT, if_nametoindex(dev));
}

/**
 * All of it.
 *
 * @return to be freed; NULL if there is no memory
 */
static char *
text_of(const struct options *o, const struct connection_entry *ce, const char *dev, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);

    if (!out)
    {
        return NULL;
    }
    put_head(out, dev);
    put_device(out, o, ce);
    put_routes(out, o);
    put_socket(out, o, ce);
    fclose(out);
    return text;
}

/*
 * The file
 */

static bool
replace(int fd, const char *text, size_t size)
{
    return !ftruncate(fd, 0) && pwrite(fd, text, size, 0) == (ssize_t)size;
}

void
cluster_settings_write(int fd, const struct options *o, const struct connection_entry *ce,
                       const char *dev)
{
    size_t size = 0;
    char *text = fd >= 0 ? text_of(o, ce, dev, &size) : NULL;

    if (fd >= 0 && !(text && replace(fd, text, size)))
    {
        msg(M_WARN | M_ERRNO, "CLUSTER: what was made of %s cannot be written down", dev);
        replace(fd, "", 0); /* half of it would be another thing */
    }
    free(text);
}

/** What it says, or NULL; to be freed. */
static char *
read_all(int fd)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) || st.st_size <= 0 || st.st_size > TEXT_MAX)
    {
        return NULL;
    }
    char *text = malloc(st.st_size + 1);
    const ssize_t size = text ? pread(fd, text, st.st_size, 0) : -1;
    if (size < 0)
    {
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

/*
 * The comparison
 */

/** Of how many bytes is this line, without its end? */
static size_t
line_length(const char *line)
{
    return strcspn(line, "\n");
}

/** The line after this one; NULL after the last one. */
static const char *
next_line(const char *line)
{
    line += line_length(line);
    return *line && line[1] ? line + 1 : NULL;
}

/** Has a text this line? */
static bool
has_line(const char *text, const char *line)
{
    const size_t length = line_length(line);

    for (; text; text = next_line(text))
    {
        if (line_length(text) == length && !strncmp(text, line, length))
        {
            return true;
        }
    }
    return false;
}

/**
 * The first line that another text has not.
 *
 * @param name          only of the option of this line; NULL: of any
 */
static const char *
find_missing(const char *text, const char *other, const char *name)
{
    const size_t length = name ? strcspn(name, "\t") + 1 : 0;

    for (; text; text = next_line(text))
    {
        if (!strncmp(text, name ? name : "", length) && !has_line(other, text))
        {
            return text;
        }
    }
    return NULL;
}

/** The value of a line, as far as there is room for it, or that there is none. */
static const char *
value_of(const char *line, char *text, size_t size)
{
    const char *value = line ? line + strcspn(line, "\t") + 1 : "none";
    const size_t length = line_length(value);

    snprintf(text, size, "%.*s", (int)(length < size ? length : size), value);
    return text;
}

static bool
refuse_line(const char *line, const char *has, const char *says, struct cluster_reason *why)
{
    char there[48], here[48];

    return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE,
                          "%.*s differs: what is open has %s, the configuration says %s",
                          (int)strcspn(line, "\t"), line, value_of(has, there, sizeof(there)),
                          value_of(says, here, sizeof(here)));
}

bool
cluster_settings_check(int fd, const struct options *o, const struct connection_entry *ce,
                       const char *dev, struct cluster_reason *why)
{
    size_t size = 0;
    char *has = read_all(fd), *says = has ? text_of(o, ce, dev, &size) : NULL;
    bool ok = true;

    if (says && line_length(has) == line_length(says) && !strncmp(has, says, line_length(says)))
    {
        const char *mine = find_missing(says, has, NULL);
        const char *theirs = find_missing(has, says, mine);
        ok = !mine && !theirs;
        ok = ok || refuse_line(mine ? mine : theirs, theirs, mine, why);
    }
    free(has);
    free(says);
    return ok;
}

#endif /* ifdef ENABLE_CLUSTER */
