/*
 * copy: the floor for mailtest. It copies its standard input to its standard
 * output with "<and>" and a newline after every newline and at the end.
 */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#define SIZE 65536
static char in[SIZE], out[SIZE];
static size_t have;

static int flush(void)
{
	size_t done = 0;
	ssize_t n;

	for (; done < have; done += n)
		if ((n = write(1, out + done, have - done)) < 0)
			return -1;
	have = 0;
	return 0;
}

static int put(const char *p, size_t n)
{
	size_t part;

	for (; n > 0; p += part, n -= part) {
		if (have == SIZE && flush() != 0)
			return -1;
		part = n < SIZE - have ? n : SIZE - have;
		memcpy(out + have, p, part);
		have += part;
	}
	return 0;
}

int main(void)
{
	const char *p, *end, *eol;
	ssize_t n;

	while ((n = read(0, in, SIZE)) > 0) {
		for (p = in, end = in + n; p < end; p = eol) {
			eol = memchr(p, '\n', end - p);
			eol = eol == NULL ? end : eol + 1;
			if (put(p, eol - p) != 0 || (eol[-1] == '\n' && put("<and>\n", 6) != 0))
				return 111;
		}
	}
	if (n < 0 || put("<and>\n", 6) != 0 || flush() != 0)
		return 111;
	return 0;
}
