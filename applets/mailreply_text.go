package applets

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"kowaza/internal/message"
)

// A replyText is what a FILE of mailreply says.
type replyText struct {
	bytes         []byte // of the file
	from, replyTo mailbox
	subject       string // with {subject} in it, empty where there is none
	body          string
}

// A mailbox is an address and its name, either of which may be empty.
type mailbox struct{ name, address string }

// maxReplyText bounds FILE.
const maxReplyText = 64 << 10

// readReply reads FILE. That it is not there is a noReply.
func readReply(name string) (*replyText, error) {
	text, err := readSmall(name, maxReplyText, "longer than 64 KiB")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noReplyf("%s: not there", name)
	}
	if err != nil {
		return nil, err
	}
	t, err := parseReply(text)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	return t, nil
}

// parseReply takes the text of FILE apart. An error begins with the number of the
// line.
func parseReply(text []byte) (*replyText, error) {
	t := &replyText{bytes: text}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors put it there
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	number := 1
	for line := range bytes.Lines(text) {
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("%d: not UTF-8", number)
		}
		for _, c := range string(line) {
			if unicode.IsControl(c) && c != '\n' && c != '\t' {
				return nil, fmt.Errorf("%d: U+%04X: control character", number, c)
			}
		}
		number++
	}
	rest := string(text)
	first, _, _ := strings.Cut(rest, "\n")
	if name, _ := cutReplyField(first); name == "" {
		t.body = endLine(rest)
		return t, nil
	}
	seen := make(map[string]bool)
	for number := 1; ; number++ {
		line, after, more := strings.Cut(rest, "\n")
		if rest = after; line == "" {
			if !more {
				return nil, fmt.Errorf("%d: no empty line behind the fields", number)
			}
			t.body = endLine(rest)
			return t, nil
		}
		name, value := cutReplyField(line)
		var err error
		switch {
		case name == "":
			err = errors.New("not a From:, Reply-To: or Subject: field, nor an empty line")
		case seen[name]:
			err = fmt.Errorf("%s: twice", name)
		case value == "":
			err = fmt.Errorf("%s: empty", name)
		case strings.Contains(value, "\t"):
			err = fmt.Errorf("%s: holds a tab", name)
		case name == "From":
			t.from, err = parseMailbox(name, value)
		case name == "Reply-To":
			t.replyTo, err = parseMailbox(name, value)
		default:
			t.subject = value
		}
		if err != nil {
			return nil, fmt.Errorf("%d: %w", number, err)
		}
		seen[name] = true
	}
}

// endLine ends the last line of a text.
func endLine(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

// cutReplyField takes a line of FILE for a field; no name where it is none.
func cutReplyField(line string) (name, value string) {
	before, value, _ := strings.Cut(line, ":")
	for _, name := range []string{"From", "Reply-To", "Subject"} {
		if strings.EqualFold(before, name) && len(before) < len(line) {
			return name, strings.TrimSpace(value)
		}
	}
	return "", ""
}

// parseMailbox reads an address with or without a name: 山田 <yamada@example.jp>.
func parseMailbox(field, value string) (m mailbox, err error) {
	m.address = value
	if name, rest, ok := strings.Cut(value, "<"); ok {
		var end string
		if m.address, end, ok = strings.Cut(rest, ">"); !ok || end != "" {
			return m, fmt.Errorf("%s: %s: not one address", field, value)
		}
		m.name = strings.TrimSpace(name)
		if n := len(m.name); n > 1 && m.name[0] == '"' && m.name[n-1] == '"' {
			m.name = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m.name[1 : n-1])
		}
	}
	if err := message.CheckAddress(m.address); err != nil {
		return m, fmt.Errorf("%s: %s: %w", field, m.address, err)
	}
	return m, nil
}

// memoryName is that of the file by which it is known that this sender got this text.
func (t *replyText) memoryName(sender string) string {
	hash := sha256.New()
	io.WriteString(hash, strings.ToLower(sender))
	hash.Write([]byte{0})
	hash.Write(t.bytes)
	return hex.EncodeToString(hash.Sum(nil))[:memoryNameLen]
}
