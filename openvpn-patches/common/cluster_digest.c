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
 * @file cluster_digest.c
 * What has to be equal on all nodes, as a digest; see cluster_config.h.
 *
 * In it is what decides who gets in, what a client is told, and what an
 * imported client would be used with: a node that differs there would lose
 * clients that come from another one, or let in others. Not in it is what
 * belongs to a machine (paths, users, devices, logs, buffers), and what is read
 * again while the server runs (the contents of a CRL or of a directory): two
 * nodes may read it at different times. docs/options.md says it of each option.
 *
 * Scripts and plugins count as present or absent: the same one may lie
 * elsewhere. Files that are read once count by what they contain, secret ones
 * as an HMAC under that content, since the digest is shown.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#ifdef ENABLE_CLUSTER

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "cluster_address.h"
#include "cluster_config.h"
#include "crypto.h"
#include "manage.h"
#include "plugin.h"
#include "pushlist.h"
#include "ssl_backend.h"
#include "ssl_openssl.h"
#include "ssl_verify.h"

#include "memdbg.h"

/** Digests can be compared between servers that say the same here. */
#define DIGEST_VERSION 2

/** With version and colon as long as a SHA-256, for which there is room everywhere. */
#define DIGEST_BYTES 31

/** Files whose content counts. They are read once, before rights are given up. */
enum digest_file
{
    FILE_CA,
    FILE_TLS_AUTH,
    FILE_TLS_CRYPT,
    FILE_TLS_CRYPT_V2,
    FILE_AUTH_TOKEN,
    FILES
};

static uint8_t files[FILES][SHA256_DIGEST_LENGTH];

/** Up to the next line, or NULL at the end. */
static char *
next_line(struct buffer *text, char *line, int size)
{
    return buf_parse(text, '\n', line, size) ? line : NULL;
}

/** What lies between BEGIN and END, without the white space around a line. */
static struct buffer
find_content(struct buffer text, struct gc_arena *gc)
{
    struct buffer content = alloc_buf_gc(max_int(BLEN(&text), 0) + 1, gc);
    char line[512];
    bool inside = false;

    while (next_line(&text, line, sizeof(line)))
    {
        chomp(line);
        if (!strncmp(line, "-----", 5))
        {
            inside = !strncmp(line, "-----BEGIN", 10);
        }
        else if (inside)
        {
            buf_puts(&content, skip_leading_whitespace(line));
        }
    }
    secure_memzero(line, sizeof(line));
    return content;
}

/** The content of a file as an HMAC under its hash; zeros when there is none. */
static void
read_file(enum digest_file file, const char *name, bool is_inline)
{
    const uint8_t label[] = "ovpnha options 2";
    uint8_t key[SHA256_DIGEST_LENGTH];
    struct gc_arena gc = gc_new();
    struct buffer text, content;
    hmac_ctx_t *hmac;

    CLEAR(files[file]);
    text = !name ? clear_buf() : is_inline ? string_alloc_buf(name, &gc)
           : buffer_read_from_file(name, &gc);
    content = find_content(text, &gc);
    if (BLEN(&content) > 0 && md_full("SHA256", BPTR(&content), BLEN(&content), key))
    {
        hmac = hmac_ctx_new();
        hmac_ctx_init(hmac, key, "SHA256");
        hmac_ctx_update(hmac, label, sizeof(label));
        hmac_ctx_final(hmac, files[file]);
        hmac_ctx_cleanup(hmac);
        hmac_ctx_free(hmac);
    }
    secure_memzero(key, sizeof(key));
    secure_memzero(BPTR(&content), BLEN(&content));
    if (buf_valid(&text))
    {
        secure_memzero(text.data, text.capacity);
    }
    gc_free(&gc);
}

void
cluster_digest_read_files(const struct options *o, const struct connection_entry *ce)
{
    read_file(FILE_CA, o->ca_file, o->ca_file_inline);
    read_file(FILE_TLS_AUTH, ce->tls_auth_file, ce->tls_auth_file_inline);
    read_file(FILE_TLS_CRYPT, ce->tls_crypt_file, ce->tls_crypt_file_inline);
    read_file(FILE_TLS_CRYPT_V2, ce->tls_crypt_v2_file, ce->tls_crypt_v2_file_inline);
    read_file(FILE_AUTH_TOKEN, o->auth_token_secret_file, o->auth_token_secret_file_inline);
}

/**
 * What is compared between nodes: the options, and of each group of options
 * one byte more that tells which group differs.
 */
struct options_digest
{
    md_ctx_t *all;
    uint8_t hint[CLUSTER_DIGEST_GROUPS];
};

static void
add(struct options_digest *od, enum cluster_digest_group group, const char *name,
    const char *format, ...)
{
    char value[1024];
    uint8_t text[1 + 64 + sizeof(value)];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct buffer buf;
    va_list arglist;

    va_start(arglist, format);
    vsnprintf(value, sizeof(value), format, arglist);
    va_end(arglist);

    buf_set_write(&buf, text, sizeof(text));
    buf_write_u8(&buf, od->hint[group]);
    buf_write(&buf, name, (int)strlen(name) + 1);
    buf_write(&buf, value, (int)strlen(value) + 1);
    md_ctx_update(od->all, BPTR(&buf) + 1, BLEN(&buf) - 1);
    ASSERT(md_full("SHA256", BPTR(&buf), BLEN(&buf), digest));
    od->hint[group] = digest[0];
}

static void
add_file(struct options_digest *od, enum cluster_digest_group group, const char *name,
         enum digest_file file)
{
    struct gc_arena gc = gc_new();

    add(od, group, name, "%s", format_hex_ex(files[file], sizeof(files[file]), 0, 1, NULL, &gc));
    gc_free(&gc);
}

static void
add_transport(struct options_digest *od, const struct options *o, sa_family_t family)
{
    const struct connection_entry *ce = &o->ce;
    const char *wrap = ce->tls_crypt_file ? "tls-crypt" : ce->tls_auth_file ? "tls-auth" : "none";

    add(od, CLUSTER_DIGEST_SOCKET, "proto", "%d %d", ce->proto, ce->af);
    add(od, CLUSTER_DIGEST_SOCKET, "local", "%s", np(ce->local));
    if (o->cluster_addresses.n)
    {
        struct gc_arena gc = gc_new();
        add(od, CLUSTER_DIGEST_SOCKET, "cluster-address", "%s",
            cluster_addresses_print(&o->cluster_addresses, &gc));
        /* "proto udp" alone leaves it to each host */
        add(od, CLUSTER_DIGEST_SOCKET, "family", "%d", family);
        gc_free(&gc);
    }
    add(od, CLUSTER_DIGEST_SOCKET, "port", "%s", np(ce->local_port));
    add(od, CLUSTER_DIGEST_SOCKET, "float", "%d", ce->remote_float);
    add(od, CLUSTER_DIGEST_CONTROL, "control channel", "%s %s %d", wrap,
        ce->tls_crypt_v2_file ? "tls-crypt-v2" : "", ce->tls_crypt_v2_force_cookie);
    add(od, CLUSTER_DIGEST_CONTROL, "key-direction", "%d", ce->key_direction);
    add_file(od, CLUSTER_DIGEST_CONTROL, "tls-auth", FILE_TLS_AUTH);
    add_file(od, CLUSTER_DIGEST_CONTROL, "tls-crypt", FILE_TLS_CRYPT);
    add_file(od, CLUSTER_DIGEST_CONTROL, "tls-crypt-v2", FILE_TLS_CRYPT_V2);
    add(od, CLUSTER_DIGEST_WINDOWS, "hand-window", "%d", o->handshake_window);
    add(od, CLUSTER_DIGEST_WINDOWS, "tran-window", "%d", o->transition_window);
    add(od, CLUSTER_DIGEST_RENEG, "reneg", "%d %d %d", o->renegotiate_seconds,
        o->renegotiate_bytes, o->renegotiate_packets);
}

static void
add_tls(struct options_digest *od, const struct options *o)
{
    /* SSLF_TLS_DEBUG_ENABLED follows from --verb */
    add(od, CLUSTER_DIGEST_SSL, "ssl flags", "%x", o->ssl_flags & ~SSLF_TLS_DEBUG_ENABLED);
    add(od, CLUSTER_DIGEST_SSL, "tls-cipher", "%s %s", np(o->cipher_list),
        np(o->cipher_list_tls13));
    add(od, CLUSTER_DIGEST_SSL, "tls-groups", "%s %s", np(o->tls_groups), np(o->ecdh_curve));
    add(od, CLUSTER_DIGEST_SSL, "tls-cert-profile", "%s", np(o->tls_cert_profile));
}

/** Who gets in. */
static void
add_access(struct options_digest *od, const struct options *o)
{
    struct gc_arena gc = gc_new();

    add_file(od, CLUSTER_DIGEST_ACCESS, "ca", FILE_CA);
    add(od, CLUSTER_DIGEST_ACCESS, "capath", "%d", o->ca_path != NULL);
    add(od, CLUSTER_DIGEST_ACCESS, "crl-verify", "%d", o->crl_file != NULL);
    add(od, CLUSTER_DIGEST_ACCESS, "verify-x509-name", "%d %s", o->verify_x509_type,
        np(o->verify_x509_name));
    add(od, CLUSTER_DIGEST_ACCESS, "ns-cert-type", "%d", o->ns_cert_type);
    for (int i = 0; i < MAX_PARMS && o->remote_cert_ku[i]; ++i)
    {
        add(od, CLUSTER_DIGEST_ACCESS, "remote-cert-ku", "%x", o->remote_cert_ku[i]);
    }
    add(od, CLUSTER_DIGEST_ACCESS, "remote-cert-eku", "%s", np(o->remote_cert_eku));
    for (const struct verify_hash_list *h = o->verify_hash; h; h = h->next)
    {
        add(od, CLUSTER_DIGEST_ACCESS, "verify-hash", "%d %d %s", o->verify_hash_algo,
            o->verify_hash_depth, format_hex_ex(h->hash, sizeof(h->hash), 0, 1, NULL, &gc));
    }
#ifdef ENABLE_X509ALTUSERNAME
    for (int i = 0; i < MAX_PARMS && o->x509_username_field[i]; ++i)
    {
        add(od, CLUSTER_DIGEST_ACCESS, "x509-username-field", "%s", o->x509_username_field[i]);
    }
#endif
    add(od, CLUSTER_DIGEST_ACCESS, "tls-verify", "%d", o->tls_verify != NULL);
    add(od, CLUSTER_DIGEST_ACCESS, "tls-crypt-v2-verify", "%d",
        o->tls_crypt_v2_verify_script != NULL);
    add(od, CLUSTER_DIGEST_ACCESS, "auth-user-pass-verify", "%d",
        o->auth_user_pass_verify_script != NULL);
    gc_free(&gc);
}

static int
count_plugins(const struct options *o)
{
#ifdef ENABLE_PLUGIN
    return o->plugin_list ? o->plugin_list->n : 0;
#else
    return 0;
#endif
}

/** What makes a client's own options, or hears of a client. */
static void
add_scripts(struct options_digest *od, const struct options *o)
{
    add(od, CLUSTER_DIGEST_SCRIPTS, "client-config-dir", "%d %d", o->client_config_dir != NULL,
        o->ccd_exclusive);
    add(od, CLUSTER_DIGEST_SCRIPTS, "client-connect", "%d", o->client_connect_script != NULL);
    add(od, CLUSTER_DIGEST_SCRIPTS, "client-disconnect", "%d",
        o->client_disconnect_script != NULL);
    add(od, CLUSTER_DIGEST_SCRIPTS, "client-crresponse", "%d",
        o->client_crresponse_script != NULL);
    add(od, CLUSTER_DIGEST_SCRIPTS, "learn-address", "%d", o->learn_address_script != NULL);
    add(od, CLUSTER_DIGEST_SCRIPTS, "plugin", "%d", count_plugins(o));
}

static void
add_token(struct options_digest *od, const struct options *o)
{
    add(od, CLUSTER_DIGEST_TOKEN, "auth-gen-token", "%d %u %u %d", o->auth_token_generate,
        o->auth_token_lifetime, o->auth_token_renewal, o->auth_token_call_auth);
    add_file(od, CLUSTER_DIGEST_TOKEN, "auth-gen-token-secret", FILE_AUTH_TOKEN);
}

static void
add_data_channel(struct options_digest *od, const struct options *o)
{
    add(od, CLUSTER_DIGEST_CIPHERS, "data-ciphers", "%s", np(o->ncp_ciphers));
    add(od, CLUSTER_DIGEST_CIPHERS, "data-ciphers-fallback", "%s",
        o->enable_ncp_fallback ? np(o->ciphername) : "");
    add(od, CLUSTER_DIGEST_AUTH, "auth", "%s", np(o->authname));
    add(od, CLUSTER_DIGEST_REPLAY, "replay-window", "%d %d", o->replay_window, o->replay_time);
    add(od, CLUSTER_DIGEST_KEEPALIVE, "keepalive", "%d %d %d", o->ping_send_timeout,
        o->ping_rec_timeout, o->inactivity_timeout);
    add(od, CLUSTER_DIGEST_KEEPALIVE, "session-timeout", "%d", o->session_timeout);
    add(od, CLUSTER_DIGEST_MTU, "tun-mtu", "%d", o->ce.tun_mtu);
    add(od, CLUSTER_DIGEST_MTU, "mssfix", "%d", o->ce.mssfix);
#ifdef ENABLE_FRAGMENT
    if (o->ce.fragment)
    {
        add(od, CLUSTER_DIGEST_MTU, "fragment", "%d", o->ce.fragment);
    }
#endif
    /* the other flags differ between builds with compression and without */
    add(od, CLUSTER_DIGEST_COMPRESS, "compress", "%d %x", o->comp.alg,
        o->comp.flags & (COMP_F_SWAP|COMP_F_MIGRATE));
}

static void
add_network(struct options_digest *od, const struct options *o)
{
    struct gc_arena gc = gc_new();

    add(od, CLUSTER_DIGEST_SERVER, "topology", "%d", o->topology);
    add(od, CLUSTER_DIGEST_SERVER, "ifconfig", "%s %s", np(o->ifconfig_local),
        np(o->ifconfig_remote_netmask));
    add(od, CLUSTER_DIGEST_SERVER, "ifconfig-ipv6", "%s %d", np(o->ifconfig_ipv6_local),
        o->ifconfig_ipv6_netbits);
    add(od, CLUSTER_DIGEST_SERVER, "ifconfig-push-constraint", "%d %x %x",
        o->push_ifconfig_constraint_defined, o->push_ifconfig_constraint_network,
        o->push_ifconfig_constraint_netmask);
    add(od, CLUSTER_DIGEST_POOL, "ifconfig-pool", "%d %x %x %x", o->ifconfig_pool_defined,
        o->ifconfig_pool_start, o->ifconfig_pool_end, o->ifconfig_pool_netmask);
    add(od, CLUSTER_DIGEST_POOL, "ifconfig-ipv6-pool", "%d %s %d", o->ifconfig_ipv6_pool_defined,
        print_in6_addr(o->ifconfig_ipv6_pool_base, 0, &gc), o->ifconfig_ipv6_pool_netbits);
    add(od, CLUSTER_DIGEST_CLIENTS, "max-clients", "%d", o->max_clients);
    add(od, CLUSTER_DIGEST_CLIENTS, "max-routes-per-client", "%d", o->max_routes_per_client);
    add(od, CLUSTER_DIGEST_CLIENTS, "duplicate-cn", "%d", o->duplicate_cn);
    add(od, CLUSTER_DIGEST_CLIENTS, "client-to-client", "%d", o->enable_c2c);
    if (dev_type_enum(o->dev, o->dev_type) == DEV_TYPE_TAP)
    {
        add(od, CLUSTER_DIGEST_SERVER, "dev-type", "tap");
        add(od, CLUSTER_DIGEST_SERVER, "vlan-tagging", "%d %d %d", o->vlan_tagging, o->vlan_accept,
            o->vlan_pvid);
    }
    for (const struct push_entry *e = o->push_list.head; e; e = e->next)
    {
        add(od, CLUSTER_DIGEST_PUSH, "push", "%s", e->enable ? e->option : "");
    }
    gc_free(&gc);
}

static void
to_hex(const uint8_t *digest, int size, char *hex)
{
    struct gc_arena gc = gc_new();

    strncpynt(hex, format_hex_ex(digest, size, 0, 1, NULL, &gc), 2 * size + 1);
    gc_free(&gc);
}

void
cluster_options_digest(const struct options *o, sa_family_t family, char *text)
{
    struct options_digest od = { .all = md_ctx_new() };
    uint8_t digest[SHA256_DIGEST_LENGTH];

    md_ctx_init(od.all, "SHA256");
    add_transport(&od, o, family);
    add_tls(&od, o);
    add_access(&od, o);
    add_scripts(&od, o);
    add_token(&od, o);
    add_data_channel(&od, o);
    add_network(&od, o);
    md_ctx_final(od.all, digest);
    md_ctx_free(od.all);
    memcpy(digest + DIGEST_BYTES - sizeof(od.hint), od.hint, sizeof(od.hint));
    openvpn_snprintf(text, CLUSTER_DIGEST_SIZE, "%d:", DIGEST_VERSION);
    to_hex(digest, DIGEST_BYTES, text + strlen(text));
}

void
cluster_cert_digest(const struct tls_root_ctx *ctx, char *cert, char *issuer)
{
    const X509 *x509 = SSL_CTX_get0_certificate(ctx->ctx);
    uint8_t digest[SHA256_DIGEST_LENGTH];

    strncpynt(cert, "-", CLUSTER_DIGEST_SIZE);
    strncpynt(issuer, "-", CLUSTER_DIGEST_SIZE);
    if (x509 && X509_digest(x509, EVP_sha256(), digest, NULL))
    {
        to_hex(digest, sizeof(digest), cert);
    }
    if (x509 && X509_NAME_digest(X509_get_issuer_name(x509), EVP_sha256(), digest, NULL))
    {
        to_hex(digest, sizeof(digest), issuer);
    }
}

#endif /* ifdef ENABLE_CLUSTER */
