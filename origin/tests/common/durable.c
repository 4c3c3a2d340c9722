/* What a power cut leaves of the files of a process that has this preloaded.
 *
 * At each fsync and fdatasync, $SIGHTSCREEN_DURABLE gets what is on disk for good: of a file its
 * bytes, of a folder the names in it. Whatever else was written is in the system's memory, and a
 * power cut takes it. Files and folders go by inode and time of birth, because they are renamed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 16 };

/* "INODE-BIRTH" of what is at `path` below `fd`; whether that is known. */
static int name_of(int fd, const char *path, char name[64], unsigned *mode) {
    struct statx status;
    int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
    if (statx(fd, path, flags, STATX_INO | STATX_BTIME | STATX_TYPE, &status) != 0) return 0;
    snprintf(name, 64, "%llu-%lld.%09u", (unsigned long long)status.stx_ino,
             (long long)status.stx_btime.tv_sec, status.stx_btime.tv_nsec);
    *mode = status.stx_mode;
    return 1;
}

static void copy_file(int from, FILE *to) {
    static _Thread_local char buffer[COPY_BYTES];
    off_t at = 0;
    ssize_t length;
    while ((length = pread(from, buffer, COPY_BYTES, at)) > 0) {
        fwrite(buffer, 1, (size_t)length, to);
        at += length;
    }
}

/* A line for each name: its type, what it is, and the name itself. */
static void list_folder(int fd, FILE *to) {
    DIR *folder = fdopendir(fd);
    if (folder == NULL) return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char name[64];
        unsigned mode;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (!name_of(fd, entry->d_name, name, &mode)) continue;
        fprintf(to, "%c %s %s\n", S_ISDIR(mode) ? 'd' : 'f', name, entry->d_name);
    }
    closedir(folder);
}

static void keep(int fd) {
    static atomic_uint count;
    const char *durable = getenv("SIGHTSCREEN_DURABLE");
    char name[64], link[64], new[PATH_MAX], path[PATH_MAX];
    unsigned mode;
    if (durable == NULL || !name_of(fd, "", name, &mode)) return;
    if (!S_ISREG(mode) && !S_ISDIR(mode)) return;
    /* A file may be open for writing alone. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int from = open(link, O_RDONLY | O_CLOEXEC);
    if (from < 0) return;
    snprintf(new, sizeof new, "%s/%u.%d.new", durable, atomic_fetch_add(&count, 1), getpid());
    snprintf(path, sizeof path, "%s/%s", durable, name);
    FILE *to = fopen(new, "we");
    if (to == NULL) {
        close(from);
        return;
    }
    if (S_ISDIR(mode)) {
        list_folder(from, to);
    } else {
        copy_file(from, to);
        close(from);
    }
    fclose(to);
    rename(new, path);
}

typedef int sync_call(int);

/* One after the other, and what was there before the call: nothing counts as synced too early. */
static int synced(int fd, const char *call) {
    static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
    sync_call *next = (sync_call *)dlsym(RTLD_NEXT, call);
    pthread_mutex_lock(&turn);
    keep(fd);
    int result = next(fd);
    pthread_mutex_unlock(&turn);
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }

int fdatasync(int fd) { return synced(fd, "fdatasync"); }
