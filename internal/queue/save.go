package queue

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// A Saver writes messages into a directory: NUMBER.eml the text, NUMBER.json
// the envelope, and of what is malformed the piece itself: NUMBER.remote and so on.
type Saver struct {
	fd  int
	dir string
	buf []byte
}

// NewSaver opens the directory, which must be there.
func NewSaver(dir string) (*Saver, error) {
	fd, err := sys.Openat(atCWD, dir, openDirFollow)
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	return &Saver{fd: fd, dir: dir, buf: make([]byte, 128<<10)}, nil
}

// Close gives the descriptor of the directory back. Its error is always nil: what
// was saved has been synced before.
func (s *Saver) Close() error {
	closeFD(s.fd)
	s.fd = -1
	return nil
}

// Save writes the message, and returns nil only when all files stand on the
// disk. None ever replaces another file: each is written under a temporary
// name, synced and then given its own. After an error none is there.
//
// A message of which a piece could not be read is not saved, since it could not be
// put back from that.
func (s *Saver) Save(q *Queue, m *Message) error {
	switch {
	case !m.Has(Mess):
		return ErrOrphan
	case !m.Whole():
		for _, err := range m.Problems {
			if !errors.Is(err, ErrMalformed) {
				return err
			}
		}
	}
	line, err := m.JSON()
	if err != nil {
		return err
	}
	return s.saveAs(q, m, strconv.FormatUint(m.Number, 10), ".json", append(line, '\n'))
}

// saveAs writes the text as base.eml, and what is told of the message besides it.
func (s *Saver) saveAs(q *Queue, m *Message, base, ext string, envelope []byte) error {
	text, err := q.OpenMessage(m.Found)
	if err != nil {
		return err
	}
	defer text.Close()
	var files []*saved
	err = s.save(&files, m, int(text.Fd()), base, ext, envelope)
	if err != nil {
		for _, f := range files {
			err = errors.Join(err, f.remove(s))
		}
	}
	return err
}

// save notes in files what it makes.
func (s *Saver) save(files *[]*saved, m *Message, text int, base, ext string, envelope []byte) error {
	eml, err := s.create(base + ".eml")
	if err != nil {
		return err
	}
	*files = append(*files, eml)
	second, err := s.create(base + ext)
	if err != nil {
		return err
	}
	*files = append(*files, second)
	for _, p := range m.malformed {
		raw, err := s.create(base + "." + p.String())
		if err != nil {
			return err
		}
		*files = append(*files, raw)
		if err := s.copyPiece(raw, m, p); err != nil {
			return err
		}
	}
	if err := s.copy(eml, text, m); err != nil {
		return err
	}
	if err := s.finish(second, envelope); err != nil {
		return err
	}
	for _, f := range *files {
		if err := f.place(s); err != nil {
			return err
		}
	}
	return inPath("sync", s.dir, fsync(s.fd))
}

// saved is a file on its way to its name.
type saved struct {
	name, temporary string
	fd              int  // -1 once it is written
	placed          bool // it has its name
}

func (s *Saver) create(name string) (*saved, error) {
	f := &saved{name: name, temporary: "." + name + "." + strconv.FormatUint(rand.Uint64(), 36)}
	var err error
	f.fd, err = sys.OpenatMode(s.fd, f.temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|openFile, 0o600)
	if err != nil {
		return nil, pathError("create", filepath.Join(s.dir, f.temporary), err)
	}
	return f, nil
}

// copy writes the text, which must be the one that was read.
func (s *Saver) copy(f *saved, from int, m *Message) error {
	path := m.queue.path(Mess, m.Number)
	var st unix.Stat_t
	if err := sys.Fstat(from, &st); err != nil {
		return pathError("stat", path, err)
	}
	if identityOf(&st) != m.mess {
		return ErrChanged
	}
	var size int64
	for {
		n, err := read(from, s.buf)
		if err != nil {
			return pathError("read", path, err)
		}
		if n == 0 {
			break
		}
		if err := write(f.fd, s.buf[:n]); err != nil {
			return s.failed("write", f, err)
		}
		size += int64(n)
	}
	if size != m.Size {
		return ErrChanged
	}
	return s.finish(f, nil)
}

// copyPiece writes a piece of the envelope as it is.
func (s *Saver) copyPiece(f *saved, m *Message, p Place) error {
	q := m.queue
	dirs, err := q.pin(m.Number % q.split)
	if err != nil {
		return err
	}
	defer q.unpin(dirs)
	r := reader{q: q}
	r.name.set(m.Number)
	fd, err := r.open(dirs, p, m.State())
	if err == unix.ENOENT {
		return ErrChanged
	}
	if err != nil {
		return pathError("open", q.path(p, m.Number), err)
	}
	defer closeFD(fd)
	text, err := r.contents(fd)
	if err != nil {
		return pathError("read", q.path(p, m.Number), err)
	}
	return s.finish(f, text)
}

// finish writes the rest and brings the file to the disk.
func (s *Saver) finish(f *saved, rest []byte) error {
	err := write(f.fd, rest)
	if err == nil {
		err = fsync(f.fd)
	}
	// A network file system may report a full disk only here.
	if closeErr := unix.Close(f.fd); err == nil && closeErr != unix.EINTR {
		err = closeErr
	}
	f.fd = -1
	return s.failed("write", f, err)
}

func (s *Saver) failed(op string, f *saved, err error) error {
	return inPath(op, filepath.Join(s.dir, f.name), err)
}

// place gives the file its name.
func (f *saved) place(s *Saver) error {
	if err := renameNoReplace(s.fd, f.temporary, s.fd, f.name); err != nil {
		return s.failed("create", f, err)
	}
	f.placed = true
	return nil
}

// remove takes back what there is of the file.
func (f *saved) remove(s *Saver) error {
	if f.fd >= 0 {
		closeFD(f.fd)
	}
	name := f.temporary
	if f.placed {
		name = f.name
	}
	return inPath("remove", filepath.Join(s.dir, name), sys.Unlinkat(s.fd, name))
}
