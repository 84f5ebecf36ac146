/* Sends datagrams of 200 bytes as fast as it can, random behind the given head.
 * junk ADDRESS PORT SECONDS HEXHEAD; prints how many left and in how many seconds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { SIZE = 200, BATCH = 32 };

static double
now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
    static unsigned char data[BATCH][SIZE];
    static struct mmsghdr messages[BATCH];
    static struct iovec vectors[BATCH];
    struct sockaddr_in to = { .sin_family = AF_INET };
    unsigned int value;
    double begin, end, rate;
    long sent = 0;
    int fd;

    if (argc != 6)
    {
        return 2;
    }
    to.sin_port = htons((unsigned short) atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    connect(fd, (struct sockaddr *) &to, sizeof to);
    for (int i = 0; i < BATCH; i++)
    {
        for (int j = 0; j < SIZE; j++)
        {
            data[i][j] = (unsigned char) rand();
        }
        for (size_t j = 0; sscanf(argv[4] + 2 * j, "%2x", &value) == 1; j++)
        {
            data[i][j] = (unsigned char) value;
        }
        vectors[i].iov_base = data[i];
        vectors[i].iov_len = SIZE;
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    begin = now();
    end = begin + atof(argv[3]);
    rate = atof(argv[5]);
    while (now() < end)
    {
        int count;
        if ((double) sent > rate * (now() - begin))
        {
            struct timespec pause = { 0, 200000 };
            nanosleep(&pause, NULL);
            continue;
        }
        count = sendmmsg(fd, messages, BATCH, 0);
        sent += count > 0 ? count : 0;
    }
    printf("%ld %f\n", sent, now() - begin);
    return 0;
}
