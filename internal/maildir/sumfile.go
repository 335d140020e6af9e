package maildir

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// The bounds of Maildir++ for a maildirsize, and ours.
const (
	maxSumFile = 5120           // bytes: a file that has grown so large is counted anew
	maxSumAge  = 24 * time.Hour // since it was made, which every program does that counts
	sumTail    = 64 << 10       // bytes of a larger file in which bookings are looked for
)

// A booking is a line that says of a message that it was let in before its delivery:
// nothing tells afterwards whether that came to pass. It is "SIZE 1 TIME", and when the
// message was seen in the Maildir "0 0 TIME SIZE". Programs that know Maildir++ alone
// read the first two numbers.
type booking struct {
	size    int64 // bytes, as the message lies in the Maildir
	at      int64 // seconds since 1970
	arrived bool
}

// bookingTime is how long a delivery may be under way, in seconds, maxBookings how many
// of them a count keeps.
const (
	bookingTime = 120
	maxBookings = 100
)

func (b booking) recent(now time.Time) bool {
	age := now.Unix() - b.at
	return -bookingTime <= age && age <= bookingTime
}

func (b booking) append(line []byte) []byte {
	switch {
	case b.arrived:
		return appendLine(line, 0, 0, b.at, b.size)
	default:
		return appendLine(line, b.size, 1, b.at)
	}
}

func appendLine(line []byte, numbers ...int64) []byte {
	for i, n := range numbers {
		if i > 0 {
			line = append(line, ' ')
		}
		line = strconv.AppendInt(line, n, 10)
	}
	return append(line, '\n')
}

// A sumFile is what a maildirsize says.
type sumFile struct {
	usable   bool // by the rules of Maildir++, and not too old
	sum      Usage
	lines    int       // with a number other than 0
	unsure   bool      // a message was booked, and nothing says that it has arrived
	bookings []booking // of late, in their order; also where it is not usable
	mtime    Stamp
}

// readSum reads the maildirsize of the Maildir that is open as dir and belongs to
// owner. One that is not there, cannot be read or is no such file is not usable: that
// is no error, since the Maildir itself can be counted.
func readSum(dir int, owner uint32, now time.Time) (s sumFile) {
	fd, err := sys.Openat(dir, quotaFile, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return s
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if sys.Fstat(fd, &st) != nil || trustQuota(&st, owner) != nil {
		return s
	}
	s.mtime = mtime(&st)
	from := max(0, st.Size-sumTail)
	text, err := readFrom(fd, from, sumTail+1)
	if err != nil || len(text) > sumTail {
		return s
	}
	s.parse(text, from == 0, now)
	s.usable = s.usable && len(text) < maxSumFile && !tooOld(fd, now)
	return s
}

// readFrom reads what is in a file from there on, at most so many bytes.
func readFrom(fd int, from int64, most int) ([]byte, error) {
	buf := make([]byte, most)
	n := 0
	for n < most {
		m, err := unix.Pread(fd, buf[n:], from+int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case m == 0:
			return buf[:n], nil
		default:
			n += m
		}
	}
	return buf, nil
}

// tooOld reports whether the file that is open as fd was made too long ago, or in the
// future, where its file system tells that.
func tooOld(fd int, now time.Time) bool {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return false
	}
	age := now.Sub(time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)))
	return age > maxSumAge || age < -maxSumAge
}

// parse reads the lines; whole says that text is the file from its begin.
func (s *sumFile) parse(text []byte, whole bool, now time.Time) {
	s.usable = whole && len(text) > 0 && text[len(text)-1] == '\n'
	first := true
	for line := range bytes.Lines(text) {
		switch {
		case first:
			first = false
			if whole {
				_, err := parseDefinition(string(bytes.TrimRight(line, "\n")))
				s.usable = s.usable && err == nil
			}
			continue // else it is a part of a line
		case line[len(line)-1] != '\n':
			continue
		}
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			s.usable = false
			continue
		}
		size, err1 := strconv.ParseInt(string(fields[0]), 10, 64)
		count, err2 := strconv.ParseInt(string(fields[1]), 10, 64)
		if err1 != nil || err2 != nil || !add(&s.sum.Bytes, size) || !add(&s.sum.Messages, count) {
			s.usable = false
			continue
		}
		if size != 0 || count != 0 {
			s.lines++
		}
		if b, ok := parseBooking(size, count, fields[2:]); ok {
			s.unsure = s.unsure || !b.arrived
			if b.recent(now) {
				s.bookings = append(s.bookings, b)
			}
		}
	}
	s.usable = s.usable && s.sum.Bytes >= 0 && s.sum.Messages >= 0
	if n := len(s.bookings) - maxBookings; n > 0 {
		s.bookings = s.bookings[n:]
	}
}

func parseBooking(size, count int64, more [][]byte) (b booking, ok bool) {
	number := func(i int) int64 {
		n, err := strconv.ParseInt(string(more[i]), 10, 64)
		ok = ok && err == nil && n >= 0
		return n
	}
	ok = true
	switch {
	case size >= 0 && count == 1 && len(more) == 1:
		b = booking{size: size, at: number(0)}
	case size == 0 && count == 0 && len(more) == 2:
		b = booking{at: number(0), size: number(1), arrived: true}
	default:
		return b, false
	}
	return b, ok
}

// add adds n, unless the sum is no number any more.
func add(sum *int64, n int64) bool {
	if n > 0 && *sum > math.MaxInt64-n || n < 0 && *sum < math.MinInt64-n {
		return false
	}
	*sum += n
	return true
}

// addLine adds a line to the maildirsize of the Maildir that is open as dir and belongs
// to owner, with one write, as a delivery program adds one (Maildir++). The file is
// never made, since one without its first line would lift the quota, and never reached
// through a link. One with another owner than the Maildir's, or root, or with a second
// name is another's file that somebody has put there. unix.ENOENT: there is none.
func addLine(dir int, owner uint32, line []byte) error {
	fd, err := sys.Openat(dir, quotaFile, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return err
	}
	if err := trustQuota(&st, owner); err != nil {
		return err
	}
	for {
		n, err := unix.Write(fd, line)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n < len(line):
			return unix.ENOSPC // a second write would not be one line any more
		default:
			return nil
		}
	}
}
