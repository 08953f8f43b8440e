// Simulates a power cut. After each sync of a file, the folder KEEP_SYNCED_IN holds a copy of the file.
// After each sync of a folder, files that were removed from it are removed from KEEP_SYNCED_IN too.
// When the process is killed, KEEP_SYNCED_IN holds only synced data, and perhaps unfinished copies
// (*.part).

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void forget_removed(int fd, const char *folder) {
  DIR *files = opendir(folder);
  if (!files) abort();
  for (struct dirent *file; (file = readdir(files));)
    if (file->d_type == DT_REG && faccessat(fd, file->d_name, F_OK, 0) != 0)
      if (!strstr(file->d_name, ".part")) unlinkat(dirfd(files), file->d_name, 0);
  closedir(files);
}

static void keep(int fd) {
  const char *folder = getenv("KEEP_SYNCED_IN");
  char link[64], path[4096], part[8192], kept[8192], buffer[65536];
  struct stat status;
  if (!folder || fstat(fd, &status) != 0) return;
  if (S_ISDIR(status.st_mode)) forget_removed(fd, folder);
  if (!S_ISREG(status.st_mode)) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) abort();
  path[length] = 0;
  snprintf(kept, sizeof kept, "%s/%s", folder, strrchr(path, '/') + 1);
  snprintf(part, sizeof part, "%s.%d.part", kept, fd);
  int copy = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (copy < 0) abort();
  ssize_t read;
  for (off_t at = 0; (read = pread(fd, buffer, sizeof buffer, at)) > 0; at += read)
    if (write(copy, buffer, read) != read) abort();
  close(copy);
  if (rename(part, kept) != 0) abort();
}

typedef int sync_function(int);

int fsync(int fd) {
  sync_function *real = (sync_function *)dlsym(RTLD_NEXT, "fsync");
  int result = real(fd);
  if (result == 0) keep(fd);
  return result;
}

int fdatasync(int fd) {
  sync_function *real = (sync_function *)dlsym(RTLD_NEXT, "fdatasync");
  int result = real(fd);
  if (result == 0) keep(fd);
  return result;
}
