package maildir

// openPath are the flags for a step on the way: it need not be readable. This
// is O_PATH, which FreeBSD has since 13.1 and golang.org/x/sys has not. A kernel
// that does not know it opens for reading, and cannot open a link at all.
const openPath = 0x400000
