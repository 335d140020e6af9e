package queue

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// Texts are the texts of the messages in a queue, for who wants to find one of his own
// there. To read them the group qmail is enough (hier.c: mess is 0750), while a Queue
// takes root. Nothing is changed, no lock taken.
type Texts struct{ fd, mess int }

// OpenTexts opens the texts of a queue directory. The error is an *fs.PathError;
// fs.ErrPermission and fs.ErrNotExist come through.
func OpenTexts(dir string) (*Texts, error) {
	fd, err := sys.Openat(atCWD, dir, openDirFollow)
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	mess, err := sys.Openat(fd, Mess.String(), sys.OpenDir)
	if err != nil {
		closeFD(fd)
		return nil, pathError("open", dir+"/"+Mess.String(), err)
	}
	return &Texts{fd, mess}, nil
}

// Close gives back what is open.
func (t *Texts) Close() {
	closeFD(t.mess)
	closeFD(t.fd)
}

// A Text is a message whose text was read.
type Text struct {
	Number uint64
	Text   []byte // its beginning; not to be kept
	sub    string // the sub-directory of mess
}

// Since calls f with each message that was written at that time or later, its text read
// up to so many bytes, until f returns false. One that is being received may come, too,
// as far as there is anything of it.
//
// Others are not opened: to read a file can change its access time, by which qmail-send
// finds out which half received messages are dead. Of what is younger than the caller's
// own mail that time is young anyhow.
func (t *Texts) Since(at time.Time, most int, f func(*Text) bool) error {
	// Files are dated by a clock that runs some milliseconds behind.
	at = at.Add(-time.Second)
	more := true
	return eachDirent(t.mess, func(_ int, d sys.Dirent) error {
		if _, ok := number(d.Name); !ok || !more {
			return nil
		}
		sub := string(d.Name)
		fd, err := sys.Openat(t.mess, sub, sys.OpenDir)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			return nil
		}
		if err != nil {
			return pathError("open", Mess.String()+"/"+sub, err)
		}
		defer closeFD(fd)
		return eachDirent(fd, func(_ int, d sys.Dirent) error {
			n, ok := number(d.Name)
			var st unix.Stat_t
			if !ok || !more || d.Stat(fd, &st) != nil || timeOf(st.Mtim).Before(at) {
				return nil
			}
			text, err := readName(fd, string(d.Name), most)
			switch err {
			case nil:
				more = f(&Text{n, text, sub})
			case unix.ENOENT, ErrNotRegular:
			default:
				return pathError("read", Mess.String()+"/"+sub+"/"+string(d.Name), err)
			}
			return nil
		})
	})
}

// Has reports whether the message is still there: its number may be another's by now,
// which is tells of the text.
func (t *Texts) Has(m *Text, most int, is func(text []byte) bool) (bool, error) {
	n := strconv.FormatUint(m.Number, 10)
	text, err := readBelow(t.mess, m.sub, n, most)
	switch err {
	case nil:
		return is(text), nil
	case unix.ENOENT:
		return false, nil
	}
	return false, pathError("read", Mess.String()+"/"+m.sub+"/"+n, err)
}

// Bounce returns what qmail-send has noted of the message's failures so far, at most so many bytes; nothing
// where there is none, or who asks may not read it (bounce is 0700).
func (t *Texts) Bounce(m *Text, most int) []byte {
	dir, err := sys.Openat(t.fd, Bounce.String(), sys.OpenDir)
	if err != nil {
		return nil
	}
	defer closeFD(dir)
	n := strconv.FormatUint(m.Number, 10)
	text, err := readName(dir, n, most)
	if err == unix.ENOENT { // split, in patched builds
		text, _ = readBelow(dir, m.sub, n, most)
	}
	return text
}

// readBelow is readName in the sub-directory of a place.
func readBelow(dir int, sub, name string, most int) ([]byte, error) {
	fd, err := sys.Openat(dir, sub, sys.OpenDir)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	return readName(fd, name, most)
}

// readName reads a regular file, at most so many bytes of it, and leaves its access time
// alone where that may be asked for.
func readName(dir int, name string, most int) ([]byte, error) {
	fd, err := sys.Openat(dir, name, unix.O_RDONLY|openFile|noAtime)
	if err == unix.EPERM {
		fd, err = sys.Openat(dir, name, unix.O_RDONLY|openFile)
	}
	if err == unix.ELOOP {
		return nil, ErrNotRegular
	}
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if !isRegular(&st) {
		return nil, ErrNotRegular
	}
	buf := make([]byte, min(int64(most), max(st.Size, 0)))
	n := 0
	for n < len(buf) {
		got, err := read(fd, buf[n:])
		if err != nil {
			return nil, err
		}
		if got == 0 {
			break
		}
		n += got
	}
	return buf[:n], nil
}
