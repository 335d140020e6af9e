package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"kowaza/internal/testenv"
)

// TestSecurityNames proves that SECURITY.md names tests that there are, in the
// files where they are, and leaves no promise without one.
func TestSecurityNames(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	testenv.Check(t, err)
	_, promises, ok := strings.Cut(string(text), "\n## What is promised")
	if !ok {
		t.Fatal("SECURITY.md promises nothing")
	}
	promises, _, _ = strings.Cut(promises, "\n## ")
	file := regexp.MustCompile("((?:`(?:Test|Fuzz)\\w+`(?:, )?)+) in ([\\w./]+_test\\.go)")
	name := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	named := 0
	for line := range strings.Lines(promises) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| promise ") {
			continue
		}
		all := len(name.FindAllString(line, -1))
		found := 0
		for _, m := range file.FindAllStringSubmatch(line, -1) {
			source, err := os.ReadFile(m[2])
			if err != nil {
				t.Error(err)
				continue
			}
			for _, test := range name.FindAllStringSubmatch(m[1], -1) {
				found++
				if !strings.Contains(string(source), "\nfunc "+test[1]+"(") {
					t.Errorf("%s is not in %s", test[1], m[2])
				}
			}
		}
		if found == 0 || found != all {
			t.Errorf("%d tests, %d of them with a file: %s", all, found, line)
		}
		named += found
	}
	if named < 30 {
		t.Errorf("only %d tests are named", named)
	}
}
