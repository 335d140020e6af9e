// Package queuetest makes qmail queues, for tests and for the benchmark, as
// qmail-queue and qmail-send make them: a message's number is the inode of its
// file in mess, and every file appears and goes in qmail's order. What it does
// not do is wait for the disk: qmail-queue syncs each message.
//
// It rests on hier.c, qmail-queue.c, qmail-send.c and INTERNALS of notqmail.
package queuetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Layout says what is split into sub-directories. The zero Layout is that of
// stock qmail.
type Layout struct {
	Split   int  // sub-directories of mess, info and the channels; 0 is conf-split's 23
	BigTodo bool // todo and intd are split too, as the big-todo patch does
	Suppl   int  // channels beside local and remote: suppl0 and so on
}

// A Queue is a queue directory. Its methods may be called at once from several
// goroutines.
type Queue struct {
	Dir    string
	Layout Layout

	// Direct lets a preprocessed message come without having been in intd and
	// todo. The files that are left are the same; ext4, which looks long for an
	// inode after some were freed, makes a great queue many times as fast so.
	Direct bool
}

// Modes of qmail's files, whatever the umask is: qmail-queue's become 0644,
// qmail-send's 0600.
const (
	received  = 0o644
	processed = 0o600
)

// tcptoSize is what qmail-tcpto and qmail-remote take for a whole table: 64
// records of 16 bytes.
const tcptoSize = 1024

// Make makes an empty queue in dir, which is made too, or is empty. Everything
// belongs to the caller: the accounts of a real queue need not exist here.
func Make(dir string, l Layout) (*Queue, error) {
	if l.Split == 0 {
		l.Split = 23
	}
	if l.Split < 0 || l.Suppl < 0 {
		return nil, errors.New("negative layout")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	q := &Queue{Dir: dir, Layout: l}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		return nil, err
	}
	places := append([]string{"pid", "intd", "todo", "mess", "info", "bounce", "lock"}, q.channels()...)
	for _, place := range places {
		if err := q.makePlace(place); err != nil {
			return nil, err
		}
	}
	return q, q.makeLock()
}

// makePlace makes a directory of the queue, and those below it.
func (q *Queue) makePlace(place string) error {
	var mode fs.FileMode = 0o700
	switch place {
	case "mess", "todo", "lock":
		mode = 0o750
	}
	dirs := []string{filepath.Join(q.Dir, place)}
	if q.split(place) {
		for i := range q.Layout.Split {
			dirs = append(dirs, filepath.Join(dirs[0], strconv.Itoa(i)))
		}
	}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, mode); err != nil {
			return err
		}
		if err := os.Chmod(dir, mode); err != nil {
			return err
		}
	}
	return nil
}

// makeLock makes what stands in lock.
func (q *Queue) makeLock() error {
	lock := filepath.Join(q.Dir, "lock")
	if err := create(filepath.Join(lock, "sendmutex"), processed, nil); err != nil {
		return err
	}
	if err := create(filepath.Join(lock, "tcpto"), received, make([]byte, tcptoSize)); err != nil {
		return err
	}
	trigger := filepath.Join(lock, "trigger")
	if err := unix.Mkfifo(trigger, 0o622); err != nil {
		return &fs.PathError{Op: "mkfifo", Path: trigger, Err: err}
	}
	return os.Chmod(trigger, 0o622)
}

// channels returns the names of the channels' directories, in the order in
// which qmail-send knows them.
func (q *Queue) channels() []string {
	names := []string{"local", "remote"}
	for i := range q.Layout.Suppl {
		names = append(names, fmt.Sprintf("suppl%d", i))
	}
	return names
}

// split reports whether a directory has sub-directories. Those of bounce, pid and
// lock never have: no patch touches them.
func (q *Queue) split(place string) bool {
	switch place {
	case "todo", "intd":
		return q.Layout.BigTodo
	case "bounce", "pid", "lock":
		return false
	}
	return true
}

// Path returns where message n's file in a place ("mess", "info", "local",
// "remote", "suppl0", "todo", "intd", "bounce") stands or would stand.
func (q *Queue) Path(place string, n uint64) string {
	name := strconv.FormatUint(n, 10)
	if q.split(place) {
		return filepath.Join(q.Dir, place, strconv.FormatUint(n%uint64(q.Layout.Split), 10), name)
	}
	return filepath.Join(q.Dir, place, name)
}

// create makes a file that is not there yet.
func create(path string, mode fs.FileMode, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return finish(f, mode, text)
}

// finish writes a new file's text and closes it.
func finish(f *os.File, mode fs.FileMode, text []byte) error {
	err := f.Chmod(mode)
	if err == nil {
		_, err = f.Write(text)
	}
	return errors.Join(err, f.Close())
}
