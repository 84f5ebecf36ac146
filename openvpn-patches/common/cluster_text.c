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
 * @file cluster_text.c
 * Text in a client's record, see cluster_value.h. What may stand in it is
 * checked here; that it is harmless is not: a client chose much of it.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include "cluster_value.h"

#include "memdbg.h"

/** Cipher and digest: into an array, because they are hot. */
static const char *
read_algorithm(void *at, struct buffer *in)
{
    char *name = at;
    const int length = BLEN(in);

    buf_read(in, name, length);
    name[length] = '\0';
    return (int)strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_/") == length
           ? NULL : "not the name of an algorithm";
}

static bool
write_algorithm(const void *at, uint16_t tag, struct buffer *out)
{
    const size_t length = strnlen(at, CLUSTER_ALG_SIZE);
    return cluster_put_head(out, tag, length) && buf_write(out, at, length);
}

const struct cluster_value_type cluster_type_algorithm = {
    1, CLUSTER_ALG_SIZE - 1, 1, read_algorithm, write_algorithm
};

/** Any text without NUL. */
static const char *
read_text(void *at, struct buffer *in)
{
    const size_t length = (size_t)BLEN(in);
    char *text = malloc(length + 1);

    check_malloc_return(text);
    buf_read(in, text, (int)length);
    text[length] = '\0';
    *(char **)at = text;
    return strlen(text) == length ? NULL : "a NUL character inside";
}

static bool
write_text(const void *at, uint16_t tag, struct buffer *out)
{
    const char *text = *(char *const *)at;
    return !text || (cluster_put_head(out, tag, strlen(text)) && buf_write(out, text, strlen(text)));
}

const struct cluster_value_type cluster_type_raw = { 1, CLUSTER_VALUE_MAX, 1, read_text, write_text };

static const char *
check_text(const char *text, const char *allowed)
{
    for (; *text; text++)
    {
        const unsigned char c = (unsigned char)*text;
        if ((c < 32 || c == 127) && !strchr(allowed, c))
        {
            return "a control character inside";
        }
    }
    return NULL;
}

static const char *
read_line(void *at, struct buffer *in)
{
    const char *bad = read_text(at, in);
    return bad ? bad : check_text(*(char **)at, "");
}

const struct cluster_value_type cluster_type_line = { 1, CLUSTER_NAME_MAX, 1, read_line, write_text };

/** Lines of NAME=value, with a name that env_set would have made. */
static const char *
read_environment(void *at, struct buffer *in)
{
    static const char name_chars[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    const char *bad = read_text(at, in);

    bad = bad ? bad : check_text(*(char **)at, "\n");
    for (const char *line = *(char **)at; !bad && line && *line; )
    {
        const size_t length = strspn(line, name_chars);
        if (!length || line[length] != '=')
        {
            bad = "a line that is not NAME=value";
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return bad;
}

const struct cluster_value_type cluster_type_environment = {
    1, CLUSTER_VALUE_MAX, 1, read_environment, write_text
};

#endif /* ifdef ENABLE_CLUSTER */
