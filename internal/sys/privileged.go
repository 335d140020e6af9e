package sys

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Privileged reports whether the process may do with files what their owners alone
// could: it is root, or has one of the capabilities by which a process passes over
// owners and modes or can get there (capabilities(7)). If that cannot be known, it is.
var Privileged = sync.OnceValue(func() bool {
	if unix.Geteuid() == 0 {
		return true
	}
	const over = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER |
		1<<unix.CAP_CHOWN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SYS_ADMIN
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return err != nil || data[0].Effective&over != 0
})
