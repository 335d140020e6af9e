package queue

// noAtime is nothing here: FreeBSD has no O_NOATIME. What must not be read then
// is left unread.
const noAtime = 0

// largeFile is nothing here: every file may be large.
const largeFile = 0

// renameNew gives a file its name unless there is one of that name.
func renameNew(dir int, from, to string) error { return linkNew(dir, from, to) }
