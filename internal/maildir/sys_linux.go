package maildir

import "golang.org/x/sys/unix"

// openPath are the flags for a step on the way: it need not be readable.
const openPath = unix.O_PATH
