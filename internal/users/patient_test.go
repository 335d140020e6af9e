package users

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestVpasswdBounds proves that a vpasswd of any size, sparse or full of lines,
// costs neither time nor the users of other domains: it is named, and they are done.
func TestVpasswdBounds(t *testing.T) {
	h := newHost(t, "")
	h.write("/home/dom/vpasswd", "a:x:1:0::"+h.root+"/home/dom/a:q\n")
	if err := os.Truncate(h.path("/home/dom/vpasswd"), 1<<42); err != nil {
		t.Fatal(err)
	}
	homes, fails := h.domain("")
	h.want(homes, fails, outsiders, []string{"read @/home/dom/vpasswd: " + errVpasswdSize.Error()})

	defer func(n int) { maxVpasswdLines = n }(maxVpasswdLines)
	maxVpasswdLines = 3
	h = newHost(t, "")
	line := "a:x:1:0::@/home/dom/a:q\n"
	homes, fails = h.domain(strings.Repeat(line, 3))
	h.want(homes, fails, []string{outsiders[0], "@/home/dom/a", outsiders[1]}, nil)
	h = newHost(t, "")
	homes, fails = h.domain(strings.Repeat(line, 4))
	h.want(homes, fails, []string{outsiders[0], "@/home/dom/a", outsiders[1]},
		[]string{"read @/home/dom/vpasswd: more than 3 lines: the rest was left"})
}

// TestPatientReader proves that a file that grows while it is being read comes to an
// end with an error.
func TestPatientReader(t *testing.T) {
	name := t.TempDir() + "/f"
	if err := os.WriteFile(name, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &patientReader{file: f, left: 60}
	buf := make([]byte, 100)
	if n, err := r.Read(buf); n != 60 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := r.Read(buf); n != 0 || !errors.Is(err, errVpasswdSize) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestWithin proves that what never answers is given up, and that who answers is
// heard all the same, however many did not.
func TestWithin(t *testing.T) {
	defer func(d time.Duration) { patience = d; lost.Store(0) }(patience)
	patience = 10 * time.Millisecond
	never := make(chan int)
	for range manyLost + 2 {
		if _, err := within(func() (int, error) { return <-never, nil }); err != (noAnswer{}) {
			t.Fatal(err)
		}
	}
	patience = time.Minute
	if n, err := within(func() (int, error) { return 5, os.ErrExist }); n != 5 || err != os.ErrExist {
		t.Errorf("%d, %v", n, err)
	}
	close(never)
}
