package maildir

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// A messageName is what the name of a message tells. It is a unique part, to which Maildir++ writers add
// the size as ",S=123", and in cur an info part: a separator, "2," and the flags, behind
// which some servers put more after a comma (maildir(5)).
type messageName struct {
	unique []byte
	flags  []byte
	known  bool // whether the info part, or that there is none, could be read
}

// infoSeparators may stand before "2,": the standard's colon, and what isync, mu
// and others write where a file system takes no colon.
const infoSeparators = ":;!"

// parseName reads a message's name. What has the look of an info part without
// being one, or could be read in two ways, is not known: nobody can say which
// flags the message has.
func parseName(name []byte) messageName {
	at, count := -1, 0
	for i := 0; i+2 < len(name); i++ {
		if name[i+1] == '2' && name[i+2] == ',' && isSeparator(name[i]) {
			if count++; at < 0 {
				at = i
			}
		}
	}
	if count > 0 {
		flags, _, _ := bytes.Cut(name[at+3:], []byte{','})
		return messageName{name[:at], flags, count == 1}
	}
	if i := bytes.IndexAny(name, infoSeparators); i >= 0 {
		return messageName{unique: name[:i]}
	}
	if i := oddInfo(name); i >= 0 {
		return messageName{unique: name[:i]}
	}
	return messageName{unique: name, known: true}
}

func isSeparator(c byte) bool { return c == ':' || c == ';' || c == '!' }

// oddInfo returns where in the name flags stand behind a separator that nobody
// knows, such as the private character by which Cygwin and Samba stand in for a
// colon; -1 where there is nothing of the kind.
func oddInfo(name []byte) int {
	for i := 1; i+1 < len(name); i++ {
		if name[i] != '2' || name[i+1] != ',' || isAlnum(name[i-1]) || name[i-1] == '=' || name[i-1] == ',' {
			continue
		}
		rest := name[i+2:]
		n := 0
		for n < len(rest) && isAlnum(rest[n]) && (rest[n] < '0' || rest[n] > '9') {
			n++
		}
		if n == len(rest) || rest[n] == ',' {
			return i - 1
		}
	}
	return -1
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// has reports whether the message has the flag; it must be known.
func (m messageName) has(flag byte) bool { return bytes.IndexByte(m.flags, flag) >= 0 }

// Sizes that Maildir++ writers put into the name: ,S=123 up to a comma or the end
// of the unique part.
var sizeMark = []byte(",S=")

// maxSize is the largest message whose size is believed, in bytes: a terabyte is no
// message, and sums of such sizes would say nothing any more.
const maxSize int64 = 1e12 - 1

// nameSize returns the message's size in bytes as its name tells it.
func nameSize(name []byte) (int64, bool) {
	i := bytes.Index(name, sizeMark)
	if i < 0 {
		return 0, false
	}
	unique := parseName(name).unique
	if len(unique) < i+len(sizeMark) {
		return 0, false // part of the info
	}
	var n int64
	digits := 0
	for _, c := range unique[i+len(sizeMark):] {
		if c == ',' {
			break
		}
		if c < '0' || c > '9' || n > maxSize/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
		digits++
	}
	return n, digits > 0 && n <= maxSize
}

// sizeOf returns the size of a message in bytes, as a quota counts it: what its name
// tells, else what its inode does.
func sizeOf(name []byte, st *unix.Stat_t) int64 {
	if size, ok := nameSize(name); ok {
		return size
	}
	return inodeSize(st.Size)
}

// inodeSize returns the size in bytes that an inode tells, 0 where it cannot be that
// of a message: a sparse file, or a file system of a user's own, can say anything.
func inodeSize(size int64) int64 {
	if size < 0 || size > maxSize {
		return 0
	}
	return size
}
