/* Preloaded into a process: its clock is AHEAD seconds ahead as long as there is the file that CLOCK_IS_WRONG names. Only
 * what asks for the time of day is told so. Without the C library's headers for these calls, which may declare them
 * otherwise. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct timespec_ { long seconds, nanoseconds; };
struct timeval_ { long seconds, microseconds; };

static long ahead(void)
{
    int before = errno;
    const char *file = getenv("CLOCK_IS_WRONG");
    int is_wrong = file && syscall(SYS_faccessat, AT_FDCWD, file, F_OK) == 0;
    errno = before;
    return is_wrong ? AHEAD : 0;
}

int clock_gettime(int clock, struct timespec_ *time)
{
    int result = syscall(SYS_clock_gettime, clock, time);
    /* CLOCK_REALTIME and CLOCK_REALTIME_COARSE */
    if (result == 0 && (clock == 0 || clock == 5))
        time->seconds += ahead();
    return result;
}

int gettimeofday(struct timeval_ *time, void *zone)
{
    int result = syscall(SYS_gettimeofday, time, zone);
    if (result == 0 && time)
        time->seconds += ahead();
    return result;
}

long time(long *result)
{
    struct timespec_ now;
    clock_gettime(0, &now);
    if (result)
        *result = now.seconds;
    return now.seconds;
}
