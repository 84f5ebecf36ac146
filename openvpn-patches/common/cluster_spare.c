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
 * @file cluster_spare.c
 * Two processes with the same descriptors; see cluster_spare.h.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#include <sys/file.h>

#ifdef ENABLE_CLUSTER

#include "buffer.h"
#include "cluster_spare.h"
#include "error.h"
#include "platform.h"

#include "memdbg.h"

/** Room for more descriptors than there may be: those that have no room are
 * closed by the kernel, and it shows only that there were more. */
#define ROOM 8

struct cluster_spare cluster_spare = { .fd = { -1, -1 }, .pid_fd = -1, .lock_fd = -1,
                                       .others_fd = -1 }; /* GLOBAL */

/** Came along with the line that is being read. */
static struct
{
    bool there;
    bool read;                          /**< the line has been read */
    int fd[CLUSTER_DESCRIPTORS];
} received; /* GLOBAL */

/** Go along with a line that is to be sent. */
static struct
{
    bool due;
    size_t after;                       /**< bytes that are sent before */
    int fd[CLUSTER_DESCRIPTORS];
} given; /* GLOBAL */

/*
 * Addresses
 */

bool
cluster_bound_get(int sd, struct cluster_bound *bound)
{
    socklen_t len = sizeof(bound->v6only);

    CLEAR(*bound);
    bound->len = sizeof(bound->addr);
    if (getsockname(sd, (struct sockaddr *)&bound->addr, &bound->len))
    {
        bound->len = 0;
        return false;
    }
    if (bound->addr.ss_family == AF_INET6)
    {
        getsockopt(sd, IPPROTO_IPV6, IPV6_V6ONLY, &bound->v6only, &len);
    }
    len = sizeof(bound->dev);
    getsockopt(sd, SOL_SOCKET, SO_BINDTODEVICE, bound->dev, &len);
    return true;
}

static bool
prepare(int sd, const struct cluster_bound *bound)
{
    const int on = 1;

    if (bound->addr.ss_family == AF_INET6)
    {
        setsockopt(sd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
        setsockopt(sd, IPPROTO_IPV6, IPV6_V6ONLY, &bound->v6only, sizeof(bound->v6only));
    }
    else
    {
        setsockopt(sd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
    }
    return !bound->dev[0]
           || !setsockopt(sd, SOL_SOCKET, SO_BINDTODEVICE, bound->dev, strlen(bound->dev) + 1);
}

int
cluster_bound_try(const struct cluster_bound *bound)
{
    const int sd = socket(bound->addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
    int ret = 0;

    if (sd < 0)
    {
        return errno;
    }
    if (!prepare(sd, bound) || bind(sd, (const struct sockaddr *)&bound->addr, bound->len))
    {
        ret = errno;
    }
    close(sd);
    return ret;
}

/** Of how many bytes the name of the directory of a file is, which may be none. */
static int
directory_of(const char *name)
{
    const char *slash = strrchr(name, '/');

    return slash ? (int)(slash - name) + 1 : 0;
}

/** A number that no other network namespace has. */
static unsigned long
network(void)
{
    struct stat net = { 0 };

    stat("/proc/self/ns/net", &net);
    return (unsigned long)net.st_ino;
}

/**
 * The name of a file for that port, beside another file, which no process of another
 * port has, nor one of another network namespace.
 *
 * @return whether it has room
 */
static bool
name_of(const struct cluster_bound *bound, const char *beside, char *name, size_t size)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&bound->addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&bound->addr;
    const bool is_v6 = bound->addr.ss_family == AF_INET6;
    char text[INET6_ADDRSTRLEN] = "";

    inet_ntop(bound->addr.ss_family,
              is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr,
              text, sizeof(text));
    const int len = snprintf(name, size, "%.*s.cluster-spare-%s-%d-%s-%lu", directory_of(beside),
                             beside, text, ntohs(is_v6 ? v6->sin6_port : v4->sin_port), bound->dev,
                             network());
    return len > 0 && (size_t)len < size;
}

/** Is it a file that only we, or root, can have opened? */
static bool
is_ours(int fd)
{
    struct stat st;

    return !fstat(fd, &st) && S_ISREG(st.st_mode) && !(st.st_mode & (S_IRWXG | S_IRWXO))
           && (st.st_uid == geteuid() || !st.st_uid);
}

/**
 * A file for a lock, which nobody else can hold.
 *
 * @return a descriptor; -1, with why there is none
 */
static int
open_ours(const char *name)
{
    const int fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd >= 0 && !is_ours(fd))
    {
        close(fd);
        errno = EPERM;
        return -1;
    }
    return fd;
}

int
cluster_bound_lock(const struct cluster_bound *bound, const char *beside)
{
    char name[PATH_MAX];

    if (!name_of(bound, beside, name, sizeof(name)))
    {
        errno = ENAMETOOLONG;
        return -1;
    }
    const int fd = open_ours(name);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB))
    {
        const int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

bool
cluster_bound_match(const struct cluster_bound *bound, const struct addrinfo *list)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&bound->addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&bound->addr;

    for (; list; list = list->ai_next)
    {
        const struct sockaddr_in *want4 = (const struct sockaddr_in *)list->ai_addr;
        const struct sockaddr_in6 *want6 = (const struct sockaddr_in6 *)list->ai_addr;
        if (list->ai_family != bound->addr.ss_family)
        {
            continue;
        }
        if (list->ai_family == AF_INET && v4->sin_port == want4->sin_port
            && v4->sin_addr.s_addr == want4->sin_addr.s_addr)
        {
            return true;
        }
        if (list->ai_family == AF_INET6 && v6->sin6_port == want6->sin6_port
            && IN6_ARE_ADDR_EQUAL(&v6->sin6_addr, &want6->sin6_addr))
        {
            return true;
        }
    }
    return false;
}

/*
 * Other processes of this server
 */

/** Add what tells this file from another one of the same name: its directory. */
static bool
add_file(struct buffer *out, const char *file)
{
    const int directory = directory_of(file);
    char name[PATH_MAX];
    struct stat st;

    return !access(file, F_OK)
           && snprintf(name, sizeof(name), "%.*s", directory, file) < (int)sizeof(name)
           && !stat(directory ? name : ".", &st)
           && buf_printf(out, "-%s-%lu-%lu", file + directory, (unsigned long)st.st_dev,
                         (unsigned long)st.st_ino);
}

void
cluster_others_find(const char *configs, const char *beside)
{
    struct gc_arena gc = gc_new();
    struct buffer name = alloc_buf_gc(PATH_MAX, &gc);
    struct buffer rest = string_alloc_buf(configs ? configs : "", &gc);
    char file[PATH_MAX];
    bool ok = configs && cluster_spare.others_fd < 0
              && buf_printf(&name, "%.*s.cluster-server", directory_of(beside), beside);

    while (ok && buf_parse(&rest, '\n', file, sizeof(file)))
    {
        ok = add_file(&name, file);
    }
    if (ok && buf_printf(&name, "-%lu", network()))
    {
        cluster_spare.others_fd = open_ours(BSTR(&name));
    }
    if (configs && cluster_spare.others_fd < 0)
    {
        msg(M_WARN | M_ERRNO, "CLUSTER: processes of this configuration cannot know each other "
            "by a file, %s", ok ? BSTR(&name) : "as its name would be too long or a "
            "configuration is not found from here");
    }
    gc_free(&gc);
}

/** Change the lock of this process, unless another one's is in the way. */
static bool
lock_others(short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

    return !fcntl(cluster_spare.others_fd, F_SETLK, &lock);
}

/** Has no other process a lock that would be in the way of this one? */
static bool
could_lock(short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

    return fcntl(cluster_spare.others_fd, F_GETLK, &lock) || lock.l_type == F_UNLCK;
}

enum cluster_others
cluster_others_exclude(void)
{
    if (cluster_spare.others_fd < 0 || lock_others(F_WRLCK) || (errno != EAGAIN && errno != EACCES))
    {
        return CLUSTER_OTHERS_NONE;
    }
    return could_lock(F_RDLCK) ? CLUSTER_OTHERS_HAVE : CLUSTER_OTHERS_OPEN;
}

void
cluster_others_join(void)
{
    if (cluster_spare.others_fd >= 0)
    {
        lock_others(F_RDLCK);
    }
}

void
cluster_others_leave(void)
{
    if (cluster_spare.others_fd >= 0)
    {
        lock_others(F_UNLCK);
    }
}

long
cluster_others_pid(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return cluster_spare.others_fd < 0 || fcntl(cluster_spare.others_fd, F_GETLK, &lock)
           || lock.l_type == F_UNLCK || lock.l_pid < 0 ? 0 : (long)lock.l_pid;
}

bool
cluster_others_gone(void)
{
    return cluster_spare.others_fd >= 0 && could_lock(F_WRLCK);
}

/*
 * Descriptors that were brought
 */

static bool
is_udp(int sd)
{
    int type = 0, protocol = 0;
    socklen_t len = sizeof(type);

    return !getsockopt(sd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_DGRAM
           && !getsockopt(sd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) && protocol == IPPROTO_UDP;
}

static uint16_t
port_of(const struct sockaddr *addr)
{
    return ntohs(addr->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)addr)->sin6_port
                 : ((const struct sockaddr_in *)addr)->sin_port);
}

static const char *
address_of(const struct sockaddr *addr, char text[INET6_ADDRSTRLEN])
{
    const void *bytes = addr->sa_family == AF_INET6
                        ? (const void *)&((const struct sockaddr_in6 *)addr)->sin6_addr
                        : (const void *)&((const struct sockaddr_in *)addr)->sin_addr;

    return inet_ntop(addr->sa_family, bytes, text, INET6_ADDRSTRLEN) ? text : "none";
}

/** Say which option it is by which a socket differs from what is wanted. */
static bool
refuse_bound(const struct cluster_bound *bound, const struct addrinfo *list,
             struct cluster_reason *why)
{
    const struct sockaddr *has = (const struct sockaddr *)&bound->addr;
    char here[INET6_ADDRSTRLEN], there[INET6_ADDRSTRLEN];

    while (list && list->ai_family != has->sa_family)
    {
        list = list->ai_next;
    }
    if (!list)
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE, "proto or local differs: the socket is "
                              "bound to %s, the configuration has no such address",
                              address_of(has, here));
    }
    if (port_of(has) != port_of(list->ai_addr))
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE,
                              "port differs: the socket has %d, the configuration says %d",
                              port_of(has), port_of(list->ai_addr));
    }
    return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE,
                          "local differs: the socket has %s, the configuration says %s",
                          address_of(has, here), address_of(list->ai_addr, there));
}

bool
cluster_spare_check_link(int sd, const struct addrinfo *list, const char *bind_dev,
                         struct cluster_reason *why)
{
    struct cluster_bound bound;

    if (!is_udp(sd) || !cluster_bound_get(sd, &bound))
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE, "the first descriptor is no UDP socket");
    }
    if (!cluster_bound_match(&bound, list))
    {
        return refuse_bound(&bound, list, why);
    }
    if (strcmp(bound.dev, bind_dev ? bind_dev : ""))
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE,
                              "bind-dev differs: the socket has %s, the configuration says %s",
                              bound.dev[0] ? bound.dev : "none", bind_dev ? bind_dev : "none");
    }
    return true;
}

/** Does \c --dev say which one it is to be? */
static bool
is_named(const char *dev)
{
    return strcmp(dev, "tun") && strcmp(dev, "tap");
}

bool
cluster_spare_check_tun(const struct ifreq *ifr, const char *dev, const char *dev_type,
                        struct cluster_reason *why)
{
    const char *type = dev_type ? dev_type : dev;
    const short want = !strncmp(type, "tap", 3) ? IFF_TAP : IFF_TUN;

    if ((ifr->ifr_flags & (IFF_TUN | IFF_TAP)) != want)
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE, "%s is no %s", ifr->ifr_name,
                              want == IFF_TAP ? "tap" : "tun");
    }
    if (!(ifr->ifr_flags & IFF_NO_PI) || (ifr->ifr_flags & (IFF_VNET_HDR | IFF_MULTI_QUEUE)))
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE, "%s was not opened by OpenVPN",
                              ifr->ifr_name);
    }
    if (is_named(dev) && strcmp(dev, ifr->ifr_name))
    {
        return cluster_refuse(why, CLUSTER_CODE_UNSUITABLE,
                              "dev differs: the device is %s, the configuration says %s", ifr->ifr_name, dev);
    }
    return true;
}

static void
close_all(int *fd, int n)
{
    for (int i = 0; i < n; ++i)
    {
        if (fd[i] >= 0)
        {
            close(fd[i]);
            fd[i] = -1;
        }
    }
}

static void
forget_received(void)
{
    if (received.there)
    {
        received.there = false;
        close_all(received.fd, CLUSTER_DESCRIPTORS);
    }
}

void
cluster_spare_drop(void)
{
    close_all(cluster_spare.fd, CLUSTER_DESCRIPTORS);
    forget_received();
}

/**
 * All descriptors of a message, which are ours now.
 *
 * @return their number
 */
static int
descriptors_of(struct msghdr *message, int fd[ROOM])
{
    int n = 0;

    for (struct cmsghdr *one = CMSG_FIRSTHDR(message); one; one = CMSG_NXTHDR(message, one))
    {
        if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SCM_RIGHTS)
        {
            const int here = (int)((one->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(fd + n, CMSG_DATA(one), here * sizeof(int));
            n += here;
        }
    }
    return n;
}

static void
keep_received(struct msghdr *message)
{
    int fd[ROOM];
    const int n = descriptors_of(message, fd);

    if (!n)
    {
        return;
    }
    forget_received();
    if (n != CLUSTER_DESCRIPTORS || (message->msg_flags & MSG_CTRUNC))
    {
        close_all(fd, n);
        return;
    }
    memcpy(received.fd, fd, sizeof(received.fd));
    received.there = true;
    received.read = false;
}

ssize_t
cluster_spare_recv(int sd, void *data, size_t size)
{
    union
    {
        struct cmsghdr head;
        char room[CMSG_SPACE(ROOM * sizeof(int))];
    } control;
    struct iovec part = { data, size };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1,
        .msg_control = control.room, .msg_controllen = sizeof(control.room)
    };

    if (received.read || !cluster_spare.waiting)
    {
        forget_received();
    }
    if (!cluster_spare.waiting)
    {
        return recv(sd, data, size, MSG_NOSIGNAL);
    }
    const ssize_t len = recvmsg(sd, &message, MSG_NOSIGNAL | MSG_CMSG_CLOEXEC);
    if (len > 0)
    {
        keep_received(&message);
        received.read = ((const char *)data)[len - 1] == '\n';
    }
    else if (len == 0)
    {
        forget_received();
    }
    return len;
}

bool
cluster_spare_received(int fd[CLUSTER_DESCRIPTORS])
{
    const bool there = received.there;

    if (there)
    {
        memcpy(fd, received.fd, sizeof(received.fd));
        received.there = false;
    }
    return there;
}

/*
 * Descriptors that are given
 */

void
cluster_spare_give(const int fd[CLUSTER_DESCRIPTORS], size_t after)
{
    memcpy(given.fd, fd, sizeof(given.fd));
    given.after = after;
    given.due = true;
}

/** Send the first bytes together with the descriptors. */
static ssize_t
send_given(int sd, const void *data, size_t size)
{
    union
    {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(given.fd))];
    } control;
    struct iovec part = { (void *)data, size };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1,
        .msg_control = control.room, .msg_controllen = sizeof(control.room)
    };

    CLEAR(control);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(given.fd));
    memcpy(CMSG_DATA(head), given.fd, sizeof(given.fd));
    return sendmsg(sd, &message, MSG_NOSIGNAL);
}

ssize_t
cluster_spare_send(int sd, const void *data, size_t size)
{
    ssize_t sent;

    if (!given.due)
    {
        return send(sd, data, size, MSG_NOSIGNAL);
    }
    if (!given.after)
    {
        sent = send_given(sd, data, size);
        given.due = sent <= 0;
        cluster_spare.given |= sent > 0;
        return sent;
    }
    sent = send(sd, data, size < given.after ? size : given.after, MSG_NOSIGNAL);
    given.after -= sent > 0 ? (size_t)sent : 0;
    return sent;
}

void
cluster_spare_gone(void)
{
    given.due = false;
}

/*
 * What both have
 */

void
cluster_spare_unlock(void)
{
    if (cluster_spare.lock_fd >= 0)
    {
        /* a child may have inherited it */
        flock(cluster_spare.lock_fd, LOCK_UN);
        close(cluster_spare.lock_fd);
        cluster_spare.lock_fd = -1;
    }
}

static int
receive_buffer(int sd)
{
    int value = 0;
    socklen_t len = sizeof(value);

    /* the kernel counts its own part, too */
    return getsockopt(sd, SOL_SOCKET, SO_RCVBUF, &value, &len) ? 0 : value / 2;
}

void
cluster_spare_raise_buffer(int sd, int configured)
{
    const int want = configured > CLUSTER_SPARE_RCVBUF ? configured : CLUSTER_SPARE_RCVBUF;
    const int before = receive_buffer(sd);

    if (before >= want)
    {
        return;
    }
    if (setsockopt(sd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof(want)))
    {
        setsockopt(sd, SOL_SOCKET, SO_RCVBUF, &want, sizeof(want));
    }
    if (receive_buffer(sd) < before)
    {
        setsockopt(sd, SOL_SOCKET, SO_RCVBUF, &before, sizeof(before));
    }
    if (receive_buffer(sd) < want)
    {
        msg(M_WARN, "CLUSTER: the receive buffer has %d bytes, %d are wanted while no process reads: "
            "CAP_NET_ADMIN or net.core.rmem_max gives them", receive_buffer(sd), want);
    }
}

static void
keep_fd(int fd)
{
    if (cluster_spare.pid_fd >= 0)
    {
        close(cluster_spare.pid_fd);
    }
    cluster_spare.pid_fd = fd;
}

void
cluster_spare_keep_pid(const char *name, const char *chroot_dir)
{
    if (cluster_spare.pid_fd_only)
    {
        return; /* begun anew, behind the chroot */
    }
    free(cluster_spare.pid_file);
    cluster_spare.pid_file = name ? string_alloc(name, NULL) : NULL;
    keep_fd(name ? platform_open(name, O_WRONLY | O_CLOEXEC | (chroot_dir ? O_CREAT : 0), 0644)
            : -1);
    cluster_spare.pid_fd_only = name && chroot_dir;
}

void
cluster_spare_write_pid(void)
{
    char text[16];

    if (!cluster_spare.pid_file)
    {
        return;
    }
    const int fd = cluster_spare.pid_fd_only
                   ? -1 : platform_open(cluster_spare.pid_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0)
    {
        keep_fd(fd);
    } /* else, with fewer rights now, into the file that was there before */
    const int len = snprintf(text, sizeof(text), "%u\n", platform_getpid());
    if (pwrite(cluster_spare.pid_fd, text, len, 0) != len || ftruncate(cluster_spare.pid_fd, len))
    {
        msg(M_WARN | M_ERRNO, "CLUSTER: cannot write the pid file %s", cluster_spare.pid_file);
    }
}

bool
cluster_spare_remove_pid(void)
{
    unsigned int pid = 0;

    if (!cluster_spare.wanted)
    {
        return false;
    }
    if (cluster_spare.pid_fd_only)
    {
        return true;
    }
    FILE *file = cluster_spare.pid_file ? platform_fopen(cluster_spare.pid_file, "r") : NULL;
    if (file)
    {
        const bool ours = fscanf(file, "%u", &pid) == 1 && pid == platform_getpid();
        fclose(file);
        if (ours)
        {
            platform_unlink(cluster_spare.pid_file);
        }
    }
    return true;
}

#endif /* ifdef ENABLE_CLUSTER */
