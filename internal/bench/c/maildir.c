/*
 * maildir THREADS DAYS MAILDIR...: the floor for rmoldmail and rmmail_virtual.
 * It removes from cur, new and tmp of every Maildir, and of the folders .NAME in
 * it, the regular files that find's -mtime +DAYS means, with nothing but
 * getdents64, fstatat and unlinkat: no identity, no quota, no names in messages.
 * Threads read one directory together, a buffer of names each at a time: the
 * kernel hands out every name once.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct dir {
	int fd, users, ended;
	struct dir *next;
};

static struct dir *open_dirs; /* not read to their end yet */
static char **maildirs;       /* not opened yet */
static int opening;           /* threads that may add to open_dirs */
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static time_t before;
static size_t chunk;

static void die(const char *what)
{
	fprintf(stderr, "maildir: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void add(int fd)
{
	struct dir *d = calloc(1, sizeof *d);

	if (d == NULL)
		die("calloc");
	d->fd = fd;
	pthread_mutex_lock(&mu);
	d->next = open_dirs;
	open_dirs = d;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mu);
}

/* enter adds cur, new and tmp of a Maildir or a folder, and of its folders. */
static void enter(int at, const char *path, int deep)
{
	static const char *const subs[] = {"cur", "new", "tmp"};
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), sub;
	struct dirent *e;
	size_t i;
	DIR *d;

	if (fd < 0)
		die(path);
	for (i = 0; i < 3; i++)
		if ((sub = openat(fd, subs[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) >= 0)
			add(sub);
	if (!deep) {
		close(fd);
		return;
	}
	if ((d = fdopendir(fd)) == NULL)
		die(path);
	while ((e = readdir(d)) != NULL)
		if (e->d_type == DT_DIR && e->d_name[0] == '.' && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			enter(fd, e->d_name, 0);
	closedir(d);
}

/* clean reads a directory once and returns 0 at its end. */
static int clean(int fd, char *buf)
{
	ssize_t n = getdents64(fd, buf, chunk), i;
	struct dirent64 *e;
	struct stat st;

	if (n < 0)
		die("getdents64");
	for (i = 0; i < n; i += e->d_reclen) {
		e = (struct dirent64 *)(buf + i);
		if (e->d_type != DT_REG || e->d_name[0] == '.')
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime < before && unlinkat(fd, e->d_name, 0) != 0)
			die(e->d_name);
	}
	return n > 0;
}

/* leave ends this thread's part in a directory; mu is held. */
static void leave(struct dir *d)
{
	struct dir **p;

	d->users--;
	if (d->ended == 1) {
		for (p = &open_dirs; *p != d; p = &(*p)->next)
			;
		*p = d->next;
		d->ended = 2;
	}
	if (d->ended && d->users == 0) {
		close(d->fd);
		free(d);
	}
}

static void *work(void *unused)
{
	char *buf = malloc(chunk);
	struct dir *d;

	pthread_mutex_lock(&mu);
	for (;;) {
		if ((d = open_dirs) != NULL) {
			d->users++;
			pthread_mutex_unlock(&mu);
			while (clean(d->fd, buf))
				;
			pthread_mutex_lock(&mu);
			if (d->ended == 0)
				d->ended = 1;
			leave(d);
		} else if (*maildirs != NULL) {
			char *path = *maildirs++;

			opening++;
			pthread_mutex_unlock(&mu);
			enter(AT_FDCWD, path, 1);
			pthread_mutex_lock(&mu);
			opening--;
			pthread_cond_broadcast(&changed);
		} else if (opening > 0) {
			pthread_cond_wait(&changed, &mu);
		} else {
			break;
		}
	}
	pthread_mutex_unlock(&mu);
	free(buf);
	return unused;
}

int main(int argc, char **argv)
{
	int threads, i;
	pthread_t *t;

	if (argc < 4 || (threads = atoi(argv[1])) < 1) {
		fprintf(stderr, "usage: maildir THREADS DAYS MAILDIR...\n");
		return 2;
	}
	before = time(NULL) - 86400 * (atol(argv[2]) + 1);
	maildirs = argv + 3;
	chunk = threads == 1 ? 32768 : 4096;
	if ((t = calloc(threads, sizeof *t)) == NULL)
		die("calloc");
	for (i = 1; i < threads; i++)
		if (pthread_create(&t[i], NULL, work, NULL) != 0)
			die("pthread_create");
	work(NULL);
	for (i = 1; i < threads; i++)
		pthread_join(t[i], NULL);
	return 0;
}
