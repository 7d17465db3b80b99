/* Fails the n-th call of a kind on files below a folder; loaded by LD_PRELOAD and armed by fault_arm.
 *
 * The counts are shared with forks. stdio is counted at fwrite: what it calls within libc cannot be interposed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE, FSYNC, RENAME, LINK, OPEN, MKDIR, TRUNCATE, READ, KINDS };
struct shared { volatile long counts[KINDS]; };

static struct shared *shared;
static char folder[PATH_MAX];
static int failing_kind = -1, failing_errno;
static long failing_number;

/* kind -1 counts alone; error 0 makes a write or a read short. */
void fault_arm(const char *path, int kind, long number, int error) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    strncpy(folder, path, sizeof folder - 1);
    failing_kind = kind;
    failing_number = number;
    failing_errno = error;
}
long fault_count(int kind) { return shared ? shared->counts[kind] : 0; }
void fault_disarm(void) { folder[0] = 0; }

static int below(const char *path) { return folder[0] && path && strncmp(path, folder, strlen(folder)) == 0; }

static int below_at(int at, const char *path) {
    char whole[2 * PATH_MAX], name[64];
    ssize_t length;
    if (!folder[0] || !path) return 0;
    if (path[0] == '/') return below(path);
    if (at == AT_FDCWD) snprintf(name, sizeof name, "/proc/self/cwd");
    else snprintf(name, sizeof name, "/proc/self/fd/%d", at);
    length = readlink(name, whole, PATH_MAX);
    if (length < 0) return 0;
    snprintf(whole + length, PATH_MAX, "/%s", path);
    return below(whole);
}

static int below_fd(int descriptor) {
    char name[64], path[PATH_MAX];
    ssize_t length;
    if (!folder[0] || descriptor < 3) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Whether this call fails: 1 with errno set, 2 for a short one. */
static int fails(int kind) {
    long number = __sync_add_and_fetch(&shared->counts[kind], 1);
    if (kind != failing_kind || number != failing_number) return 0;
    errno = failing_errno;
    return failing_errno ? 1 : 2;
}

#define REAL(result, name, ...) static result (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

ssize_t write(int descriptor, const void *bytes, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int how = below_fd(descriptor) ? fails(WRITE) : 0;
    return how == 1 ? -1 : real(descriptor, bytes, how == 2 && size > 1 ? size / 2 : size);
}
ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    int how = below_fd(descriptor) ? fails(WRITE) : 0;
    return how == 1 ? -1 : real(descriptor, bytes, how == 2 && size > 1 ? size / 2 : size, at);
}
ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t at) { return pwrite64(descriptor, bytes, size, at); }
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    REAL(ssize_t, "sendfile64", int, int, off64_t *, size_t);
    int how = below_fd(out) ? fails(WRITE) : 0;
    return how == 1 ? -1 : real(out, in, at, how == 2 && size > 1 ? size / 2 : size);
}
ssize_t sendfile(int out, int in, off_t *at, size_t size) { return sendfile64(out, in, at, size); }
size_t fwrite(const void *bytes, size_t size, size_t count, FILE *file) {
    REAL(size_t, "fwrite", const void *, size_t, size_t, FILE *);
    int how = below_fd(fileno(file)) ? fails(WRITE) : 0;
    return how == 1 ? 0 : real(bytes, size, how == 2 && count > 1 ? count / 2 : count, file);
}
int fsync(int descriptor) {
    REAL(int, "fsync", int);
    return below_fd(descriptor) && fails(FSYNC) == 1 ? -1 : real(descriptor);
}
int rename(const char *old, const char *new) {
    REAL(int, "rename", const char *, const char *);
    return (below_at(AT_FDCWD, old) || below_at(AT_FDCWD, new)) && fails(RENAME) == 1 ? -1 : real(old, new);
}
int link(const char *old, const char *new) {
    REAL(int, "link", const char *, const char *);
    return below_at(AT_FDCWD, new) && fails(LINK) == 1 ? -1 : real(old, new);
}
int linkat(int from, const char *old, int to, const char *new, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int);
    return below_at(to, new) && fails(LINK) == 1 ? -1 : real(from, old, to, new, flags);
}
int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return below_at(AT_FDCWD, path) && fails(MKDIR) == 1 ? -1 : real(path, mode);
}
int ftruncate64(int descriptor, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    return below_fd(descriptor) && fails(TRUNCATE) == 1 ? -1 : real(descriptor, size);
}
int ftruncate(int descriptor, off_t size) { return ftruncate64(descriptor, size); }
int posix_fallocate64(int descriptor, off64_t at, off64_t size) {
    REAL(int, "posix_fallocate64", int, off64_t, off64_t);
    return below_fd(descriptor) && fails(TRUNCATE) == 1 ? failing_errno : real(descriptor, at, size);
}
int posix_fallocate(int descriptor, off_t at, off_t size) { return posix_fallocate64(descriptor, at, size); }

static int creates(int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0; }
int open64(const char *path, int flags, ...) {
    REAL(int, "open64", const char *, int, ...);
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return creates(flags) && below_at(AT_FDCWD, path) && fails(OPEN) == 1 ? -1 : real(path, flags, mode);
}
int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return open64(path, flags, mode);
}
ssize_t read(int descriptor, void *bytes, size_t size) {
    REAL(ssize_t, "read", int, void *, size_t);
    int how = below_fd(descriptor) ? fails(READ) : 0;
    return how == 1 ? -1 : real(descriptor, bytes, how == 2 && size > 1 ? size / 2 : size);
}
ssize_t pread64(int descriptor, void *bytes, size_t size, off64_t at) {
    REAL(ssize_t, "pread64", int, void *, size_t, off64_t);
    int how = below_fd(descriptor) ? fails(READ) : 0;
    return how == 1 ? -1 : real(descriptor, bytes, how == 2 && size > 1 ? size / 2 : size, at);
}
ssize_t pread(int descriptor, void *bytes, size_t size, off_t at) { return pread64(descriptor, bytes, size, at); }
size_t fread(void *bytes, size_t size, size_t count, FILE *file) {
    REAL(size_t, "fread", void *, size_t, size_t, FILE *);
    int how = below_fd(fileno(file)) ? fails(READ) : 0;
    return how == 1 ? 0 : real(bytes, size, how == 2 && count > 1 ? count / 2 : count, file);
}
