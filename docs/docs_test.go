package docs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kowaza/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestContributing proves that the applet in CONTRIBUTING.md compiles as a file of
// applets/ and does what an applet does, and that every file that the steps name
// is there.
func TestContributing(t *testing.T) {
	blocks, rest := fences(readGuide(t, "CONTRIBUTING.md"))
	code := ""
	for _, block := range blocks {
		if block.kind == "go" {
			code = block.text
		}
	}
	if !strings.Contains(code, "&cli.Applet{") {
		t.Fatal("there is no applet in CONTRIBUTING.md")
	}
	dir := t.TempDir()
	testenv.Check(t, os.WriteFile(dir+"/hello.go", []byte(code), 0o644))
	table := regexp.MustCompile(`(?s)\nvar All = \[\]\*cli\.Applet\{.*?\}`)
	applet := readGuide(t, "applets/applets.go")
	if !table.MatchString(applet) {
		t.Fatal("applets/applets.go has no table of applets")
	}
	testenv.Check(t, os.WriteFile(dir+"/applets.go", []byte(table.ReplaceAllString(applet, "\nvar All = []*cli.Applet{hello}\n\nvar _ = []*cli.Applet{"+
		strings.TrimPrefix(table.FindString(applet), "\nvar All = []*cli.Applet{"))), 0o644))
	top, err := os.Getwd()
	testenv.Check(t, err)
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(top, "applets/hello.go"):   dir + "/hello.go",
		filepath.Join(top, "applets/applets.go"): dir + "/applets.go",
	}})
	testenv.Check(t, err)
	testenv.Check(t, os.WriteFile(dir+"/overlay.json", overlay, 0o644))
	out, err := exec.Command("go", "build", "-buildvcs=false", "-overlay", dir+"/overlay.json", "-o", dir+"/kowaza", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("the applet of CONTRIBUTING.md does not compile: %v\n%s", err, out)
	}
	for line, want := range map[string]string{
		"hello":           "hello, postmaster\n",
		"hello --version": "hello (kowaza) ",
		"hello -h":        "usage: hello [-h] [-t NAME]\n",
	} {
		out, err := exec.Command(dir+"/kowaza", strings.Fields(line)...).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: %v, %q; want %q", line, err, out, want)
		}
	}

	for _, m := range inlineCode.FindAllString(rest, -1) {
		name := strings.Trim(m, "`")
		if !regexp.MustCompile(`^[\w./-]+(\.\w+|/)$`).MatchString(name) || strings.HasPrefix(name, ".qmail") || strings.HasPrefix(name, "golang.org") || strings.HasPrefix(name, "build/") {
			continue
		}
		there := func(applet string) bool {
			_, err := os.Stat(strings.ReplaceAll(name, "NAME", applet))
			return err == nil
		}
		if !there("mkdigest") && !there("rmoldmail") {
			t.Errorf("CONTRIBUTING.md: %s: no such file", name)
		}
	}
}

// TestDocumentsPlain proves that the README names the page, that no command has a
// hole that the reader would have to fill, that SECURITY.md says where a hole is
// reported, and that the Japanese documents keep to their words.
func TestDocumentsPlain(t *testing.T) {
	for _, name := range []string{"README.md", "README.ja.md"} {
		if !strings.Contains(readGuide(t, name), "管理の小技集") {
			t.Errorf("%s does not name the page", name)
		}
	}
	if !strings.Contains(readGuide(t, "SECURITY.md"), "There is no address for security reports yet") {
		t.Error("SECURITY.md does not say where a hole is reported")
	}
	// What stood there once, each with a better word.
	badJapanese := regexp.MustCompile(`十分間|メモリを使わない|道具として|に答える文字列|の挨拶|代わりをする|本体のない|印付け|誰も持たない|の世話|コマンド行|下限|飛ばす|飛ばし|至らない`)
	for name, text := range documents(t) {
		if strings.HasSuffix(name, ".md") {
			blocks, _ := fences(text)
			for _, block := range blocks {
				for _, s := range console(block.text) {
					if strings.Contains(s.command, "…") {
						t.Errorf("%s: %s", name, s.command)
					}
				}
			}
		}
		for line := range strings.Lines(text) {
			if word := badJapanese.FindString(line); word != "" {
				t.Errorf("%s: %s: %s", name, word, line)
			}
		}
	}
}
