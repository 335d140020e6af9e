package sys

import (
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxThreads estimates how many threads the process may have in all, those that it
// has counted; limited is false where nothing sets a limit. Limits are that of the
// user's processes (RLIMIT_NPROC in getrlimit(2), which does not bind root; half of
// it, for the user has other processes) and those of the control groups
// (Documentation/admin-guide/cgroup-v2.rst, PID).
func MaxThreads() (n int, limited bool) {
	least := func(m int) {
		if !limited || m < n {
			n, limited = m, true
		}
	}
	var r unix.Rlimit
	if unix.Geteuid() != 0 && unix.Getrlimit(unix.RLIMIT_NPROC, &r) == nil && r.Cur < 1<<20 {
		least(int(r.Cur / 2))
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return n, limited
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) < 3 {
			continue
		}
		base := ""
		for _, controller := range strings.Split(f[1], ",") {
			switch controller {
			case "": // version 2
				base = "/sys/fs/cgroup"
			case "pids":
				base = "/sys/fs/cgroup/pids"
			}
		}
		if base == "" {
			continue
		}
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			if limit, ok := readNumber(base + dir + "/pids.max"); ok {
				now, ok := readNumber(base + dir + "/pids.current")
				if !ok {
					now = limit // nobody knows
				}
				least(limit - now + threadsNow())
			}
			if dir == "/" {
				break
			}
		}
	}
	return n, limited
}

func readNumber(name string) (int, bool) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(string(text), "\n")) // not for "max"
	return n, err == nil
}

// threadsNow returns how many threads the process has.
func threadsNow() int {
	names, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 1
	}
	return len(names)
}
