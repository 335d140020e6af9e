package applets

import (
	"bytes"
	"syscall"
	"testing"
	"time"

	"kowaza/internal/cli"
)

// oneWrite fails where a line comes in pieces.
type oneWrite struct{ t *testing.T }

func (w oneWrite) Write(p []byte) (int, error) {
	if !bytes.HasSuffix(p, []byte("\n")) || bytes.Count(p, []byte("\n")) != 1 {
		w.t.Errorf("not one line: %q", p)
	}
	return len(p), nil
}

// TestMessagesAreLines proves that each message is one write of one line,
// whatever a name holds.
func TestMessagesAreLines(t *testing.T) {
	env := &cli.Env{Stderr: oneWrite{t}, Getenv: func(string) string { return "" }, Now: time.Now, Stdout: cli.NewOutput(&bytes.Buffer{})}
	if status := Main(env, []string{"rmoldmail", "7", "/nonexistent\nx"}); status != 1 {
		t.Errorf("status %d", status)
	}
	env = &cli.Env{Stderr: oneWrite{t}, Getenv: func(string) string { return "" }, Now: time.Now, Stdout: cli.NewOutput(&bytes.Buffer{})}
	if status := Main(env, []string{"rmoldmail", "7\n8"}); status != 2 {
		t.Errorf("status %d", status)
	}
}

// shortWriter is a disk with room for n bytes.
type shortWriter struct{ n int }

func (w *shortWriter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		n := w.n
		w.n = 0
		return n, syscall.ENOSPC
	}
	w.n -= len(p)
	return len(p), nil
}
