package maildir

import (
	"errors"
	"strconv"
	"strings"
)

// A Quota is what a Maildir may hold. 0 is no limit.
type Quota struct {
	Bytes, Messages int64
}

// maxQuota is the largest limit, in bytes or in messages: 2^53, up to which all who
// read a maildirsize take a number for what it is.
const maxQuota = 1 << 53

var errQuota = errors.New("not a quota")

// ParseQuota reads a quota: a number of KB (1024 bytes); a number with K, M or G
// behind it, in either case; or what stands in the first line of a maildirsize
// (Maildir++), as 10000000S,1000C: bytes and messages, each letter at most once. 0 and
// none are no limit.
func ParseQuota(s string) (Quota, error) {
	if s == "none" {
		return Quota{}, nil
	}
	if n := len(s) - 1; n >= 0 && (s[n] == 'S' || s[n] == 'C') {
		return parseDefinition(s)
	}
	bytes, err := ParseKB(s)
	return Quota{Bytes: bytes}, err
}

// ParseKB reads a size that ParseQuota takes but for the definition of Maildir++, and
// returns it in bytes.
func ParseKB(s string) (int64, error) {
	if s == "none" {
		return 0, nil
	}
	unit := int64(1 << 10)
	if n := len(s) - 1; n > 0 {
		if i := strings.IndexByte("kmg", s[n]|0x20); i >= 0 && s[n] >= 'A' {
			unit, s = 1<<(10*(i+1)), s[:n]
		}
	}
	n, err := decimal(s)
	if err != nil || n > maxQuota/unit {
		return 0, errQuota
	}
	return n * unit, nil
}

func parseDefinition(s string) (q Quota, err error) {
	var bytes, messages bool
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			return Quota{}, errQuota
		}
		field, seen := &q.Bytes, &bytes
		if part[len(part)-1] == 'C' {
			field, seen = &q.Messages, &messages
		} else if part[len(part)-1] != 'S' {
			return Quota{}, errQuota
		}
		n, err := decimal(part[:len(part)-1])
		if err != nil || n > maxQuota || *seen {
			return Quota{}, errQuota
		}
		*field, *seen = n, true
	}
	return q, nil
}

// decimal reads decimal digits and nothing else.
func decimal(s string) (int64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, errQuota
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errQuota
	}
	return n, nil
}

// Definition returns the quota as Maildir++ has it.
func (q Quota) Definition() string {
	s := strconv.FormatInt(q.Bytes, 10) + "S"
	switch {
	case q.Messages == 0:
		return s
	case q.Bytes == 0:
		s = ""
	default:
		s += ","
	}
	return s + strconv.FormatInt(q.Messages, 10) + "C"
}

// Usage is what there is in a Maildir, as its quota counts it.
type Usage struct {
	Bytes, Messages int64
}

// Plus returns the sum of both.
func (u Usage) Plus(v Usage) Usage { return Usage{u.Bytes + v.Bytes, u.Messages + v.Messages} }

// Fits reports whether that much is within the quota.
func (q Quota) Fits(u Usage) bool {
	return (q.Bytes == 0 || u.Bytes <= q.Bytes) && (q.Messages == 0 || u.Messages <= q.Messages)
}

// Percent returns how much of the quota that is: the larger share of its two limits, in
// per cent, rounded down; false where there is no limit.
func (q Quota) Percent(u Usage) (int64, bool) {
	var share int64
	for _, l := range []struct{ used, limit int64 }{{u.Bytes, q.Bytes}, {u.Messages, q.Messages}} {
		if l.limit > 0 {
			share = max(share, percent(l.used, l.limit))
		}
	}
	return share, q != Quota{}
}

func percent(used, limit int64) int64 {
	if used > maxQuota { // times 100 it would not be a number any more
		return used / max(limit/100, 1)
	}
	return used * 100 / limit
}
