/* Preloaded: says on standard error in which order a process changes its ids and its dumpability. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/types.h>

#define NEXT(name) ((int (*)())dlsym(RTLD_NEXT, name))

static int
noted(const char *name, long value, int result)
{
    dprintf(2, "noted: %s %ld\n", name, result ? -1L : value);
    return result;
}

int
setuid(uid_t uid)
{
    return noted("user", uid, NEXT("setuid")(uid));
}

int
setgid(gid_t gid)
{
    return noted("group", gid, NEXT("setgid")(gid));
}

int
setresuid(uid_t real, uid_t effective, uid_t saved)
{
    return noted("user", effective, NEXT("setresuid")(real, effective, saved));
}

int
setresgid(gid_t real, gid_t effective, gid_t saved)
{
    return noted("group", effective, NEXT("setresgid")(real, effective, saved));
}

int
prctl(int option, ...)
{
    unsigned long args[4];
    va_list list;

    va_start(list, option);
    for (int i = 0; i < 4; i++)
    {
        args[i] = va_arg(list, unsigned long);
    }
    va_end(list);

    int result = NEXT("prctl")(option, args[0], args[1], args[2], args[3]);
    return option == PR_SET_DUMPABLE ? noted("dumpable", (long)args[0], result) : result;
}
