package real

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPostfixReply proves that mailreply's answer goes through Postfix's sendmail to
// the sender alone, as its author means it: with the null return path, or that of -b,
// once; that mblaze reads the Japanese in it, in ISO-2022-JP and where a wave dash
// has no place there in UTF-8; and that an answer to nobody ends in silence.
func TestPostfixReply(t *testing.T) {
	const taro, jiro, bounces = "taro@example.jp", "jiro@example.jp", "bounces@example.jp"
	p := startPostfix(t, taro, jiro, bounces)
	binary := filepath.Join(buildKowaza(t, "mailreply"), "mailreply")
	home := filepath.Join(p.dir, "home")
	p.mkdir("root", "root", "755", "home")
	p.write("home/jis.txt", 0o644, "From: 山田花子 <hanako@mail.example.jp>\nSubject: 不在のお知らせ\n\nただいま不在です。\n.\nFrom here on\n")
	p.write("home/wave.txt", 0o644, "Subject: 三日〜五日\n\n三日〜五日は不在です。\n")
	reply := func(sender string, args ...string) {
		t.Helper()
		cmd := exec.Command(binary, args...)
		cmd.Dir = home
		cmd.Env = append(os.Environ(), "KOWAZA_CONF="+filepath.Join(p.dir, "kowaza.conf"), "HOME="+home,
			"SENDER="+sender, "LOCAL=hanako", "HOST=mail.example.jp")
		cmd.Stdin = strings.NewReader("From: x@example.jp\nTo: hanako@mail.example.jp\nReply-To: evil@example.jp\nMessage-ID: <1@x>\n\nhello\n")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) || err != nil || len(out) > 0 {
			t.Errorf("mailreply %q: %v\n%s", args, err, out)
		}
	}
	for range 3 {
		reply(taro, "-e", "jis", "jis.txt")
		reply(jiro, "-e", "jis", "-b", bounces, "wave.txt")
	}
	reply("nobody-there@example.jp", "jis.txt")        // the null sender gets no bounce
	reply("gone@example.jp", "-b", bounces, "jis.txt") // this one does
	got := p.checkDelivered(map[string]int{taro: 1, jiro: 1, bounces: 1})

	const text = "ただいま不在です。\n.\nFrom here on\n"
	for _, want := range []struct{ to, path, subject, from, charset, body string }{
		{taro, "<>", "不在のお知らせ", "山田花子 <hanako@mail.example.jp>", "ISO-2022-JP", text},
		{jiro, "<" + bounces + ">", "三日〜五日", "hanako@mail.example.jp", "UTF-8", "三日〜五日は不在です。\n"},
	} {
		if len(got[want.to]) != 1 {
			continue
		}
		file := got[want.to][0]
		h := p.readHeader(file)
		p.check("Return-Path", h.Get("Return-Path"), want.path)
		p.check("To", h.Get("To"), want.to)
		p.check("Subject", p.field("Subject", file), want.subject)
		p.check("From", p.field("From", file), want.from)
		p.check("Content-Type", h.Get("Content-Type"), "text/plain; charset="+want.charset)
		p.check("Auto-Submitted", h.Get("Auto-Submitted"), "auto-replied")
		p.check("In-Reply-To", h.Get("In-Reply-To"), "<1@x>")
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(raw), "\n\n")
		p.check("body", p.output([]byte(body), "iconv", "-f", want.charset, "-t", "UTF-8"), want.body)
	}
	names, err := os.ReadDir(filepath.Join(home, ".mailreply"))
	if err != nil || len(names) != 4 {
		t.Errorf("%d remembered, %v; want 4", len(names), err)
	}
}
