/* Bends and sets the clocks of the process that it is preloaded into, for tests.
 *
 * BENT_CLOCK_PPM=N makes the monotonic clocks run N millionths faster than they do, or slower if N is negative. A time
 * daemon that slews does the same to all processes of a machine. SET_CLOCK_SECONDS=N sets the wall clock N seconds ahead,
 * or back. Only calls through the C library are answered so, and timers of the kernel keep true time. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MILLION 1000000LL
#define BILLION 1000000000LL

static long long ppm, seconds;

/* The times at which the process began, by each clock that is bent. From there on they differ from true time. */
static long long monotonic_began, boottime_began;

static long long shown(clockid_t clock) {
    struct timespec time = {0, 0};
    syscall(SYS_clock_gettime, clock, &time);
    return time.tv_sec * BILLION + time.tv_nsec;
}

static long long number(const char *name) {
    const char *text = getenv(name);
    return text ? atoll(text) : 0;
}

__attribute__((constructor)) static void begin(void) {
    ppm = number("BENT_CLOCK_PPM");
    seconds = number("SET_CLOCK_SECONDS");
    monotonic_began = shown(CLOCK_MONOTONIC);
    boottime_began = shown(CLOCK_BOOTTIME);
}

static long long bent(long long time, long long began) {
    /* 128 bits: nanoseconds since the boot times a million do not fit into 64. */
    return began == 0 ? time : time + (long long)((__int128)(time - began) * ppm / MILLION);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (syscall(SYS_clock_gettime, clock, time) != 0)
        return -1;
    long long nanoseconds = time->tv_sec * BILLION + time->tv_nsec;
    switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
        nanoseconds = bent(nanoseconds, monotonic_began);
        break;
    case CLOCK_BOOTTIME:
        nanoseconds = bent(nanoseconds, boottime_began);
        break;
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        nanoseconds += seconds * BILLION;
        break;
    default:
        return 0;
    }
    time->tv_sec = nanoseconds / BILLION;
    time->tv_nsec = nanoseconds % BILLION;
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *stored) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (stored)
        *stored = now.tv_sec;
    return now.tv_sec;
}
