package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"
)

// Ages are where the columns of a Shape end: less than so long in the queue. One more
// column has what is as old as the last, or older.
var Ages = [...]time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 80 * time.Minute,
	160 * time.Minute, 320 * time.Minute, 640 * time.Minute, 1280 * time.Minute}

// A Count counts messages by age, as in Ages.
type Count [len(Ages) + 1]uint32

// Total is the sum.
func (c *Count) Total() (n uint64) {
	for _, k := range c {
		n += uint64(k)
	}
	return n
}

// Add counts a message of that age.
func (c *Count) Add(age time.Duration) { c[column(age)]++ }

// column returns where an age is counted. One before the beginning is of a clock that
// was set back.
func column(age time.Duration) uint32 {
	i := 0
	for i < len(Ages) && age >= Ages[i] {
		i++
	}
	return uint32(i)
}

// A Shape counts messages by a name, an address or a domain, and by age. A million
// names take some 30 bytes each beside their local parts; a domain is kept once. The
// zero Shape is empty.
type Shape struct {
	domains, names table
	counts         vector[uint32] // by name: a column where there is one message, or many's index with the bit several
	many           vector[Count]
}

const several = 1 << 31

// maxName bounds what is kept of a name, in bytes: no address of RFC 5321 is longer.
const maxName = 1000

// Add counts a message of that age once for the name.
func (s *Shape) Add(name string, age time.Duration) {
	if len(name) > maxName {
		// Two that differ stay two.
		name = fmt.Sprintf("%s...[%d bytes, %016x]", name[:maxName], len(name), maphash.String(s.domains.seeded(), name))
	}
	// A name in two parts, so that the domain is kept once: its number and the rest.
	at := strings.LastIndexByte(name, '@')
	var key [4 + maxName + 64]byte
	k := binary.LittleEndian.AppendUint32(key[:0], 0)
	if at >= 0 {
		binary.LittleEndian.PutUint32(k, s.domains.add([]byte(name[at:]))+1)
		name = name[:at]
	}
	id := s.names.add(append(k, name...))
	c := column(age)
	if int(id) == s.counts.n {
		s.counts.add(c)
		return
	}
	first := s.counts.at(id)
	if *first&several == 0 {
		var both Count
		both[*first]++
		*first = several | uint32(s.many.n)
		s.many.add(both)
	}
	s.many.at(*first &^ several)[c]++
}

// name returns the name of a number.
func (s *Shape) name(id uint32) string {
	local, domain := s.parts(id)
	return string(local) + string(domain)
}

func (s *Shape) count(id uint32) (c Count) {
	at := *s.counts.at(id)
	if at&several != 0 {
		return *s.many.at(at &^ several)
	}
	c[at]++
	return c
}

// Names returns how many names there are.
func (s *Shape) Names() int { return s.names.refs.n }

// Each tells the names with their counts, those of the most messages first, and of
// as many in the order of the names, until it returns false.
func (s *Shape) Each(each func(name string, c Count) bool) {
	type rank struct{ id, total uint32 }
	order := make([]rank, s.Names())
	for i := range order {
		c := s.count(uint32(i))
		order[i] = rank{uint32(i), uint32(min(c.Total(), 1<<32-1))}
	}
	slices.SortFunc(order, func(a, b rank) int {
		if a.total != b.total {
			if a.total > b.total {
				return -1
			}
			return 1
		}
		return s.compare(a.id, b.id)
	})
	for _, r := range order {
		if !each(s.name(r.id), s.count(r.id)) {
			return
		}
	}
}

// compare orders two names without making strings of them.
func (s *Shape) compare(a, b uint32) int {
	x, dx := s.parts(a)
	y, dy := s.parts(b)
	n := min(len(x), len(y))
	if c := bytes.Compare(x[:n], y[:n]); c != 0 {
		return c
	}
	// What the longer one has more stands beside the other's domain.
	x, y = x[n:], y[n:]
	if len(x) == 0 && len(y) == 0 {
		return bytes.Compare(dx, dy)
	}
	var bufX, bufY [2 * maxName]byte
	return bytes.Compare(append(append(bufX[:0], x...), dx...), append(append(bufY[:0], y...), dy...))
}

// parts returns the two parts of a name.
func (s *Shape) parts(id uint32) (local, domain []byte) {
	key := s.names.get(id)
	if d := binary.LittleEndian.Uint32(key); d != 0 {
		domain = s.domains.get(d - 1)
	}
	return key[4:], domain
}

// A vector is a slice that grows without being copied.
type vector[T any] struct {
	chunks [][]T
	n      int
}

const chunk = 1 << 12

func (v *vector[T]) add(x T) {
	if v.n%chunk == 0 {
		v.chunks = append(v.chunks, make([]T, chunk))
	}
	v.chunks[v.n/chunk][v.n%chunk] = x
	v.n++
}

func (v *vector[T]) at(i uint32) *T { return &v.chunks[i/chunk][i%chunk] }

// A table numbers byte strings, each once. It is a hash table with open addressing
// over an arena: a map with strings would take several times as much.
type table struct {
	seed  maphash.Seed
	slots []uint32 // numbers and 1, 0 is free
	refs  vector[uint32]
	arena [][]byte // chunks; before each string are two bytes of its length
}

// arenaChunk is how much is allocated at once; a ref has 16 bits for the place in one.
const arenaChunk = 1 << 16

func (t *table) seeded() maphash.Seed {
	if t.slots == nil {
		t.seed = maphash.MakeSeed()
		t.slots = make([]uint32, 64)
	}
	return t.seed
}

// add returns the number of b, the next one where it is new.
func (t *table) add(b []byte) uint32 {
	seed := t.seeded()
	if 4*(t.refs.n+1) > 3*len(t.slots) {
		t.grow()
	}
	mask := uint64(len(t.slots) - 1)
	at := maphash.Bytes(seed, b) & mask
	for ; t.slots[at] != 0; at = (at + 1) & mask {
		if id := t.slots[at] - 1; bytes.Equal(t.get(id), b) {
			return id
		}
	}
	id := uint32(t.refs.n)
	t.slots[at] = id + 1
	t.refs.add(t.store(b))
	return id
}

// store puts b into the arena.
func (t *table) store(b []byte) uint32 {
	last := len(t.arena) - 1
	if last < 0 || len(t.arena[last])+2+len(b) > arenaChunk {
		t.arena = append(t.arena, make([]byte, 0, arenaChunk))
		last++
	}
	ref := uint32(last)<<16 | uint32(len(t.arena[last]))
	t.arena[last] = append(binary.LittleEndian.AppendUint16(t.arena[last], uint16(len(b))), b...)
	return ref
}

func (t *table) get(id uint32) []byte {
	ref := *t.refs.at(id)
	b := t.arena[ref>>16][ref&(arenaChunk-1):]
	return b[2 : 2+binary.LittleEndian.Uint16(b)]
}

func (t *table) grow() {
	slots := make([]uint32, 2*len(t.slots))
	mask := uint64(len(slots) - 1)
	t.slots = slots
	for id := range uint32(t.refs.n) {
		at := maphash.Bytes(t.seed, t.get(id)) & mask
		for slots[at] != 0 {
			at = (at + 1) & mask
		}
		slots[at] = id + 1
	}
}
