/* Preloaded, it adds the seconds that the file CLOCK_STEP_FILE holds to the wall clock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    const char *path = getenv("CLOCK_STEP_FILE");
    if (clock != CLOCK_REALTIME || result != 0 || !path)
        return result;
    FILE *file = fopen(path, "r");
    long step = 0;
    if (file) {
        if (fscanf(file, "%ld", &step) == 1)
            time->tv_sec += step;
        fclose(file);
    }
    return result;
}
