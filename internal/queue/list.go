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
	// Work is called by the readers, several at once, before Each. May be nil.
	Work func(*Message)
	// Each is told the messages in the order of Scan, one at a time, by the
	// goroutine that called List; false ends it. May be nil.
	Each func(*Message) bool
	// Failed is told what could not be read, never twice at once. May be nil.
	Failed func(path string, err error)
	// Jobs is how many read at once; 0 is DefaultJobs.
	Jobs int
}

// DefaultJobs is how many readers List has unless told otherwise.
const DefaultJobs = 4

// batchSize is how many numbers a reader gets at once, all of one
// sub-directory: so many that handing them over costs nothing beside reading
// them.
const batchSize = 64

// A batch is on its way from the scan through a reader to Each.
type batch struct {
	found    []Found
	messages []*Message
	done     chan struct{} // holds one where messages are read
}

// List reads the messages in the queue. A message that leaves meanwhile is not
// told. What is in memory does not grow with the queue, but for what Scan needs.
func (q *Queue) List(l Listing) error {
	if l.Jobs <= 0 {
		l.Jobs = DefaultJobs
	}
	var tell sync.Mutex
	failed := func(path string, err error) {
		tell.Lock()
		defer tell.Unlock()
		if l.Failed != nil {
			l.Failed(path, err)
		}
	}
	inFlight := 4 * l.Jobs
	work := make(chan *batch, inFlight)
	order := make(chan *batch, inFlight)
	free := make(chan *batch, inFlight)
	quit := make(chan struct{})
	for range inFlight {
		free <- &batch{done: make(chan struct{}, 1)}
	}
	var scanned error
	go func() {
		defer close(order)
		defer close(work)
		scanned = q.feed(l.Keep, free, quit, failed, func(b *batch) {
			order <- b
			work <- b
		})
	}()
	var readers sync.WaitGroup
	for range l.Jobs {
		readers.Go(func() {
			r := &reader{q: q}
			for b := range work {
				r.batch(b, &l, quit, failed)
				b.done <- struct{}{}
			}
		})
	}
	stopped := false
	for b := range order {
		<-b.done
		for i, m := range b.messages {
			b.messages[i] = nil
			if m != nil && !stopped && l.Each != nil && !l.Each(m) {
				stopped = true
				close(quit)
			}
		}
		b.found, b.messages = b.found[:0], b.messages[:0]
		free <- b
	}
	readers.Wait()
	return scanned
}

// feed scans and passes on full batches. A batch has numbers of one
// sub-directory only.
func (q *Queue) feed(keep func(Found) bool, free chan *batch, quit chan struct{}, failed func(string, error), pass func(*batch)) error {
	if keep == nil {
		keep = func(f Found) bool { return f.Has(Mess) }
	}
	var b *batch
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

// batch reads what a batch has.
func (r *reader) batch(b *batch, l *Listing, quit chan struct{}, failed func(string, error)) {
	select {
	case <-quit:
		return
	default:
	}
	s, err := r.q.pin(b.found[0].Number % r.q.split)
	if err != nil {
		failed(errorPath(err))
		return
	}
	defer r.q.unpin(s)
	for _, f := range b.found {
		m, err := r.message(s, f, l.Header)
		if errors.Is(err, ErrVanished) {
			continue
		}
		if err != nil {
			failed(errorPath(err))
			continue
		}
		if l.Work != nil {
			l.Work(m)
		}
		b.messages = append(b.messages, m)
	}
}
