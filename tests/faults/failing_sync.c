/* Loaded before libc: fsync and fdatasync fail with EIO for files whose path contains the text in the file that
 * OUTLAST_FAULT_SYNC names, while that file is there. What a disk does that returns errors on write-back. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd) {
  const char* control = getenv("OUTLAST_FAULT_SYNC");
  char pattern[256], link[64], path[4096];
  if (control == NULL) return 0;
  const int in = open(control, O_RDONLY | O_CLOEXEC);
  if (in < 0) return 0;
  const ssize_t n = read(in, pattern, sizeof pattern - 1);
  close(in);
  if (n <= 0) return 0;
  pattern[n] = 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t m = readlink(link, path, sizeof path - 1);
  if (m <= 0) return 0;
  path[m] = 0;
  return strstr(path, pattern) != NULL;
}

static int synchronise(int fd, long call) {
  if (!fails(fd)) return (int)syscall(call, fd);
  errno = EIO;
  return -1;
}

int fsync(int fd) { return synchronise(fd, SYS_fsync); }
int fdatasync(int fd) { return synchronise(fd, SYS_fdatasync); }
