package real

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An imapClient talks IMAP as far as the tests need it.
type imapClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	tag  int
}

// dialIMAP logs in at a server on this machine.
func dialIMAP(t *testing.T, port int, user, password string) *imapClient {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &imapClient{t: t, conn: conn, r: bufio.NewReader(conn)}
	conn.SetDeadline(time.Now().Add(patience))
	if greeting := c.response(); !strings.HasPrefix(greeting, "* OK ") {
		t.Fatalf("imap greeting: %s", greeting)
	}
	c.do("LOGIN %s %s", user, password)
	return c
}

// do sends a command, which must succeed, and returns its untagged responses.
func (c *imapClient) do(format string, args ...any) []string {
	c.t.Helper()
	command := fmt.Sprintf(format, args...)
	c.tag++
	tag := fmt.Sprintf("a%d ", c.tag)
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, tag+command+"\r\n"); err != nil {
		c.t.Fatalf("imap %s: %v", command, err)
	}
	var untagged []string
	for {
		response := c.response()
		status, ended := strings.CutPrefix(response, tag)
		switch {
		case !ended:
			untagged = append(untagged, response)
		case strings.HasPrefix(status, "OK"):
			return untagged
		default:
			c.t.Fatalf("imap %s: %s", command, status)
		}
	}
}

var literal = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// response reads one response, with the literals in it, without the last CRLF.
func (c *imapClient) response() string {
	c.t.Helper()
	var response strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("imap: %v", err)
		}
		response.WriteString(line)
		m := literal.FindStringSubmatch(line)
		if m == nil {
			return strings.TrimSuffix(response.String(), "\r\n")
		}
		size, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			c.t.Fatalf("imap: %v", err)
		}
		if _, err := io.CopyN(&response, c.r, size); err != nil {
			c.t.Fatalf("imap: %v", err)
		}
	}
}

// append stores a message; {n+} is a literal that waits for no answer.
func (c *imapClient) append(folder, message string) {
	c.t.Helper()
	message = crlf(message)
	c.do("APPEND %s {%d+}\r\n%s", folder, len(message), message)
}

// An imapMessage is what a mail program sees of a message.
type imapMessage struct {
	uid   int
	flags []string
	text  string // with LF
}

var fetched = regexp.MustCompile(`(?s)^\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{\d+\}\r\n(.*)\)$`)

// messages reads all messages of the selected folder.
func (c *imapClient) messages() []imapMessage {
	c.t.Helper()
	var messages []imapMessage
	for _, response := range c.do("UID FETCH 1:* (UID FLAGS BODY.PEEK[])") {
		m := fetched.FindStringSubmatch(response)
		if m == nil {
			c.t.Fatalf("imap: unexpected answer to FETCH: %q", response)
		}
		uid, err := strconv.Atoi(m[1])
		if err != nil {
			c.t.Fatalf("imap: %v", err)
		}
		messages = append(messages, imapMessage{
			uid:   uid,
			flags: strings.Fields(m[2]),
			text:  strings.ReplaceAll(m[3], "\r\n", "\n"),
		})
	}
	return messages
}

// crlf returns a text as it goes over the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
