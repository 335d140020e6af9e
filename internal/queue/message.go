package queue

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/message"
	"kowaza/internal/sys"
)

// A Message is what has been read of one.
type Message struct {
	Found
	Sender      string
	SenderKnown bool // it could be read; the empty one is a sender, too
	Recipients  []Recipient
	// Other are the records that qmail itself does not know.
	Other []Record
	// Injector is who gave the message to qmail-queue: a uid, or alias, network or
	// bounce, as the first line of its text has it, which is read where that is asked
	// for, else the uid in todo. Empty where nothing tells.
	Injector string
	Birth    time.Time // since when it is in the queue; zero where nothing tells
	// Retry is when the first channel with a recipient to come is due. It is as
	// of qmail-send's last start: while that runs, it keeps these times to itself.
	Retry    time.Time
	Size     int64 // of the mess file
	Bouncing bool  // some recipient has failed already
	Header   Header
	Problems []error // what is malformed or could not be read; each names its file

	queue            *Queue
	mess, info, todo identity
	uid              uint32 // of mess
	infoText         string
	malformed        []Place // pieces that could be read, and are not what qmail writes
}

// An identity is what tells a file from the next one of its name, which may
// well have the same inode number.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// file is what stays the same as long as the file is there.
func (i identity) file() fileID { return fileID{i.dev, i.ino} }

func identityOf(st *unix.Stat_t) identity {
	return identity{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// Subject returns the subject for showing. It may hold control characters and
// bytes that are no UTF-8.
func (m *Message) Subject() string { return message.Show(m.Header.Subject.Raw) }

// problem notes what is wrong with a piece.
func (m *Message) problem(p Place, err error) {
	m.Problems = append(m.Problems, pathError("read", m.queue.path(p, m.Number), err))
	if errors.Is(err, ErrMalformed) {
		m.malformed = append(m.malformed, p)
	}
}

// take takes over what was read of the envelope.
func (m *Message) take(e *envelope) {
	m.Sender, m.SenderKnown, m.Recipients, m.Other = e.sender, e.known, e.recipients, e.other
}

// Whole reports whether all pieces could be read, and nothing else is wrong but that
// some are malformed.
func (m *Message) Whole() bool { return len(m.Problems) == len(m.malformed) }

// maxEnvelope is how much of an envelope is read. qmail sets no limit; with a
// thousand times a large list's recipients something is wrong.
const maxEnvelope = 64 << 20

// A reader reads messages, one after the other, and keeps its buffers.
type reader struct {
	q    *Queue
	buf  []byte
	name name
	st   unix.Stat_t
}

const (
	firstBuf = 16 << 10  // holds nearly every envelope and header at once
	keepBuf  = 256 << 10 // what a reader may keep of a larger buffer, in bytes
)

// Read reads one message, with the fields of its header or without. What is no
// more there is ErrVanished.
func (q *Queue) Read(f Found, header bool) (*Message, error) {
	return (&reader{q: q}).read(f, parts{header: header})
}

func (r *reader) read(f Found, want parts) (*Message, error) {
	s, err := r.q.pin(f.Number % r.q.split)
	if err != nil {
		return nil, err
	}
	defer r.q.unpin(s)
	return r.message(s, f, want)
}

// parts are what is read beside the envelope.
type parts struct {
	header   bool // its fields
	injector bool // its first line
}

// message reads f and, where that has gone on to another state meanwhile, what
// it is by now.
func (r *reader) message(s *subDirs, f Found, want parts) (*Message, error) {
	defer r.release()
	// A message's end takes its channels, its info and its text, one at a time.
	for range 5 {
		m, err := r.readOnce(s, f, want)
		if err != unix.ENOENT {
			return m, err
		}
		if f, err = r.q.find(s, f.Number); err == ErrNotFound {
			return nil, ErrVanished
		} else if err != nil {
			return nil, err
		}
	}
	return nil, ErrVanished
}

// readOnce returns ENOENT where a piece that f has is gone.
func (r *reader) readOnce(s *subDirs, f Found, want parts) (*Message, error) {
	m := &Message{Found: f, queue: r.q, Bouncing: f.Has(Bounce)}
	state := f.State()
	r.name.set(f.Number)
	if err := r.envelope(s, m, state); err != nil {
		return nil, err
	}
	if f.Has(Mess) {
		if err := r.mess(s, m, state, want); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// envelope reads sender and recipients. A half received message has none: what
// else may lie there is left from another.
func (r *reader) envelope(s *subDirs, m *Message, state State) error {
	switch {
	case m.Has(Todo):
		text, err := r.readPiece(s, m, Todo, state)
		if err != nil {
			return err
		}
		if text != nil {
			var e envelope
			if err = e.parseTodo(string(text)); err != nil {
				m.problem(Todo, err)
			}
			m.take(&e)
			m.Injector = e.uid
		}
		m.todo = r.setBirth(m)
		return nil
	case state == S2 || state == S3:
		return nil
	}
	var e envelope
	defer func() { m.take(&e) }()
	if m.Has(Info) {
		text, err := r.readPiece(s, m, Info, state)
		if err != nil {
			return err
		}
		m.info = r.setBirth(m)
		m.infoText = string(text)
		if text != nil {
			if err = e.parseInfo(m.infoText); err != nil {
				m.problem(Info, err)
			}
		}
	}
	for _, p := range r.q.places[Local:] {
		if m.Has(p.Place) {
			if err := r.channel(s, m, &e, p.Place, state); err != nil {
				return err
			}
		}
	}
	return nil
}

// setBirth takes the birth from the piece that was read last, which tells it, and
// returns its identity. Of one that nothing could be told of, both are zero.
func (r *reader) setBirth(m *Message) identity {
	if r.st.Ino == 0 {
		return identity{}
	}
	m.Birth = timeOf(r.st.Mtim)
	return identityOf(&r.st)
}

// channel reads the recipients of a channel. Where it is gone all of them are
// done, and the message is read anew.
func (r *reader) channel(s *subDirs, m *Message, e *envelope, p Place, state State) error {
	text, err := r.readPiece(s, m, p, state)
	if err != nil || text == nil {
		return err
	}
	known := len(e.recipients)
	if err = e.parseChannel(string(text), p); err != nil {
		m.problem(p, err)
	}
	for _, recipient := range e.recipients[known:] {
		if due := timeOf(r.st.Mtim); !recipient.Done && (m.Retry.IsZero() || due.Before(m.Retry)) {
			m.Retry = due
		}
	}
	return nil
}

// readPiece reads a piece into the buffer and leaves its state in r.st. ENOENT is
// the only error; any other is noted as a problem of m, and nil returned.
func (r *reader) readPiece(s *subDirs, m *Message, p Place, state State) ([]byte, error) {
	r.st = unix.Stat_t{}
	fd, err := r.open(s, p, state)
	if err == unix.ENOENT {
		return nil, err
	}
	var text []byte
	if err == nil {
		defer closeFD(fd)
		text, err = r.contents(fd)
	}
	if err != nil {
		m.problem(p, err)
		if r.st.Ino == 0 { // not opened
			err = sys.Lstatat(s.fd[r.q.index(p)], string(r.name.digits()), &r.st)
		}
		if err != unix.ENOENT {
			err = nil
		}
		return nil, err
	}
	return text, nil
}

// contents reads an envelope's file.
func (r *reader) contents(fd int) ([]byte, error) {
	if r.st.Size > maxEnvelope {
		return nil, ErrTooLarge
	}
	n := 0
	for {
		r.grow(n, int(r.st.Size)+1)
		got, err := read(fd, r.buf[n:])
		if err != nil {
			return nil, err
		}
		n += got
		switch {
		case n > maxEnvelope:
			return nil, ErrTooLarge
		case n < len(r.buf): // a regular file gives all it has
			return r.buf[:n], nil
		}
	}
}

// open opens a piece for reading, which must be a regular file, and leaves its
// state in r.st.
//
// Reading changes the access time, by which qmail-send finds out whether a half
// received message is dead, and Remove whether an orphan is. So it is not
// changed. A process that may not ask for that, as it does not own the file (EPERM
// of O_NOATIME), reads only pieces whose access time neither of them looks at.
func (r *reader) open(s *subDirs, p Place, state State) (int, error) {
	dir := s.fd[r.q.index(p)]
	fd, err := openName(dir, &r.name, unix.O_RDONLY|openFile|noAtime)
	if err == unix.EPERM || err == nil && noAtime == 0 {
		if err == nil {
			closeFD(fd)
		}
		if !state.Committed() {
			return -1, ErrNotRead
		}
		fd, err = openName(dir, &r.name, unix.O_RDONLY|openFile)
	}
	if err == unix.ELOOP {
		return -1, ErrNotRegular
	}
	if err != nil {
		return -1, err
	}
	if err = sys.Fstat(fd, &r.st); err == nil && !isRegular(&r.st) {
		err = ErrNotRegular
	}
	if err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

// mess reads what the mess file tells.
func (r *reader) mess(s *subDirs, m *Message, state State, want parts) error {
	r.st = unix.Stat_t{}
	var problem error
	if want.header || want.injector {
		fd, err := r.open(s, Mess, state)
		if err == nil && want.injector {
			err = r.injector(fd, m)
		}
		if err == nil && want.header {
			m.Header, err = r.header(fd)
		}
		if fd >= 0 {
			closeFD(fd)
		}
		problem = err
	}
	if r.st.Ino == 0 && problem != unix.ENOENT { // not opened
		err := sys.Lstatat(s.fd[Mess], string(r.name.digits()), &r.st)
		if err == unix.ENOENT || problem == nil {
			problem = err
		}
		if problem == nil && !isRegular(&r.st) {
			problem = ErrNotRegular
		}
	}
	if problem == unix.ENOENT {
		return problem
	}
	if problem != nil {
		m.problem(Mess, problem)
	}
	if r.st.Ino == 0 {
		return nil
	}
	m.mess, m.uid, m.Size = identityOf(&r.st), r.st.Uid, r.st.Size
	if state == S2 || state == S3 {
		m.Birth = timeOf(r.st.Mtim)
	}
	return nil
}

// maxReceived is longer than the line that qmail-queue puts before a text.
const maxReceived = 512

// injector reads who injected the text that is open as fd.
func (r *reader) injector(fd int, m *Message) error {
	r.grow(0, firstBuf)
	n, err := pread(fd, r.buf[:maxReceived], 0)
	if err != nil {
		return err
	}
	if who := parseReceived(r.buf[:n]); who != "" {
		m.Injector = who
	}
	return nil
}

// header reads the header of the text that is open as fd.
func (r *reader) header(fd int) (Header, error) {
	n, seen := 0, 0
	for {
		r.grow(n, firstBuf)
		got, err := read(fd, r.buf[n:min(len(r.buf), maxHeader)])
		if err != nil {
			return Header{}, err
		}
		n += got
		if end := message.HeaderEnd(r.buf[:n], seen); end >= 0 {
			return parseHeader(r.buf[:end]), nil
		}
		if got == 0 || n == maxHeader {
			return parseHeader(r.buf[:n]), nil
		}
		seen = max(0, n-2) // a line's end may be half read
	}
}

// grow makes the buffer larger than n, and as large as size is likely to be.
func (r *reader) grow(n, size int) {
	if n < len(r.buf) && size <= len(r.buf) {
		return
	}
	bigger := make([]byte, max(firstBuf, size, 2*n))
	copy(bigger, r.buf[:n])
	r.buf = bigger
}

// release forgets what one huge message needed.
func (r *reader) release() {
	if len(r.buf) > keepBuf {
		r.buf = nil
	}
}

// OpenMessage opens the text of a message, a regular file. See reader.open for
// the access time.
func (q *Queue) OpenMessage(f Found) (*os.File, error) {
	s, err := q.pin(f.Number % q.split)
	if err != nil {
		return nil, err
	}
	defer q.unpin(s)
	path := q.path(Mess, f.Number)
	r := reader{q: q}
	r.name.set(f.Number)
	fd, err := r.open(s, Mess, f.State())
	if err == unix.ENOENT {
		return nil, ErrVanished
	}
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
