package queue

import (
	"errors"
	"sync"
)

// A Listing says what List reads and who is told.
type Listing struct {
	// Keep picks what is read; nil: all that have a mess file. It is called by
	// one goroutine.
	Keep func(Found) bool
	// Header: the fields of the header are read, too.
	Header bool
	// Injector: who injected the message is read, too.
	Injector bool
	// Failed is told what could not be read: an *fs.PathError with the path below
	// the queue directory. Never twice at once. May be nil.
	Failed func(error)
	// Jobs is how many read at once; 0 is DefaultJobs.
	Jobs int
}

// DefaultJobs is how many readers List has unless told otherwise: they wait for
// the disk most of the time, and each holds a buffer.
const DefaultJobs = 4

// batchSize is how many numbers a reader gets at once, all of one
// sub-directory: so many that handing them over costs nothing beside reading
// them.
const batchSize = 64

// A batch is on its way from the scan through a reader to Each.
type batch[T any] struct {
	found    []Found
	messages []*Message
	results  []T           // of work, as messages
	done     chan struct{} // holds one where messages are read
}

// List is List without work.
func (q *Queue) List(l Listing, each func(*Message) bool) error {
	return List(q, l, func(*Message) struct{} { return struct{}{} }, func(m *Message, _ struct{}) bool { return each(m) })
}

// List reads the messages in the queue. The readers, several at once, call work
// for each; then each is told the messages with what work returned, in the order
// of Scan, one at a time, by the goroutine that called List, until it returns
// false. A message that leaves meanwhile is not told. What is in memory does not
// grow with the queue, but for what Scan needs.
func List[T any](q *Queue, l Listing, work func(*Message) T, each func(*Message, T) bool) error {
	if l.Jobs <= 0 {
		l.Jobs = DefaultJobs
	}
	var tell sync.Mutex
	failed := func(err error) {
		tell.Lock()
		defer tell.Unlock()
		if l.Failed != nil {
			l.Failed(err)
		}
	}
	inFlight := 4 * l.Jobs
	unread := make(chan *batch[T], inFlight)
	order := make(chan *batch[T], inFlight)
	free := make(chan *batch[T], inFlight)
	quit := make(chan struct{})
	for range inFlight {
		free <- &batch[T]{done: make(chan struct{}, 1)}
	}
	var scanned error
	go func() {
		defer close(order)
		defer close(unread)
		scanned = feed(q, l.Keep, free, quit, failed, func(b *batch[T]) {
			order <- b
			unread <- b
		})
	}()
	var readers sync.WaitGroup
	for range l.Jobs {
		readers.Go(func() {
			r := &reader{q: q}
			for b := range unread {
				readBatch(r, b, parts{l.Header, l.Injector}, work, quit, failed)
				b.done <- struct{}{}
			}
		})
	}
	stopped := false
	for b := range order {
		<-b.done
		for i, m := range b.messages {
			b.messages[i] = nil
			if !stopped && !each(m, b.results[i]) {
				stopped = true
				close(quit)
			}
		}
		clear(b.results)
		b.found, b.messages, b.results = b.found[:0], b.messages[:0], b.results[:0]
		free <- b
	}
	readers.Wait()
	return scanned
}

// feed scans and passes on full batches. A batch has numbers of one
// sub-directory only.
func feed[T any](q *Queue, keep func(Found) bool, free chan *batch[T], quit chan struct{}, failed func(error), pass func(*batch[T])) error {
	if keep == nil {
		keep = func(f Found) bool { return f.Has(Mess) }
	}
	var b *batch[T]
	stopped := false
	err := q.Scan(func(f Found) bool {
		if !keep(f) {
			return true
		}
		if b != nil && b.found[0].Number%q.split != f.Number%q.split {
			pass(b)
			b = nil
		}
		if b == nil {
			select {
			case b = <-free:
			case <-quit:
				stopped = true
				return false
			}
		}
		if b.found = append(b.found, f); len(b.found) == batchSize {
			pass(b)
			b = nil
		}
		return true
	}, failed)
	if b != nil && !stopped {
		pass(b)
	}
	return err
}

// readBatch reads what a batch has.
func readBatch[T any](r *reader, b *batch[T], want parts, work func(*Message) T, quit chan struct{}, failed func(error)) {
	select {
	case <-quit:
		return
	default:
	}
	s, err := r.q.pin(b.found[0].Number % r.q.split)
	if err != nil {
		failed(err)
		return
	}
	defer r.q.unpin(s)
	for _, f := range b.found {
		m, err := r.message(s, f, want)
		if errors.Is(err, ErrVanished) {
			continue
		}
		if err != nil {
			failed(err)
			continue
		}
		b.messages = append(b.messages, m)
		b.results = append(b.results, work(m))
	}
}
