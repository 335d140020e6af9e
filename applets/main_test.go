package applets

import (
	"io"
	"os"
	"testing"

	"kowaza/internal/cli"
)

// What the test binary does instead of testing, by KOWAZA_TEST_AS.
const (
	asApplet = "applet" // be the applet that argv[0] names
	asShell  = "shell"  // be its job control, see shell
)

func TestMain(m *testing.M) {
	switch os.Getenv("KOWAZA_TEST_AS") {
	case asApplet:
		// The shell gives it the terminal first.
		io.Copy(io.Discard, os.NewFile(3, "start"))
		os.Exit(Main(cli.System(), os.Args))
	case asShell:
		shell()
	}
	if role := roles[os.Getenv("KOWAZA_TEST_AS")]; role != nil {
		role()
		os.Exit(0)
	}
	code := m.Run()
	removeStatic()
	os.Exit(code)
}
