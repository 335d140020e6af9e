package queue

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// A Holding is a directory in which messages lie that were taken out of a queue, to be
// given to qmail-queue again later: NAME.eml is the text, NAME.envelope the rest. NAME is
// the number, or the number and .2, .3 and so on, since numbers are used again.
//
// NAME.envelope comes last and goes first: a text without it is not, or no longer, held.
type Holding struct {
	saver *Saver
}

const (
	textExt = ".eml"
	heldExt = ".envelope"
	heldMax = 2 * maxEnvelope
)

// The errors of a Holding.
var (
	ErrShared = errors.New("must belong to whom this runs as, or root, and be writable by nobody else")
	ErrInUse  = errors.New("in use by another process")
	// ErrUnknownKind says that a record would be lost that only a patched qmail knows:
	// qmail-queue takes none.
	ErrUnknownKind = errors.New("record of a kind that is not known here")
	ErrHeld        = errors.New("not an envelope of a held message")
)

// OpenHolding opens the directory, which must be there. What lies in it is given to
// qmail-queue with nobody's leave but that of who put it there, and by root: so nobody
// else may write there, ErrShared. Of all that open it one has it at a time, ErrInUse
// else; or a message could be given back twice.
func OpenHolding(dir string) (*Holding, error) {
	s, err := NewSaver(dir)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = sys.Fstat(s.fd, &st); err == nil && !ours(&st) {
		err = ErrShared
	}
	if err == nil {
		// Whoever could not remove there what has been given back would give it back
		// again and again. The superuser is told, too, where the disk is read-only.
		err = unix.Faccessat(s.fd, ".", unix.W_OK, 0)
	}
	if err == nil {
		if err = flock(s.fd, unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
			err = ErrInUse
		}
	}
	if err != nil {
		s.Close()
		return nil, pathError("open", dir, err)
	}
	return &Holding{s}, nil
}

// ours reports whether nobody but this process's user and root may write what st is of.
func ours(st *unix.Stat_t) bool {
	return (st.Uid == 0 || st.Uid == uint32(unix.Geteuid())) && st.Mode&0o022 == 0
}

// Close gives the directory back.
func (h *Holding) Close() error { return h.saver.Close() }

// A Held is a message in a Holding, as its envelope tells of it.
type Held struct {
	Name       string // without .envelope
	Number     uint64 // that it had
	Size       int64  // of the text
	Birth      time.Time
	Injector   string // as in Message
	Sender     string
	Recipients []HeldRecipient
}

// A HeldRecipient is one as the queue had it, and the address by which it came in, which
// is to be given to qmail-queue: that may put a prefix before it again.
type HeldRecipient struct {
	Recipient
	Original string
}

// Hold takes a message out of the queue: it is brought to the disk in the directory, and
// then removed as Lock.Remove does. One of which recipients have failed already is not
// removed: those who are still to come are marked done, so that qmail-send tells the
// sender of the failures, and removes it.
//
// A crash after the first, or in the second, leaves recipients in both places, and what
// was held is sent to them twice; never one in none. The errors are those of Lock.Bounce.
func (h *Holding) Hold(l *Lock, m *Message, v VirtualDomains) error {
	s, end, err := l.begin(m)
	if err != nil {
		return err
	}
	defer end()
	q := l.q
	if len(m.Other) > 0 {
		return fmt.Errorf("%w: %c", ErrUnknownKind, m.Other[0].Text[0])
	}
	bouncing := m.State() == S5 && m.Has(Bounce)
	var channels []openChannel
	if bouncing {
		channels, err = q.openChannels(s, m)
		defer closeChannels(channels)
		if err != nil {
			return err
		}
	}
	if err := h.save(q, m, v); err != nil {
		return err
	}
	if bouncing {
		return settle(channels)
	}
	return q.unlink(s, m)
}

// save writes the message under the first name that is free.
func (h *Holding) save(q *Queue, m *Message, v VirtualDomains) error {
	again, err := (&reader{q: q}).read(m.Found, parts{injector: true})
	if err != nil {
		return err
	}
	envelope := m.held(again.Injector, v).text()
	if _, err := parseHeld(envelope); err != nil { // a NUL where none can be
		return err
	}
	for k := 1; ; k++ {
		base := m.digits()
		if k > 1 {
			base += "." + strconv.Itoa(k)
		}
		taken := false
		for _, ext := range []string{textExt, heldExt} {
			var st unix.Stat_t
			switch err := sys.Lstatat(h.saver.fd, base+ext, &st); err {
			case nil:
				taken = true
			case unix.ENOENT:
			default:
				return pathError("stat", h.path(base+ext), err)
			}
		}
		if !taken {
			return h.saver.saveAs(q, m, base, heldExt, envelope)
		}
	}
}

// held is the message as it is held.
func (m *Message) held(injector string, v VirtualDomains) *Held {
	h := &Held{Number: m.Number, Size: m.Size, Birth: m.Birth, Injector: injector, Sender: m.Sender}
	for _, r := range m.Recipients {
		h.Recipients = append(h.Recipients, HeldRecipient{r, v.original(r)})
	}
	return h
}

// The records of an envelope, which end with NUL as qmail's do: heldHead; n, the number;
// s, the size of the text; b, the birth in seconds since 1970; i, the injector; F, the sender; T or D for each
// recipient, CHANNEL:ADDRESS, and A behind it, where it came in by another address; E,
// the SHA-256 of all before.
const heldHead = "kowaza hold 1\x00"

// text returns the envelope as parseHeld reads it.
func (h *Held) text() []byte {
	b := []byte(heldHead)
	b = fmt.Appendf(b, "n%d\x00s%d\x00b%d\x00i%s\x00F%s\x00", h.Number, h.Size, h.Birth.Unix(), h.Injector, h.Sender)
	for _, r := range h.Recipients {
		kind := 'T'
		if r.Done {
			kind = 'D'
		}
		b = fmt.Appendf(b, "%c%s:%s\x00", kind, r.Channel, r.Address)
		if r.Original != r.Address {
			b = fmt.Appendf(b, "A%s\x00", r.Original)
		}
	}
	return fmt.Appendf(b, "E%x\x00", sha256.Sum256(b))
}

// parseHeld reads an envelope. What is not whole, or not as text writes it, is ErrHeld.
func parseHeld(text []byte) (*Held, error) {
	const last = 1 + 2*sha256.Size + 1
	rest, known := bytes.CutPrefix(text[:max(len(text)-last, 0)], []byte(heldHead))
	if !known {
		return nil, ErrHeld
	}
	h := new(Held)
	head := "nsbiF" // the kinds that come first, each once
	for len(rest) > 0 {
		record, more, ended := bytes.Cut(rest, []byte{0})
		if !ended || len(record) == 0 {
			return nil, ErrHeld
		}
		rest = more
		kind, value := record[0], string(record[1:])
		if head != "" {
			if kind != head[0] || !h.take(kind, value) {
				return nil, ErrHeld
			}
			head = head[1:]
			continue
		}
		switch kind {
		case 'T', 'D':
			channel, address, ok := strings.Cut(value, ":")
			if !ok {
				return nil, ErrHeld
			}
			h.Recipients = append(h.Recipients, HeldRecipient{Recipient{address, channel, kind == 'D'}, address})
		case 'A':
			if len(h.Recipients) == 0 {
				return nil, ErrHeld
			}
			h.Recipients[len(h.Recipients)-1].Original = value
		default:
			return nil, ErrHeld
		}
	}
	// That has the sum, too.
	if head != "" || !bytes.Equal(h.text(), text) {
		return nil, ErrHeld
	}
	return h, nil
}

// take takes one of the records that come first.
func (h *Held) take(kind byte, value string) bool {
	var err error
	ok := true
	switch kind {
	case 'n':
		h.Number, ok = number([]byte(value))
	case 's':
		h.Size, err = strconv.ParseInt(value, 10, 64)
	case 'b':
		var seconds int64
		seconds, err = strconv.ParseInt(value, 10, 64)
		h.Birth = time.Unix(seconds, 0)
	case 'i':
		h.Injector = value
	case 'F':
		h.Sender = value
	}
	return ok && err == nil
}

// Envelope is what qmail-queue reads (qmail-queue(8)): the sender, and the recipients who
// are still to come.
func (h *Held) Envelope() []byte {
	b := []byte("F" + h.Sender + "\x00")
	for _, r := range h.Recipients {
		if !r.Done {
			b = append(b, "T"+r.Original+"\x00"...)
		}
	}
	return append(b, 0)
}

// Names returns the names of the messages that are held, sorted.
func (h *Holding) Names() (names []string, err error) {
	err = eachDirent(h.saver.fd, func(_ int, d sys.Dirent) error {
		if name, ok := strings.CutSuffix(string(d.Name), heldExt); ok && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	return names, inPath("read", h.saver.dir, err)
}

// Open reads the envelope of a message that is held, and opens its text, at its
// beginning. Both must be regular files that only this process's user and root may
// write, and the text must have the size that it had.
func (h *Holding) Open(name string) (*Held, *os.File, error) {
	f, _, err := h.open(name + heldExt)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, heldMax+1))
	if err == nil && len(text) > heldMax {
		err = ErrTooLarge
	}
	var held *Held
	if err == nil {
		held, err = parseHeld(text)
	}
	if err != nil {
		return nil, nil, inPath("read", h.path(name+heldExt), err)
	}
	held.Name = name
	eml, size, err := h.open(name + textExt)
	if err == nil && size != held.Size {
		eml.Close()
		err = pathError("read", h.path(name+textExt), fmt.Errorf("%d bytes, not %d", size, held.Size))
	}
	if err != nil {
		return nil, nil, err
	}
	return held, eml, nil
}

func (h *Holding) path(name string) string { return filepath.Join(h.saver.dir, name) }

func (h *Holding) open(name string) (*os.File, int64, error) {
	fd, err := sys.Openat(h.saver.fd, name, unix.O_RDONLY|openFile)
	if err == unix.ELOOP {
		err = ErrNotRegular
	}
	if err != nil {
		return nil, 0, pathError("open", h.path(name), err)
	}
	var st unix.Stat_t
	switch err = sys.Fstat(fd, &st); {
	case err != nil:
	case !isRegular(&st):
		err = ErrNotRegular
	case !ours(&st):
		err = ErrShared
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		closeFD(fd)
		return nil, 0, pathError("open", h.path(name), err)
	}
	return os.NewFile(uintptr(fd), h.path(name)), st.Size, nil
}

// Drop removes a message that has been given back. Until its envelope is away it would be
// given back again.
func (h *Holding) Drop(name string) error {
	if err := sys.Unlinkat(h.saver.fd, name+heldExt); err != nil {
		return pathError("remove", h.path(name+heldExt), err)
	}
	err := sys.Unlinkat(h.saver.fd, name+textExt)
	if err != nil {
		err = pathError("remove", h.path(name+textExt), err)
	}
	if syncErr := fsync(h.saver.fd); err == nil && syncErr != nil {
		err = pathError("sync", h.saver.dir, syncErr)
	}
	return err
}
