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

/*
 * Tests of cluster_spare.c: descriptors that travel over a socket, what of them
 * suits, and the files of two processes; and of cluster_patience.h, which says how
 * long what a process says at its end is waited for to be read.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "syshead.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#ifdef ENABLE_CLUSTER

#include "cluster_patience.h"
#include "cluster_spare.h"
#include "cluster_spare_settings.h"
#include "mock_msg.h"
#include "platform.h"
#include "socket.h"

struct cluster *cluster; /* GLOBAL */

static char pid_file[] = "/tmp/cluster-spare-XXXXXX";

/*
 * Descriptors that travel
 */

/** Two ends of a management connection, one of which waits. */
struct ends
{
    int sidecar, openvpn;
};

static struct ends
connected(void)
{
    int sd[2];

    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sd));
    cluster_spare.waiting = true;
    return (struct ends) { sd[0], sd[1] };
}

static void
disconnected(struct ends *ends)
{
    char data[8];

    close(ends->sidecar);
    while (cluster_spare_recv(ends->openvpn, data, sizeof(data)) > 0)
    {
    }
    close(ends->openvpn);
    cluster_spare.waiting = false;
}

/** Send a text along with the ends of so many pipes to read from, of which the
 * other ends are kept: writing to one fails once nobody can read it. */
static void
send_pipes(int sd, const char *text, int n, int *kept)
{
    union
    {
        struct cmsghdr head;
        char room[CMSG_SPACE(16 * sizeof(int))];
    } control = { 0 };
    struct iovec part = { (void *)text, strlen(text) };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room };
    int fd[16];

    for (int i = 0; i < n; ++i)
    {
        int ends[2];
        assert_int_equal(0, pipe(ends));
        fd[i] = ends[0];
        kept[i] = ends[1];
    }
    message.msg_controllen = CMSG_SPACE(n * sizeof(int));
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(head), fd, n * sizeof(int));
    assert_int_equal(strlen(text), sendmsg(sd, &message, 0));
    for (int i = 0; i < n; ++i)
    {
        close(fd[i]);
    }
}

/** Close what is kept; how many of them somebody can still read? */
static int
still_open(int *kept, int n)
{
    int open = 0;

    for (int i = 0; i < n; ++i)
    {
        open += write(kept[i], "x", 1) == 1;
        close(kept[i]);
    }
    return open;
}

static void
two_come_with_their_line(void **state)
{
    struct ends ends = connected();
    char data[64];
    int kept[2], fd[CLUSTER_DESCRIPTORS];

    assert_false(cluster_spare_received(fd));
    send_pipes(ends.sidecar, "cluster-take\n", 2, kept);
    assert_int_equal(13, cluster_spare_recv(ends.openvpn, data, sizeof(data)));
    assert_true(cluster_spare_received(fd));
    assert_true(fcntl(fd[0], F_GETFD) & FD_CLOEXEC);
    assert_false(cluster_spare_received(fd)); /* once */
    assert_int_equal(2, write(kept[0], "ab", 2));
    assert_int_equal(2, read(fd[0], data, sizeof(data)));
    close(fd[0]);
    close(fd[1]);
    disconnected(&ends);
    assert_int_equal(0, still_open(kept, 2));
}

static void
they_wait_for_the_rest_of_the_line(void **state)
{
    struct ends ends = connected();
    char data[64];
    int kept[2], fd[CLUSTER_DESCRIPTORS];

    send_pipes(ends.sidecar, "cluster-ta", 2, kept);
    assert_int_equal(10, cluster_spare_recv(ends.openvpn, data, sizeof(data)));
    assert_int_equal(3, write(ends.sidecar, "ke\n", 3));
    assert_int_equal(3, cluster_spare_recv(ends.openvpn, data, sizeof(data)));
    assert_true(cluster_spare_received(fd));
    close(fd[0]);
    close(fd[1]);
    disconnected(&ends);
    assert_int_equal(0, still_open(kept, 2));
}

static void
another_line_closes_what_came_with_the_last(void **state)
{
    struct ends ends = connected();
    char data[64];
    int kept[2], fd[CLUSTER_DESCRIPTORS];

    send_pipes(ends.sidecar, "cluster-status\n", 2, kept);
    assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
    assert_int_equal(13, write(ends.sidecar, "cluster-take\n", 13));
    assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
    assert_false(cluster_spare_received(fd));
    assert_int_equal(0, still_open(kept, 2));
    disconnected(&ends);
}

static void
newer_ones_close_older_ones(void **state)
{
    struct ends ends = connected();
    char data[64];
    int older[2], newer[2], fd[CLUSTER_DESCRIPTORS];

    send_pipes(ends.sidecar, "cluster-", 2, older);
    assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
    send_pipes(ends.sidecar, "take\n", 2, newer);
    assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
    assert_int_equal(0, still_open(older, 2));
    assert_true(cluster_spare_received(fd));
    close(fd[0]);
    close(fd[1]);
    disconnected(&ends);
    assert_int_equal(0, still_open(newer, 2));
}

static void
who_disconnects_takes_them_back(void **state)
{
    struct ends ends = connected();
    char data[64];
    int kept[2], fd[CLUSTER_DESCRIPTORS];

    send_pipes(ends.sidecar, "cluster-ta", 2, kept);
    assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
    disconnected(&ends);
    assert_false(cluster_spare_received(fd));
    assert_int_equal(0, still_open(kept, 2));
}

static void
what_was_not_taken_while_it_waited_is_closed(void **state)
{
    struct ends ends = connected();
    char data[64];
    int first[2], second[2], fd[CLUSTER_DESCRIPTORS];

    send_pipes(ends.sidecar, "cluster-ta", 2, first);
    assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
    cluster_spare_drop();
    assert_int_equal(0, still_open(first, 2));
    send_pipes(ends.sidecar, "cluster-ta", 2, second);
    assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
    cluster_spare.waiting = false; /* nobody has the port any more */
    assert_int_equal(3, write(ends.sidecar, "ke\n", 3));
    assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
    assert_false(cluster_spare_received(fd));
    assert_int_equal(0, still_open(second, 2));
    disconnected(&ends);
}

static void
another_number_is_closed(void **state)
{
    static const int numbers[] = { 1, 3, 8, 9, 16 };

    for (size_t i = 0; i < SIZE(numbers); ++i)
    {
        struct ends ends = connected();
        char data[64];
        int kept[16], fd[CLUSTER_DESCRIPTORS];

        send_pipes(ends.sidecar, "cluster-take\n", numbers[i], kept);
        assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
        assert_false(cluster_spare_received(fd));
        assert_int_equal(0, still_open(kept, numbers[i]));
        disconnected(&ends);
    }
}

static void
nobody_waits_nobody_takes(void **state)
{
    struct ends ends = connected();
    char data[64];
    int kept[2], fd[CLUSTER_DESCRIPTORS];

    cluster_spare.waiting = false;
    send_pipes(ends.sidecar, "cluster-take\n", 2, kept);
    assert_true(cluster_spare_recv(ends.openvpn, data, sizeof(data)) > 0);
    assert_false(cluster_spare_received(fd));
    assert_int_equal(0, still_open(kept, 2));
    disconnected(&ends);
}

/** Read so many bytes at most. Returns the number of descriptors that came. */
static int
read_with(int sd, char *data, size_t size, ssize_t *len)
{
    char room[CMSG_SPACE(8 * sizeof(int))];
    struct iovec part = { data, size };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)
    };
    int n = 0, fd[8];

    *len = recvmsg(sd, &message, 0);
    struct cmsghdr *head = *len > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head)
    {
        n = (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fd, CMSG_DATA(head), n * sizeof(int));
        for (int i = 0; i < n; ++i)
        {
            close(fd[i]);
        }
    }
    return n;
}

static void
they_go_with_the_first_byte_of_their_line(void **state)
{
    struct ends ends = connected();
    const char text[] = "before\r\nSUCCESS: cluster-descriptors\r\nbehind\r\n";
    char data[64];
    ssize_t len;
    const int fd[CLUSTER_DESCRIPTORS] = { dup(0), dup(0) };

    cluster_spare.given = false;
    cluster_spare_give(fd, 8);
    assert_false(cluster_spare.given); /* they have not left */
    assert_int_equal(8, cluster_spare_send(ends.openvpn, text, strlen(text)));
    assert_int_equal(0, read_with(ends.sidecar, data, sizeof(data), &len));
    assert_int_equal(8, len);
    assert_int_equal(strlen(text) - 8, cluster_spare_send(ends.openvpn, text + 8, strlen(text) - 8));
    assert_true(cluster_spare.given);
    assert_int_equal(2, read_with(ends.sidecar, data, 1, &len));
    assert_int_equal('S', data[0]);
    assert_int_equal(0, read_with(ends.sidecar, data, sizeof(data), &len));
    close(fd[0]);
    close(fd[1]);
    cluster_spare.given = false;
    disconnected(&ends);
}

static void
who_is_gone_gets_nothing(void **state)
{
    struct ends ends = connected();
    const int fd[CLUSTER_DESCRIPTORS] = { 0, 0 };
    char data[64];
    ssize_t len;

    cluster_spare_give(fd, 0);
    cluster_spare_gone();
    assert_int_equal(2, cluster_spare_send(ends.openvpn, "ok", 2));
    assert_int_equal(0, read_with(ends.sidecar, data, sizeof(data), &len));
    assert_false(cluster_spare.given);
    disconnected(&ends);
}

/*
 * What is written at the end
 */

/** Milliseconds between two bytes of somebody who reads as slowly as he can. */
#define SLOWLY 60

/** Write as long as somebody is waited for: a child who reads now and then, if \c reads.
 *
 * @return milliseconds that it took
 */
static int64_t
write_all(bool reads, int *left)
{
    const int size = 1;
    char data[1024] = "";
    int sd[2];

    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sd));
    assert_int_equal(0, setsockopt(sd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
    const pid_t reader = fork();
    if (!reader)
    {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (close(sd[0]); reads && read(sd[1], data, sizeof(data)) > 0; usleep(SLOWLY * 1000))
        {
        }
        for (;;)
        {
            pause();
        }
    }
    const int64_t begin = cluster_patience_now();
    while (cluster_patience_wait(sd[0], left) && cluster_patience_now() - begin < 20000)
    {
        send(sd[0], data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    const int64_t took = cluster_patience_now() - begin;
    kill(reader, SIGKILL);
    waitpid(reader, NULL, 0);
    close(sd[0]);
    close(sd[1]);
    return took;
}

static void
who_reads_slowly_is_waited_for_so_long_in_all(void **state)
{
    int left = CLUSTER_PATIENCE_ALL;
    const int64_t took = write_all(true, &left);

    assert_int_equal(0, left);
    assert_true(took >= CLUSTER_PATIENCE_ALL && took < 3 * CLUSTER_PATIENCE_ALL);
    assert_int_equal(0, left);
    assert_true(write_all(true, &left) < CLUSTER_PATIENCE_ONCE); /* nothing is left */
}

static void
who_reads_nothing_is_waited_for_once(void **state)
{
    int left = CLUSTER_PATIENCE_ALL;
    const int64_t took = write_all(false, &left);

    assert_true(took >= CLUSTER_PATIENCE_ONCE && took < CLUSTER_PATIENCE_ALL);
    assert_true(left > 0 && left <= CLUSTER_PATIENCE_ALL - CLUSTER_PATIENCE_ONCE);
}

static void
take_signal(int number)
{
}

static void
signals_neither_end_a_wait_nor_begin_it_anew(void **state)
{
    const struct itimerval often = { { 0, 50000 }, { 0, 50000 } }, never = { { 0, 0 }, { 0, 0 } };
    const struct sigaction action = { .sa_handler = take_signal }; /* without SA_RESTART */
    struct sigaction before;
    int left = CLUSTER_PATIENCE_ALL;

    assert_int_equal(0, sigaction(SIGALRM, &action, &before));
    assert_int_equal(0, setitimer(ITIMER_REAL, &often, NULL));
    const int64_t took = write_all(false, &left);
    assert_int_equal(0, setitimer(ITIMER_REAL, &never, NULL));
    assert_int_equal(0, sigaction(SIGALRM, &before, NULL));
    assert_true(took >= CLUSTER_PATIENCE_ONCE && took < CLUSTER_PATIENCE_ALL);
}

static void
where_there_is_room_nobody_waits(void **state)
{
    int sd[2], left = CLUSTER_PATIENCE_ALL;

    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sd));
    assert_true(cluster_patience_wait(sd[0], &left));
    assert_true(left > CLUSTER_PATIENCE_ALL - CLUSTER_PATIENCE_ONCE);
    close(sd[0]);
    close(sd[1]);
}

/*
 * What suits
 */

static struct sockaddr_in
v4(uint32_t addr, uint16_t port)
{
    return (struct sockaddr_in) {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(addr), .sin_port = htons(port)
    };
}

static int
bound_socket(int type)
{
    struct sockaddr_in addr = v4(INADDR_LOOPBACK, 0);
    const int sd = socket(AF_INET, type, 0);

    assert_true(sd >= 0);
    assert_int_equal(0, bind(sd, (struct sockaddr *)&addr, sizeof(addr)));
    return sd;
}

static void
a_port_is_taken_until_its_socket_is_closed(void **state)
{
    const int sd = bound_socket(SOCK_DGRAM);
    struct cluster_bound bound;

    assert_true(cluster_bound_get(sd, &bound));
    assert_int_equal(EADDRINUSE, cluster_bound_try(&bound));
    close(sd);
    assert_int_equal(0, cluster_bound_try(&bound));
    assert_int_equal(0, cluster_bound_try(&bound)); /* it leaves nothing behind */
    assert_false(cluster_bound_get(sd, &bound));
    assert_int_equal(0, bound.len);
}

/** Where the management sockets of a test would be. */
static char directory[] = "/tmp/cluster-spare-XXXXXX";

static void
make_directory(char *socket, size_t size)
{
    strcpy(directory, "/tmp/cluster-spare-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_true(snprintf(socket, size, "%s/socket", directory) < (int)size);
}

/** The path of a file in it, empty without one. */
static void
find_file(char *name, size_t size)
{
    DIR *dir = opendir(directory);
    struct dirent *one;

    assert_non_null(dir);
    name[0] = 0;
    while ((one = readdir(dir)))
    {
        if (strcmp(one->d_name, ".") && strcmp(one->d_name, ".."))
        {
            snprintf(name, size, "%s/%s", directory, one->d_name);
        }
    }
    closedir(dir);
}

static void
remove_directory(void)
{
    char name[PATH_MAX];

    for (find_file(name, sizeof(name)); name[0]; find_file(name, sizeof(name)))
    {
        assert_int_equal(0, unlink(name));
    }
    assert_int_equal(0, rmdir(directory));
}

static void
one_alone_opens_a_port(void **state)
{
    const int sd = bound_socket(SOCK_DGRAM), other = bound_socket(SOCK_DGRAM);
    struct cluster_bound bound, elsewhere;
    char beside[sizeof(directory) + sizeof("/socket")];

    make_directory(beside, sizeof(beside));
    assert_true(cluster_bound_get(sd, &bound));
    assert_true(cluster_bound_get(other, &elsewhere));
    cluster_spare.lock_fd = cluster_bound_lock(&bound, beside);
    assert_true(cluster_spare.lock_fd >= 0);
    assert_true(fcntl(cluster_spare.lock_fd, F_GETFD) & FD_CLOEXEC); /* not a script's */
    assert_int_equal(-1, cluster_bound_lock(&bound, beside));
    assert_int_equal(EWOULDBLOCK, errno);
    const int another = cluster_bound_lock(&elsewhere, beside);
    assert_true(another >= 0);
    strcpy(bound.dev, "lo");
    const int bound_to_device = cluster_bound_lock(&bound, beside);
    assert_true(bound_to_device >= 0);
    bound.dev[0] = 0;
    cluster_spare_unlock();
    cluster_spare_unlock();
    const int again = cluster_bound_lock(&bound, beside);
    assert_true(again >= 0);
    const int all[] = { sd, other, another, bound_to_device, again };
    for (size_t i = 0; i < SIZE(all); ++i)
    {
        close(all[i]);
    }
    remove_directory();
}

/** Who could make a file there, or whose it is, could hold it for ever. */
static void
nobody_else_holds_the_lock(void **state)
{
    const int sd = bound_socket(SOCK_DGRAM);
    struct cluster_bound bound;
    char beside[sizeof(directory) + sizeof("/socket")], name[PATH_MAX];

    make_directory(beside, sizeof(beside));
    assert_true(cluster_bound_get(sd, &bound));
    close(sd);
    const int ours = cluster_bound_lock(&bound, beside);
    assert_true(ours >= 0);
    find_file(name, sizeof(name));
    struct stat st;
    assert_int_equal(0, stat(name, &st));
    assert_int_equal(0600, st.st_mode & 0777);
    assert_int_equal(0, st.st_size);
    close(ours);

    const int foreign = open(name, O_RDWR);
    assert_int_equal(0, fchmod(foreign, 0644)); /* anybody may have opened it */
    assert_int_equal(0, flock(foreign, LOCK_EX));
    assert_int_equal(-1, cluster_bound_lock(&bound, beside));
    assert_int_equal(EPERM, errno);
    close(foreign);
    assert_int_equal(0, unlink(name));
    assert_int_equal(0, symlink("/dev/null", name));
    assert_int_equal(-1, cluster_bound_lock(&bound, beside));
    assert_int_equal(ELOOP, errno);
    assert_int_equal(0, unlink(name));
    assert_int_equal(0, mkfifo(name, 0600)); /* nobody opens its other end */
    assert_int_equal(-1, cluster_bound_lock(&bound, beside));
    assert_int_equal(EPERM, errno);
    remove_directory();
    assert_int_equal(-1, cluster_bound_lock(&bound, beside));
    assert_int_equal(ENOENT, errno);
}

static void
ports_of_ipv6_are_told_apart(void **state)
{
    struct cluster_bound bound = { .len = sizeof(struct sockaddr_in6) };
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&bound.addr;
    char beside[sizeof(directory) + sizeof("/socket")];

    make_directory(beside, sizeof(beside));
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(1194);
    const int any = cluster_bound_lock(&bound, beside);
    v6->sin6_addr = in6addr_loopback;
    const int loopback = cluster_bound_lock(&bound, beside);
    assert_true(any >= 0 && loopback >= 0);
    assert_int_equal(-1, cluster_bound_lock(&bound, beside));
    close(any);
    close(loopback);
    remove_directory();
}

static void
forget_others(void)
{
    if (cluster_spare.others_fd >= 0)
    {
        close(cluster_spare.others_fd);
        cluster_spare.others_fd = -1;
    }
}

/** What another process of that configuration finds, which opens, or has what is open,
 * or waits; it ends then. */
static enum cluster_others
find_others(const char *config, const char *beside, bool joins)
{
    int status = 0;
    const pid_t other = fork();

    if (!other)
    {
        forget_others();
        cluster_others_find(config, beside);
        const enum cluster_others found = cluster_others_exclude();
        if (joins)
        {
            cluster_others_join();
        }
        _exit(found);
    }
    assert_int_equal(other, waitpid(other, &status, 0));
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
processes_of_a_configuration_know_of_each_other(void **state)
{
    char beside[sizeof(directory) + sizeof("/socket")], config[PATH_MAX], name[PATH_MAX];

    make_directory(beside, sizeof(beside));
    snprintf(config, sizeof(config), "%s/server.conf", directory);
    snprintf(name, sizeof(name), "%s/other.conf", directory);
    assert_true(close(open(config, O_CREAT | O_WRONLY, 0600)) == 0);
    assert_true(close(open(name, O_CREAT | O_WRONLY, 0600)) == 0);
    cluster_others_find(config, beside);
    assert_true(cluster_spare.others_fd >= 0);
    assert_true(fcntl(cluster_spare.others_fd, F_GETFD) & FD_CLOEXEC); /* not a script's */
    assert_int_equal(CLUSTER_OTHERS_NONE, cluster_others_exclude());
    assert_int_equal(CLUSTER_OTHERS_OPEN, find_others(config, beside, false));
    assert_int_equal(CLUSTER_OTHERS_NONE, find_others(name, beside, false));
    cluster_others_join();
    assert_true(cluster_others_gone());
    assert_int_equal(CLUSTER_OTHERS_HAVE, find_others(config, beside, true));
    const pid_t other = fork();
    if (!other)
    {
        forget_others();
        cluster_others_find(config, beside);
        cluster_others_join();
        raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(other, waitpid(other, NULL, WUNTRACED));
    assert_false(cluster_others_gone());
    assert_int_equal(0, kill(other, SIGKILL));
    assert_int_equal(other, waitpid(other, NULL, 0));
    assert_true(cluster_others_gone());
    assert_int_equal(CLUSTER_OTHERS_NONE, cluster_others_exclude()); /* it has ended */
    cluster_others_leave();
    assert_int_equal(CLUSTER_OTHERS_NONE, find_others(config, beside, false));

    /* an editor puts another file in the place of this one */
    assert_int_equal(CLUSTER_OTHERS_NONE, cluster_others_exclude());
    assert_int_equal(0, rename(name, config));
    assert_int_equal(CLUSTER_OTHERS_OPEN, find_others(config, beside, false));
    forget_others();
    remove_directory();
}

/** Two servers may have the most of it in common, in a file that both name first. */
static void
all_files_of_a_configuration_count(void **state)
{
    static const char *const names[] = { "common.conf", "udp1.conf", "udp2.conf" };
    char beside[sizeof(directory) + sizeof("/socket")], file[3][64], both[2][160];

    make_directory(beside, sizeof(beside));
    for (int i = 0; i < 3; ++i)
    {
        snprintf(file[i], sizeof(file[i]), "%s/%s", directory, names[i]);
        assert_true(close(open(file[i], O_CREAT | O_WRONLY, 0600)) == 0);
    }
    snprintf(both[0], sizeof(both[0]), "%s\n%s", file[0], file[1]);
    snprintf(both[1], sizeof(both[1]), "%s\n%s", file[0], file[2]);
    cluster_others_find(both[0], beside);
    assert_true(cluster_spare.others_fd >= 0);
    assert_int_equal(CLUSTER_OTHERS_NONE, cluster_others_exclude());
    cluster_others_join();
    assert_int_equal(0, cluster_others_pid()); /* nobody but this process */
    assert_int_equal(CLUSTER_OTHERS_NONE, find_others(both[1], beside, true));
    assert_int_equal(CLUSTER_OTHERS_NONE, find_others(file[0], beside, true));
    assert_int_equal(CLUSTER_OTHERS_HAVE, find_others(both[0], beside, true));
    const pid_t other = fork();
    if (!other)
    {
        forget_others();
        cluster_others_find(both[0], beside);
        _exit(cluster_others_pid() == getppid() ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(other, waitpid(other, &status, 0));
    assert_int_equal(0, status);
    forget_others();
    snprintf(both[1], sizeof(both[1]), "%s\nnone.conf", file[0]);
    cluster_others_find(both[1], beside);
    assert_int_equal(-1, cluster_spare.others_fd);
    assert_int_equal(0, cluster_others_pid());
    remove_directory();
}

/** Then nobody is known, as where the port alone is looked at. */
static void
a_configuration_without_a_file_is_nobody_s(void **state)
{
    char beside[sizeof(directory) + sizeof("/socket")], name[PATH_MAX];

    make_directory(beside, sizeof(beside));
    snprintf(name, sizeof(name), "%s/server.conf", directory);
    cluster_others_find(NULL, beside);
    cluster_others_find("stdin", beside);
    cluster_others_find(name, beside);
    assert_int_equal(-1, cluster_spare.others_fd);
    assert_true(close(open(name, O_CREAT | O_WRONLY, 0600)) == 0);
    cluster_others_find(name, "/nonexistent/socket");
    assert_int_equal(-1, cluster_spare.others_fd);
    assert_int_equal(CLUSTER_OTHERS_NONE, cluster_others_exclude());
    cluster_others_join();
    cluster_others_leave();
    assert_false(cluster_others_gone());
    remove_directory();
}

static void
an_address_that_is_not_here_can_be_tried(void **state)
{
    struct cluster_bound bound = { .len = sizeof(struct sockaddr_in) };
    struct sockaddr_in elsewhere = v4(0xc0000201, 40000);

    memcpy(&bound.addr, &elsewhere, sizeof(elsewhere));
    assert_int_equal(0, cluster_bound_try(&bound));
}

/** Does it? If not, the reason names the option that differs. */
static bool
suits(int sd, struct sockaddr_in addr, const char *bind_dev, const char *differs)
{
    struct cluster_reason why = { 0 };
    const struct addrinfo other = { .ai_family = AF_INET6 };
    const struct addrinfo list = {
        .ai_family = AF_INET, .ai_addr = (struct sockaddr *)&addr, .ai_next = (struct addrinfo *)&other
    };
    const bool ok = cluster_spare_check_link(sd, &list, bind_dev, &why);

    assert_true(ok || (why.code == CLUSTER_CODE_UNSUITABLE && strstr(why.text, differs)));
    return ok;
}

static void
a_socket_suits_by_kind_address_and_port(void **state)
{
    const int sd = bound_socket(SOCK_DGRAM), tcp = bound_socket(SOCK_STREAM);
    struct cluster_reason why;
    struct cluster_bound bound;

    assert_true(cluster_bound_get(sd, &bound));
    const uint16_t port = ntohs(((struct sockaddr_in *)&bound.addr)->sin_port);
    assert_true(suits(sd, v4(INADDR_LOOPBACK, port), NULL, ""));
    assert_false(suits(sd, v4(INADDR_LOOPBACK, port + 1), NULL, "port differs: the socket has"));
    assert_false(suits(sd, v4(INADDR_LOOPBACK + 1, port), NULL,
                       "local differs: the socket has 127.0.0.1, the configuration says 127.0.0.2"));
    assert_false(suits(sd, v4(INADDR_LOOPBACK, port), "lo",
                       "bind-dev differs: the socket has none, the configuration says lo"));
    assert_false(suits(tcp, v4(INADDR_LOOPBACK, port), NULL, "is no UDP socket"));
    assert_false(suits(0, v4(INADDR_LOOPBACK, port), NULL, "is no UDP socket"));
    assert_false(cluster_spare_check_link(sd, NULL, NULL, &why));
    assert_non_null(strstr(why.text, "proto or local differs: the socket is bound to 127.0.0.1"));
    close(sd);
    close(tcp);
}

static void
a_socket_of_ipv6_suits_likewise(void **state)
{
    struct sockaddr_in6 here = { .sin6_family = AF_INET6, .sin6_port = htons(1194) };
    struct sockaddr_in6 there = here;
    const struct addrinfo list = { .ai_family = AF_INET6, .ai_addr = (struct sockaddr *)&there };
    struct cluster_bound bound = { .len = sizeof(here) };

    memcpy(&bound.addr, &here, sizeof(here));
    assert_true(cluster_bound_match(&bound, &list));
    there.sin6_addr.s6_addr[15] = 1;
    assert_false(cluster_bound_match(&bound, &list));
    there = here;
    there.sin6_port = htons(1195);
    assert_false(cluster_bound_match(&bound, &list));
}

static bool
tun_suits(short flags, const char *dev, const char *dev_type)
{
    struct ifreq ifr = { .ifr_name = "tun5" };
    struct cluster_reason why = { 0 };

    ifr.ifr_flags = flags;
    const bool ok = cluster_spare_check_tun(&ifr, dev, dev_type, &why);
    assert_true(ok || (why.code == CLUSTER_CODE_UNSUITABLE && why.text[0]));
    return ok;
}

static void
a_tun_suits_by_kind_and_name(void **state)
{
    assert_true(tun_suits(IFF_TUN | IFF_NO_PI, "tun5", NULL));
    assert_true(tun_suits(IFF_TUN | IFF_NO_PI, "tun", NULL));
    assert_true(tun_suits(IFF_TUN | IFF_NO_PI, "tun5", "tun"));
    assert_true(tun_suits(IFF_TAP | IFF_NO_PI, "tun5", "tap"));
    assert_false(tun_suits(IFF_TUN | IFF_NO_PI, "tun4", NULL));
    assert_false(tun_suits(IFF_TUN | IFF_NO_PI, "tap", NULL));
    assert_false(tun_suits(IFF_TAP | IFF_NO_PI, "tun", NULL));
    assert_false(tun_suits(IFF_TUN, "tun5", NULL));
    assert_false(tun_suits(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, "tun5", NULL));
    assert_false(tun_suits(IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE, "tun5", NULL));
    assert_false(tun_suits(0, "tun5", NULL));
}

/*
 * What both have
 */

/** A server's options, of which a test changes one. */
struct setting
{
    struct options o;
    struct connection_entry ce;
    struct route_option_list routes;
    struct route_option route[2];
    struct route_ipv6_option_list routes_ipv6;
    struct route_ipv6_option route_ipv6;
};

static void
begin_setting(struct setting *one)
{
    CLEAR(*one);
    one->route[0] = (struct route_option) { &one->route[1], "10.55.0.0", "255.255.0.0", NULL, NULL };
    one->route[1] = (struct route_option) { NULL, "10.56.0.0", "255.255.0.0", NULL, "7" };
    one->route_ipv6.prefix = "2001:db8:1::/64";
    one->routes.routes = one->route;
    one->routes_ipv6.routes_ipv6 = &one->route_ipv6;
    one->o.routes = &one->routes;
    one->o.routes_ipv6 = &one->routes_ipv6;
    one->o.server_defined = one->o.server_ipv6_defined = true;
    one->o.ifconfig_local = "10.8.0.1";
    one->o.ifconfig_remote_netmask = "255.255.255.0";
    one->o.ifconfig_ipv6_local = "fd00::1";
    one->o.ifconfig_ipv6_netbits = 64;
    one->o.topology = TOP_SUBNET;
    one->o.up_script = "/up.sh";
    one->ce.tun_mtu = 1500;
}

/** What is said when one that is configured so is brought what is open. */
static const char *
said(int fd, const struct setting *one, const char *dev)
{
    static struct cluster_reason why;

    CLEAR(why);
    if (cluster_settings_check(fd, &one->o, &one->ce, dev, &why))
    {
        return "";
    }
    assert_int_equal(CLUSTER_CODE_UNSUITABLE, why.code);
    return why.text;
}

/** A file in which is what a server of the usual options has made of "lo". */
static int
written(void)
{
    struct setting usual;
    char name[] = "/tmp/cluster-settings-XXXXXX";
    const int fd = mkstemp(name);

    assert_true(fd >= 0);
    unlink(name);
    begin_setting(&usual);
    cluster_settings_write(fd, &usual.o, &usual.ce, "lo");
    return fd;
}

#define DIFFERS(NAME, HAS, SAYS) \
    NAME " differs: what is open has " HAS ", the configuration says " SAYS

static void
what_was_made_of_a_tun_is_what_is_configured(void **state)
{
    struct setting one;
    const int fd = written();

    begin_setting(&one);
    assert_string_equal("", said(fd, &one, "lo"));
    one.o.ifconfig_local = "10.9.0.1";
    assert_string_equal(DIFFERS("server", "10.8.0.1 255.255.255.0", "10.9.0.1 255.255.255.0"),
                        said(fd, &one, "lo"));
    one.o.server_defined = false;
    assert_string_equal(DIFFERS("ifconfig", "none", "10.9.0.1 255.255.255.0"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.topology = TOP_NET30;
    assert_string_equal(DIFFERS("topology", "subnet", "net30"), said(fd, &one, "lo"));
    one.o.topology = TOP_P2P;
    assert_string_equal(DIFFERS("topology", "subnet", "p2p"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.ce.tun_mtu = 1400;
    assert_string_equal(DIFFERS("tun-mtu", "1500", "1400"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.ifconfig_ipv6_netbits = 112;
    assert_string_equal(DIFFERS("server-ipv6", "fd00::1/64", "fd00::1/112"), said(fd, &one, "lo"));
    one.o.server_ipv6_defined = false;
    assert_string_equal(DIFFERS("ifconfig-ipv6", "none", "fd00::1/112"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.up_script = NULL;
    assert_string_equal(DIFFERS("up", "/up.sh", "none"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.lladdr = "02:00:00:00:00:01";
    assert_string_equal(DIFFERS("lladdr", "none", "02:00:00:00:00:01"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.tuntap_options.txqueuelen = 1000;
    assert_string_equal(DIFFERS("txqueuelen", "none", "1000"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.ifconfig_noexec = true;
    assert_string_equal(DIFFERS("ifconfig-noexec", "none", "yes"), said(fd, &one, "lo"));
    close(fd);
}

static void
so_is_what_was_made_of_routes_and_of_the_socket(void **state)
{
    struct setting one;
    const int fd = written();

    begin_setting(&one);
    one.route[0].network = "10.66.0.0";
    assert_string_equal(DIFFERS("route", "10.55.0.0 255.255.0.0", "10.66.0.0 255.255.0.0"),
                        said(fd, &one, "lo"));
    begin_setting(&one);
    one.route[0].next = NULL;
    assert_string_equal(DIFFERS("route", "10.56.0.0 255.255.0.0 7", "none"), said(fd, &one, "lo"));
    one.routes.routes = &one.route[1];
    one.route[1].next = &one.route[0];
    assert_string_equal("", said(fd, &one, "lo")); /* in another order they are the same */
    begin_setting(&one);
    one.o.routes_ipv6 = NULL;
    assert_string_equal(DIFFERS("route-ipv6", "2001:db8:1::/64", "none"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.route_script = "/routes.sh";
    assert_string_equal(DIFFERS("route-up", "none", "/routes.sh"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.route_default_gateway = "10.8.0.2";
    assert_string_equal(DIFFERS("route-gateway", "none", "10.8.0.2"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.route_ipv6_default_gateway = "fd00::2";
    assert_string_equal(DIFFERS("route-ipv6-gateway", "none", "fd00::2"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.ifconfig_ipv6_remote = "fd00::3";
    assert_string_equal(DIFFERS("ifconfig-ipv6 remote", "none", "fd00::3"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.sockflags = SF_USE_IP_PKTINFO;
    assert_string_equal(DIFFERS("multihome", "none", "yes"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.ce.bind_ipv6_only = true;
    assert_string_equal(DIFFERS("bind ipv6only", "none", "yes"), said(fd, &one, "lo"));
    begin_setting(&one);
    one.o.sndbuf = 65536;
    assert_string_equal(DIFFERS("sndbuf", "none", "65536"), said(fd, &one, "lo"));
    close(fd);
}

/** redirect-gateway for IPv6 alone: OpenVPN adds to its list when it opens the tun. */
static void
what_openvpn_adds_to_its_routes_is_no_change(void **state)
{
    struct setting one;
    struct options_pre_connect before;
    struct route_ipv6_option_list configured;
    struct route_ipv6_option added = { .prefix = "2000::/4" };
    const int fd = written();

    begin_setting(&one);
    CLEAR(before);
    configured = one.routes_ipv6;
    before.routes_ipv6 = &configured;
    before.routes_ipv6_defined = true;
    one.o.pre_connect = &before;
    added.next = one.routes_ipv6.routes_ipv6;
    one.routes_ipv6.routes_ipv6 = &added;
    assert_string_equal("", said(fd, &one, "lo"));
    close(fd);
}

/** Then it is as before there was such a file: what is brought is taken. */
static void
what_nobody_knows_of_is_refused_to_nobody(void **state)
{
    struct setting one, usual;
    const int fd = written();

    begin_setting(&usual);
    begin_setting(&one);
    one.o.ifconfig_local = "10.9.0.1";
    assert_string_equal("", said(-1, &one, "lo"));
    assert_string_equal("", said(fd, &one, "none0")); /* of an earlier device */
    assert_int_equal(1, pwrite(fd, "S", 1, 0)); /* another format */
    assert_string_equal("", said(fd, &one, "lo"));
    assert_int_equal(0, ftruncate(fd, 0));
    assert_string_equal("", said(fd, &one, "lo"));
    cluster_settings_write(fd, &usual.o, &usual.ce, "lo");
    cluster_settings_write(fd, &one.o, &one.ce, "lo"); /* the next one that opens its own */
    assert_string_equal("", said(fd, &one, "lo"));
    assert_string_not_equal("", said(fd, &usual, "lo"));
    cluster_settings_write(-1, &one.o, &one.ce, "lo");
    close(fd);
}

static void
a_receive_buffer_is_raised_and_never_lowered(void **state)
{
    const int sd = bound_socket(SOCK_DGRAM);
    int before, after;
    socklen_t len = sizeof(before);

    cluster_spare_raise_buffer(sd, 0);
    assert_int_equal(0, getsockopt(sd, SOL_SOCKET, SO_RCVBUF, &before, &len));
    cluster_spare_raise_buffer(sd, 1000);
    assert_int_equal(0, getsockopt(sd, SOL_SOCKET, SO_RCVBUF, &after, &len));
    assert_int_equal(before, after);
    cluster_spare_raise_buffer(sd, 2 * CLUSTER_SPARE_RCVBUF);
    assert_int_equal(0, getsockopt(sd, SOL_SOCKET, SO_RCVBUF, &after, &len));
    assert_true(after >= before);
    close(sd);
}

static void
write_file(const char *text)
{
    FILE *file = fopen(pid_file, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void
a_pid_file_is_removed_by_whom_it_names(void **state)
{
    const int fd = mkstemp(pid_file);

    assert_true(fd >= 0);
    close(fd);
    cluster_spare_keep_pid(pid_file, NULL);
    cluster_spare.wanted = false;
    assert_false(cluster_spare_remove_pid());
    cluster_spare.wanted = true;
    write_file("1\n");
    assert_true(cluster_spare_remove_pid());
    assert_int_equal(0, access(pid_file, F_OK));
    write_file("");
    assert_true(cluster_spare_remove_pid());
    assert_int_equal(0, access(pid_file, F_OK));
    write_file("a longer text than any pid has\n");
    cluster_spare_write_pid();
    assert_true(cluster_spare_remove_pid());
    assert_int_not_equal(0, access(pid_file, F_OK));
    assert_true(cluster_spare_remove_pid());
    cluster_spare_write_pid(); /* it comes back */
    assert_true(cluster_spare_remove_pid());
    cluster_spare_keep_pid("/nonexistent/pid", NULL);
    cluster_spare_write_pid(); /* warns */
    cluster_spare_keep_pid(NULL, NULL);
    cluster_spare_write_pid();
    assert_true(cluster_spare_remove_pid());
    cluster_spare.wanted = false;
}

static void
a_pid_file_is_written_without_its_directory(void **state)
{
    char dir[] = "/tmp/cluster-spare-XXXXXX", name[64], text[16] = "";

    assert_non_null(mkdtemp(dir));
    snprintf(name, sizeof(name), "%s/pid", dir);
    const int fd = open(name, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    cluster_spare_keep_pid(name, NULL);
    assert_int_equal(0, unlink(name));
    assert_int_equal(0, rmdir(dir));
    cluster_spare_write_pid();
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_int_equal(getpid(), atoi(text));
    close(fd);
    cluster_spare_keep_pid(NULL, NULL);
}

/** Its path names another file there, or none. */
static void
a_pid_file_is_the_one_before_the_chroot(void **state)
{
    char dir[] = "/tmp/cluster-spare-XXXXXX", name[64], text[16] = "";

    assert_non_null(mkdtemp(dir));
    snprintf(name, sizeof(name), "%s/pid", dir);
    cluster_spare_keep_pid(name, "/var/empty");
    const int fd = open(name, O_RDWR);
    assert_true(fd >= 0); /* it was made while that was possible */
    assert_int_equal(0, unlink(name));
    cluster_spare_keep_pid(name, "/var/empty"); /* it begins anew behind it */
    cluster_spare_write_pid();
    assert_int_not_equal(0, access(name, F_OK));
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_int_equal(getpid(), atoi(text));

    cluster_spare.wanted = true;
    const int other = open(name, O_RDWR | O_CREAT, 0600);
    assert_true(pwrite(other, text, strlen(text), 0) > 0);
    assert_true(cluster_spare_remove_pid());
    assert_int_equal(0, unlink(name)); /* that was not ours */
    cluster_spare.wanted = cluster_spare.pid_fd_only = false;
    assert_int_equal(0, rmdir(dir));
    close(fd);
    close(other);
    cluster_spare_keep_pid(NULL, NULL);
}

static void
who_is_silent_and_leaves_is_aside(void **state)
{
    struct cluster here = { .role = CLUSTER_STANDBY };

    cluster_spare.leave = true;
    assert_false(cluster_spare_aside()); /* it has no role yet */
    cluster = &here;
    assert_true(cluster_spare_aside());
    here.role = CLUSTER_HELD;
    assert_true(cluster_spare_aside());
    here.role = CLUSTER_MASTER;
    assert_false(cluster_spare_aside());
    here.role = CLUSTER_HELD;
    cluster_spare.leave = false;
    assert_false(cluster_spare_aside());
    cluster = NULL;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_come_with_their_line),
        cmocka_unit_test(they_wait_for_the_rest_of_the_line),
        cmocka_unit_test(another_line_closes_what_came_with_the_last),
        cmocka_unit_test(newer_ones_close_older_ones),
        cmocka_unit_test(who_disconnects_takes_them_back),
        cmocka_unit_test(what_was_not_taken_while_it_waited_is_closed),
        cmocka_unit_test(another_number_is_closed),
        cmocka_unit_test(nobody_waits_nobody_takes),
        cmocka_unit_test(they_go_with_the_first_byte_of_their_line),
        cmocka_unit_test(who_is_gone_gets_nothing),
        cmocka_unit_test(who_reads_slowly_is_waited_for_so_long_in_all),
        cmocka_unit_test(signals_neither_end_a_wait_nor_begin_it_anew),
        cmocka_unit_test(who_reads_nothing_is_waited_for_once),
        cmocka_unit_test(where_there_is_room_nobody_waits),
        cmocka_unit_test(a_port_is_taken_until_its_socket_is_closed),
        cmocka_unit_test(one_alone_opens_a_port),
        cmocka_unit_test(nobody_else_holds_the_lock),
        cmocka_unit_test(ports_of_ipv6_are_told_apart),
        cmocka_unit_test(processes_of_a_configuration_know_of_each_other),
        cmocka_unit_test(all_files_of_a_configuration_count),
        cmocka_unit_test(a_configuration_without_a_file_is_nobody_s),
        cmocka_unit_test(an_address_that_is_not_here_can_be_tried),
        cmocka_unit_test(a_socket_suits_by_kind_address_and_port),
        cmocka_unit_test(a_socket_of_ipv6_suits_likewise),
        cmocka_unit_test(a_tun_suits_by_kind_and_name),
        cmocka_unit_test(what_was_made_of_a_tun_is_what_is_configured),
        cmocka_unit_test(so_is_what_was_made_of_routes_and_of_the_socket),
        cmocka_unit_test(what_openvpn_adds_to_its_routes_is_no_change),
        cmocka_unit_test(what_nobody_knows_of_is_refused_to_nobody),
        cmocka_unit_test(a_receive_buffer_is_raised_and_never_lowered),
        cmocka_unit_test(a_pid_file_is_removed_by_whom_it_names),
        cmocka_unit_test(a_pid_file_is_written_without_its_directory),
        cmocka_unit_test(a_pid_file_is_the_one_before_the_chroot),
        cmocka_unit_test(who_is_silent_and_leaves_is_aside),
    };

    signal(SIGPIPE, SIG_IGN); /* a pipe that nobody reads is what is looked for */
    return cmocka_run_group_tests_name("cluster spare tests", tests, NULL, NULL);
}

#else  /* ifdef ENABLE_CLUSTER */

/** Automake's word for a test that was skipped. */
int
main(void)
{
    return 77;
}

#endif /* ifdef ENABLE_CLUSTER */
