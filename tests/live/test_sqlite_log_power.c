/* Records what a process writes and syncs, so that a power cut can be played afterwards.
 *
 * Preloaded into a process that uses the log. Each call on a file whose name ends in .db or
 * -wal becomes one record in the file named by LEDGER_TRACE, appended in one write, so records
 * of several processes keep their order. A write is recorded once it is done, a sync before it
 * returns: what a sync promises is never more than what stands before it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct head { uint32_t kind, file; uint64_t offset, length; };
enum { WRITE = 1, TRUNCATE, SYNC, MARK };

static int trace_fd(void) {
    static int fd = -2;
    if (fd == -2) {
        const char *path = getenv("LEDGER_TRACE");
        fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    }
    return fd;
}

static void record(uint32_t kind, uint32_t file, uint64_t offset, uint64_t length, const void *data) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    struct head head = {kind, file, offset, length};
    size_t size = sizeof head + (data ? length : 0);
    char *whole = malloc(size);
    memcpy(whole, &head, sizeof head);
    if (data) memcpy(whole + sizeof head, data, length);
    if (real(trace_fd(), whole, size) != (ssize_t)size) abort();
    free(whole);
}

/* 1: the database, 2: its write-ahead log, 0: anything else. */
static uint32_t file_of(int fd) {
    char link[64], path[4096];
    if (trace_fd() < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 4) return 0;
    path[n] = 0;
    if (!strcmp(path + n - 3, ".db")) return 1;
    return strcmp(path + n - 4, "-wal") ? 0 : 2;
}

void ledger_mark(uint64_t number) { record(MARK, 0, number, 0, NULL); }

#define WRITER(NAME, OFFSET) \
    ssize_t NAME(int fd, const void *data, size_t n, OFFSET at) { \
        ssize_t (*real)(int, const void *, size_t, OFFSET) = dlsym(RTLD_NEXT, #NAME); \
        ssize_t done = real(fd, data, n, at); \
        uint32_t file = file_of(fd); \
        if (file && done > 0) record(WRITE, file, at, done, data); \
        return done; \
    }
WRITER(pwrite, off_t)
WRITER(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t n) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    uint32_t file = file_of(fd);
    off_t at = file ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = real(fd, data, n);
    if (file && done > 0) record(WRITE, file, at, done, data);
    return done;
}

#define TRUNCATER(NAME, OFFSET) \
    int NAME(int fd, OFFSET size) { \
        int (*real)(int, OFFSET) = dlsym(RTLD_NEXT, #NAME); \
        int done = real(fd, size); \
        uint32_t file = file_of(fd); \
        if (file && !done) record(TRUNCATE, file, size, 0, NULL); \
        return done; \
    }
TRUNCATER(ftruncate, off_t)
TRUNCATER(ftruncate64, off64_t)

#define SYNCER(NAME) \
    int NAME(int fd) { \
        int (*real)(int) = dlsym(RTLD_NEXT, #NAME); \
        uint32_t file = file_of(fd); \
        if (!file) return real(fd); \
        /* The disk is spared: what counts is what was asked of it. */ \
        record(SYNC, file, 0, 0, NULL); \
        return 0; \
    }
SYNCER(fsync)
SYNCER(fdatasync)
