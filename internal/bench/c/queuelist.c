/*
 * queuelist QUEUE: the floor for qmHandle -l. It prints, for every message that
 * has an info file, its number, sender, header fields as they stand and size,
 * and then the statistics; everything is opened once, relative to its directory,
 * and of a message no more is read than its header.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER 65536

static int queue;
static unsigned long total, local, remote_;

static void die(const char *what)
{
	fprintf(stderr, "queuelist: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int opendirat(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		die(name);
	return fd;
}

/* next returns the next name in a directory that is not hidden. */
static const char *next(DIR *d)
{
	struct dirent *e;

	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			return e->d_name;
	return NULL;
}

static unsigned long count(const char *place)
{
	DIR *d = fdopendir(opendirat(queue, place));
	unsigned long n = 0;

	if (d == NULL)
		die(place);
	while (next(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* channel reads the recipients of a message and tells whether it has any. */
static int channel(int dir, const char *number)
{
	static char buf[HEADER];
	int any = 0, fd = openat(dir, number, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	while (read(fd, buf, sizeof buf) > 0)
		any = 1;
	close(fd);
	return any;
}

/* sender reads info and returns what stands behind its F. */
static const char *sender(int dir, const char *number)
{
	static char buf[HEADER];
	ssize_t n;
	int fd = openat(dir, number, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	n = read(fd, buf, sizeof buf - 1);
	close(fd);
	if (n < 1)
		return NULL;
	buf[n] = '\0';
	return buf + 1;
}

/* header reads until the empty line and returns the length. */
static size_t header(int fd, char *buf)
{
	size_t have = 0, from;
	ssize_t n;
	char *end;

	while (have < HEADER && (n = read(fd, buf + have, HEADER - have < 4096 ? HEADER - have : 4096)) > 0) {
		from = have ? have - 1 : 0;
		have += n;
		if ((end = memmem(buf + from, have - from, "\n\n", 2)) != NULL)
			return end + 1 - buf;
	}
	return have;
}

static const char *const names[] = {"From", "To", "Cc", "Subject", "Date"};
#define NAMES (sizeof names / sizeof names[0])

/* fields prints the first line of each header field that there is. */
static void fields(const char *p, const char *end)
{
	const char *value[NAMES] = {NULL};
	size_t length[NAMES] = {0}, i, n;
	const char *eol;

	for (; p < end; p = eol + 1) {
		if ((eol = memchr(p, '\n', end - p)) == NULL)
			eol = end;
		for (i = 0; i < NAMES; i++) {
			n = strlen(names[i]);
			if (value[i] != NULL || (size_t)(eol - p) <= n || p[n] != ':' || strncasecmp(p, names[i], n) != 0)
				continue;
			for (value[i] = p + n + 1; value[i] < eol && (*value[i] == ' ' || *value[i] == '\t'); value[i]++)
				;
			length[i] = eol - value[i];
		}
	}
	for (i = 0; i < NAMES; i++)
		if (value[i] != NULL)
			printf("  %s: %.*s\n", names[i], (int)length[i], value[i]);
}

/* list prints one sub-directory. */
static void list(int mess, int info, int loc, int rem, const char *sub)
{
	static char buf[HEADER];
	int messfd = opendirat(mess, sub), infofd = opendirat(info, sub);
	int locfd = opendirat(loc, sub), remfd = opendirat(rem, sub), fd;
	DIR *d = fdopendir(messfd);
	const char *number, *from;
	struct stat st;
	size_t n;

	if (d == NULL)
		die(sub);
	while ((number = next(d)) != NULL) {
		total++;
		if ((from = sender(infofd, number)) == NULL)
			continue;
		local += channel(locfd, number);
		remote_ += channel(remfd, number);
		if ((fd = openat(messfd, number, O_RDONLY | O_CLOEXEC)) < 0)
			continue;
		if (fstat(fd, &st) != 0)
			die(number);
		n = header(fd, buf);
		close(fd);
		printf("%s (%s, %s/%s)\n  Return-path: %s\n", number, sub, sub, number, from);
		fields(buf, buf + n);
		printf("  Size: %lld bytes\n\n", (long long)st.st_size);
	}
	closedir(d);
	close(infofd);
	close(locfd);
	close(remfd);
}

int main(int argc, char **argv)
{
	int mess, info, loc, rem;
	const char *sub;
	DIR *d;

	if (argc != 2) {
		fprintf(stderr, "usage: queuelist QUEUE\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOFBF, HEADER);
	queue = opendirat(AT_FDCWD, argv[1]);
	mess = opendirat(queue, "mess");
	info = opendirat(queue, "info");
	loc = opendirat(queue, "local");
	rem = opendirat(queue, "remote");
	if ((d = fdopendir(dup(mess))) == NULL)
		die("mess");
	while ((sub = next(d)) != NULL)
		list(mess, info, loc, rem, sub);
	closedir(d);
	printf("Total messages: %lu\nMessages with local recipients: %lu\nMessages with remote recipients: %lu\n", total, local, remote_);
	printf("Messages with bounces: %lu\nMessages in preprocess: %lu\n", count("bounce"), count("todo"));
	return fflush(stdout) != 0;
}
