package queue

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// A Plan says which messages of a copied queue get which numbers. It is written before
// anything is renamed, so that a run which was interrupted can be ended by another.
//
// Every piece stands in it with its inode number, which a rename does not change:
// whatever has been renamed so far, each is found again, and no other file is ever taken
// for it.
type Plan struct {
	Moves []Move

	layout string // of the queue that it was made for
}

// A Move is one message's way to its new number.
type Move struct {
	Old, New uint64
	pieces   []planned // those that it has, in the order in which they are renamed
}

// A planned is a piece of a Move.
type planned struct {
	place Place
	inode uint64
}

// ErrPlan says that a file in the place of a plan is none.
var ErrPlan = errors.New("not a plan for this queue")

// planHead begins a plan, and planEnd its last line; what is in between is
// "OLD NEW PLACE=INODE ...", a line for each Move. The last line has their number and
// the SHA-256 of all before it: what is not whole is no plan.
const (
	planHead = "kowaza repair 1 "
	planEnd  = "end "
)

// layoutLine describes a layout: the split, and the places in the order of Move.pieces,
// those that are split with a slash.
func (q *Queue) layoutLine() string {
	line := "split " + strconv.FormatUint(q.split, 10)
	for _, i := range q.removeOrder {
		line += " " + q.places[i].String()
		if q.places[i].split {
			line += "/"
		}
	}
	return line
}

// write writes the plan as readPlan reads it.
func (p *Plan) write(to io.Writer) error {
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(to, sum), 64<<10)
	fmt.Fprintf(w, "%s%s\n", planHead, p.layout)
	var line []byte
	for _, m := range p.Moves {
		line = strconv.AppendUint(line[:0], m.Old, 10)
		line = strconv.AppendUint(append(line, ' '), m.New, 10)
		for _, piece := range m.pieces {
			line = append(append(append(line, ' '), piece.place.String()...), '=')
			line = strconv.AppendUint(line, piece.inode, 10)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(to, "%s%d %x\n", planEnd, len(p.Moves), sum.Sum(nil))
	return err
}

// maxPlanLine bounds a line of a plan, in bytes: there are at most 64 places.
const maxPlanLine = 4 << 10

// readPlan reads a plan that was written for a queue of that layout. Anything else is
// ErrPlan: to follow half a plan, or another queue's, would mix messages up.
func readPlan(from io.Reader, layout string) (*Plan, error) {
	p := &Plan{layout: layout}
	sum := sha256.New()
	r := bufio.NewReaderSize(from, max(maxPlanLine, len(planHead)+len(layout)+1))
	bad := func(format string, a ...any) (*Plan, error) {
		return nil, fmt.Errorf("%w: "+format, append([]any{ErrPlan}, a...)...)
	}
	places := make(map[string]int) // rank in the order of a line
	byName := make(map[string]Place)
	for i, word := range strings.Fields(layout)[min(2, len(strings.Fields(layout))):] {
		name := strings.TrimSuffix(word, "/")
		places[name] = i
		byName[name] = placeNamed(name)
	}
	olds, news := make(map[uint64]bool), make(map[uint64]bool)
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull:
			return bad("line %d is too long", n+1)
		case err == io.EOF:
			return bad("its end is missing")
		case err != nil:
			return nil, err
		}
		text := string(line[:len(line)-1])
		switch rest, last := strings.CutPrefix(text, planEnd); {
		case n == 0:
			if text != planHead+layout {
				return bad("line 1")
			}
		case last:
			if rest != fmt.Sprintf("%d %x", len(p.Moves), sum.Sum(nil)) {
				return bad("it is not whole")
			}
			if _, err := r.ReadByte(); err != io.EOF {
				return bad("something stands behind its end")
			}
			return p, nil
		default:
			m, ok := parseMove(text, places, byName)
			if !ok || olds[m.Old] || news[m.New] || len(p.Moves) == math.MaxInt32 {
				return bad("line %d", n+1)
			}
			olds[m.Old], news[m.New] = true, true
			p.Moves = append(p.Moves, m)
		}
		sum.Write(line)
	}
}

// placeNamed is the opposite of Place.String, for the names of a layout.
func placeNamed(name string) Place {
	for p, n := range placeNames {
		if n == name {
			return Place(p)
		}
	}
	n, _ := number([]byte(strings.TrimPrefix(name, "suppl")))
	return Suppl + Place(n)
}

// parseMove reads a line of a plan. The new number is the inode of the text, or where
// there is none that of the first piece.
func parseMove(line string, places map[string]int, byName map[string]Place) (m Move, ok bool) {
	words := strings.Split(line, " ")
	if len(words) < 3 {
		return m, false
	}
	var okOld, okNew bool
	m.Old, okOld = number([]byte(words[0]))
	m.New, okNew = number([]byte(words[1]))
	if !okOld || !okNew || m.Old == 0 || m.New == 0 || m.Old == m.New {
		return m, false
	}
	before := -1
	for _, word := range words[2:] {
		name, digits, _ := strings.Cut(word, "=")
		rank, known := places[name]
		inode, isNumber := number([]byte(digits))
		if !known || !isNumber || rank <= before {
			return m, false
		}
		before = rank
		m.pieces = append(m.pieces, planned{byName[name], inode})
	}
	return m, m.New == m.numbering().inode
}

// numbering is the piece whose inode is the message's new number.
func (m *Move) numbering() planned {
	if last := m.pieces[len(m.pieces)-1]; last.place == Mess {
		return last
	}
	return m.pieces[0]
}
