package queue

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// asNobody runs f in a thread that has the file-system identity of nobody; the
// thread ends with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		unix.SetfsgidRetGid(65534)
		unix.SetfsuidRetUid(65534)
		f()
		done <- nil
	}()
	<-done
}
