/*
 * spawn N MESSAGE PROGRAM: the floor for jmailsend. It runs the program N
 * times, one after the other, as "PROGRAM -t -i" with the message in a pipe as
 * its standard input.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	static char message[65536];
	int fd, i, n, size, status, p[2];
	pid_t pid;

	if (argc != 4 || (fd = open(argv[2], O_RDONLY)) < 0 || (size = read(fd, message, sizeof message)) < 0) {
		fprintf(stderr, "usage: spawn N MESSAGE PROGRAM\n");
		return 2;
	}
	n = atoi(argv[1]);
	for (i = 0; i < n; i++) {
		char *args[] = {argv[3], "-t", "-i", NULL};
		posix_spawn_file_actions_t fa;

		if (pipe2(p, O_CLOEXEC) != 0)
			return 1;
		posix_spawn_file_actions_init(&fa);
		posix_spawn_file_actions_adddup2(&fa, p[0], 0);
		if (posix_spawn(&pid, argv[3], &fa, NULL, args, environ) != 0)
			return 1;
		posix_spawn_file_actions_destroy(&fa);
		close(p[0]);
		if (write(p[1], message, size) != size)
			return 1;
		close(p[1]);
		if (waitpid(pid, &status, 0) != pid || status != 0)
			return 1;
	}
	return 0;
}
