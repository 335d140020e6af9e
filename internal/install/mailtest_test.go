package install

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kowaza/internal/settings"
)

// page is the page's mailtest as far as its description goes.
const page = `#!/usr/local/bin/php -q
<?php
$fp = fopen("php://stdin", "r");
while (!feof($fp)) {
	$line[] = fgets($fp, 4096);
}
fclose($fp);
foreach ($line as $l) {
	print $l . "<and>\n";
}
exit(99);
?>
`

// edit returns the page's script with the first of each pair replaced by the
// second.
func edit(t *testing.T, pairs ...string) string {
	t.Helper()
	s := page
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			t.Fatalf("%q is not in\n%s", pairs[i], s)
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

// printing is the loop of the page's script that prints.
const printing = "foreach ($line as $l) {\n\tprint $l . \"<and>\\n\";\n}"

// word is the page's script in the spelling that its readers have.
const word = `#!/usr/bin/php
<?php
// read mail
$input = fopen("php://stdin", "r");
$msg = array();
while(!feof($input)) {
    array_push($msg, fgets($input));
}
fclose($input);
for($i = 0; $i < count($msg); $i++) {
    print $msg[$i] . "<and>\n";
}
exit(99);
?>
`

// pages are scripts that do what the page's does, with their exit codes.
func pages(t *testing.T) []struct{ exit, script string } {
	change := func(pairs ...string) string { return edit(t, pairs...) }
	return []struct{ exit, script string }{
		{"99", page},
		{"0", change("(99)", "(0)")},
		{"100", change("(99)", "(100)")},
		{"111", change("(99)", "( 111 )")},
		{"0", change("(99)", "")},
		{"0", change("(99)", "()")},
		{"99", change(", 4096", "")},
		{"99", change("#!/usr/local/bin/php -q\n", "")},
		{"99", change("/usr/local/bin/php -q", "/usr/bin/env php")},
		{"99", change("?>\n", "")},
		{"99", change("fclose($fp);\n", "")},
		{"99", change("fclose($fp);\n", "", "exit", "fclose($fp);exit")},
		{"99", change("\"php://stdin\"", "'php://stdin'", "\"r\"", "'rb'")},
		{"99", change("$fp = ", "/* \xa5\xd5 ' */ $fp = ", "r\");", "r\"); // \xb3\xab \"\n# it's")},
		{"99", strings.ReplaceAll(page, "\n", "\r\n")},
		{"99", strings.ReplaceAll(strings.ReplaceAll(page, "$line", "$Mail_1"), "$fp", "$h")},
		{"99", strings.Join(strings.Fields(page[strings.Index(page, "<?php"):]), " ")},
		{"99", change("print $l .", "echo $l,")},
		{"99", change("print $l .", "echo $l.")},
		{"99", change("$l . \"<and>\\n\"", "(\"$l<and>\\n\")")},
		{"99", change("$l . \"<and>\\n\"", "\"{$l}<and>\\n\"")},
		{"99", change("$l . ", "$l; print ")},
		{"99", change("as $l", "as $k => $l")},
		{"99", change(printing, "foreach ($line as $l) print $l.\"<and>\\n\";", "{\n\t$line[] = fgets($fp, 4096);\n}", "$line[] = fgets($fp);")},
		{"99", change(printing, "for ($i = 0; $i < count($line); $i++)\n print($line[$i].\"<and>\\n\");")},
		{"99", change(printing, "$n=count($line); for ($i=0;$i<$n;++$i) { echo \"$line[$i]<and>\\n\"; }")},
		{"99", change("while", "$i=0; while", "$line[]", "$line[$i++]", printing, "for($j=0;$j<$i;$j++){print $line[$j].'<and>'.\"\\n\";}")},
		{"99", change("while", "$i=0; $line=array(); while", "$line[]", "$line[$i]", "4096);", "4096); $i++;")},
		{"99", change("$fp = fopen(\"php://stdin\", \"r\");\n", "", "feof($fp)", "feof(STDIN)", "fgets($fp", "fgets(STDIN", "fclose($fp);\n", "")},
		{"99", word},
		{"0", strings.Replace(word, "99", "0", 1)},
		{"99", strings.Replace(word, "fgets($input)", "fgets($input, 4096)", 1)},
		{"99", strings.Replace(word, "    array_push($msg, fgets($input));", "$l = fgets($input); array_push($msg, $l);", 1)},
		{"99", strings.Replace(word, "count($msg)", "sizeof($msg)", 1)},
		{"99", strings.Replace(word, "print $msg[$i] . \"<and>\\n\";", "printf(\"%s<and>\\n\", $msg[$i]);", 1)},
		{"99", strings.Replace(word, "print $msg[$i] . \"<and>\\n\";", "print($msg[$i]); print(\"<and>\"); echo \"\\n\";", 1)},
		{"99", strings.Replace(word, "print $msg[$i] . \"<and>\\n\";", "print \"$msg[$i]\" . '<and>' . \"\\n\";", 1)},
		{"99", strings.Replace(word, "for($i = 0; $i < count($msg); $i++) {\n    print $msg[$i] . \"<and>\\n\";", "$i = 0;\nwhile ($i < count($msg)) {\n    print $msg[$i] . \"<and>\\n\";\n$i++;", 1)},
		{"99", strings.Replace(word, "exit(99)", "die(99)", 1)},
		{"99", strings.Replace(word, "array_push", "Array_Push", 1)},
		// Where each() is: PHP 7 and before.
		{"99", strings.Replace(word, "for($i = 0; $i < count($msg); $i++) {\n    print $msg[$i] .", "while (list($k, $v) = each($msg)) {\n    print $v .", 1)},
	}
}

// TestPageMailtest proves that the page's script is known however it is written,
// with its exit code.
func TestPageMailtest(t *testing.T) {
	for _, test := range pages(t) {
		if exit, ok := PageMailtest([]byte(test.script)); !ok || exit != test.exit {
			t.Errorf("%q, %v; want %q of\n%s", exit, ok, test.exit, test.script)
		}
	}
}

// TestPageMailtestRuns proves with PHP itself that every script that is taken for
// the page's does what our mailtest does: each line, then <and> and a newline, and
// once more at the end.
func TestPageMailtestRuns(t *testing.T) {
	php, err := exec.LookPath("php")
	if err != nil {
		t.Skip("php is not installed")
	}
	const mail = "From: a@b\nTo: c\n\nhello <and> $l\nlast\n"
	want := strings.ReplaceAll(mail, "\n", "\n<and>\n") + "<and>\n"
	for i, test := range pages(t) {
		if strings.Contains(test.script, "each(") {
			continue
		}
		file := filepath.Join(t.TempDir(), fmt.Sprint(i, ".php"))
		if err := os.WriteFile(file, []byte(test.script), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(php, "-q", "-n", file)
		cmd.Stdin = strings.NewReader(mail)
		out, _ := cmd.Output()
		if got := fmt.Sprint(cmd.ProcessState.ExitCode()); string(out) != want || got != test.exit {
			t.Errorf("status %s, %q; want %s, %q of\n%s", got, out, test.exit, want, test.script)
		}
	}
}

// TestPageMailtestOther proves that a script is not taken for the page's that does
// anything else.
func TestPageMailtestOther(t *testing.T) {
	change := func(pairs ...string) string { return edit(t, pairs...) }
	scripts := []string{
		"",
		"#!/bin/sh\ncat\n",
		"\x7fELF\x00\x01",
		"<?php exit(99);",
		page + page,
		change("<and>", "<AND>"),
		change("\"<and>\\n\"", "'<and>\\n'"),
		change("print $l .", "print trim($l) ."),
		change("exit(99);", ""),
		change("exit(99);", "mail('x'); exit(99);"),
		change("exit(99);", "exit(99); ?>x<?php "),
		change("(99)", "(\"99\")"),
		change("(99)", " 99"),               // PHP takes it for a mistake
		change("php://stdin", "/dev/stdin"), // no name for a pipe
		change("(99)", "(-1)"),
		change("(99)", "(1)"),
		change("(99)", "(256)"),
		change("?>", "?>\nmore"),
		change("<?php", "text <?php"),
		change("php -q", "perl"),
		change("fopen", "popen"),
		change("php://stdin", "/etc/passwd"),
		change("fgets($fp", "fgets($fq"),
		change("feof($fp)", "feof($x)"),
		change("($line as", "($lines as"),
		change("as $l)", "as $m)"),
		change("as $l)", "as $fp)"),
		change("!feof", "feof"),
		change("print", "if ($l) print"),
		change("foreach", "$line = array(); foreach"),
		change("while", "/* open while"),
		change("fclose($fp);", "fclose($fp); // ?> <?php system('x');\n"),
		change("\tprint", "#[A]\n\tprint"),
		change("\tprint", "\tsystem('x');print"),
		change("$fp = ", "$fp = $line = "),
		change("$line[] =", "$line ="),
		change(printing, "for ($i = 1; $i < count($line); $i++) print $line[$i].\"<and>\\n\";"),
		change(printing, "for ($i = 0; $i < count($line); $i++) print $line[$j].\"<and>\\n\";"),
		change("<?php\n", "<?php\n#"+strings.Repeat("x", 20000)+"\n"),
		strings.Replace(word, "array_push", "array_unshift", 1),
		strings.Replace(word, "array_push($msg", "array_push($massage", 1),
		strings.Replace(word, "fgets($input)", "trim(fgets($input))", 1),
		strings.Replace(word, "print $msg[$i] .", "print $msg[$j] .", 1),
		strings.Replace(word, "$i = 0; $i < count", "$i = 1; $i < count", 1),
		strings.Replace(word, "print $msg[$i] . \"<and>\\n\"", "print \"$msg[$i][0]<and>\\n\"", 1),
		strings.Replace(word, "print $msg[$i] . \"<and>\\n\"", "print $msg[$i] . \"<and>\\n\" . $i", 1),
		strings.Replace(word, "print $msg[$i]", "print $msg[$i] . $msg[$i]", 1),
		strings.Replace(word, "while(!feof($input)) {", "while(!feof($input)) { mail($msg);", 1),
	}
	for _, script := range scripts {
		exit, ok := PageMailtest([]byte(script))
		if ok && settings.Check("MAILTEST_EXIT", exit) == nil {
			t.Errorf("taken for the page's, with exit %s:\n%s", exit, script)
		}
	}
}

// FuzzPageMailtest proves that no text makes the reader fail, and that one which
// is taken still is without its comments and spelled otherwise.
func FuzzPageMailtest(f *testing.F) {
	f.Add([]byte(page))
	f.Add([]byte(word))
	f.Fuzz(func(t *testing.T, script []byte) {
		exit, ok := PageMailtest(script)
		if !ok {
			return
		}
		if strings.Trim(exit, "0123456789") != "" || exit == "" {
			t.Errorf("exit %q", exit)
		}
		if !bytes.Contains(script, []byte("and>")) || !bytes.Contains(bytes.ToLower(script), []byte("fgets")) || !bytes.Contains(bytes.ToLower(script), []byte("feof")) {
			t.Errorf("taken for the page's: %q", script)
		}
	})
}
