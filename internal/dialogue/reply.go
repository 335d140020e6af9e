package dialogue

import (
	"fmt"
	"strings"
)

// A Reply is what the server answers to a command.
type Reply struct {
	Code int    // of SMTP: 250
	Sign string // of POP3: +OK, -ERR, or + where it asks for more

	raw   []string // the lines without code and line end, as they came
	shown []string // the same without secrets
}

// Good reports whether the reply says yes, or wants more to be said: 2xx, 3xx, +OK, +.
func (r Reply) Good() bool { return r.Code >= 200 && r.Code < 400 || r.Sign == "+OK" || r.Sign == "+" }

func (r Reply) code() string {
	if r.Code != 0 {
		return fmt.Sprint(r.Code)
	}
	return r.Sign
}

// String returns the reply on one line.
func (r Reply) String() string {
	text := strings.TrimRight(strings.Join(r.shown, " "), " ")
	return strings.TrimSuffix(r.code()+" "+text, " ")
}

// readReply reads a reply. The error is that what comes is none: nothing more can be said
// then.
func (c *Conn) readReply(step string) (Reply, error) {
	var r Reply
	for n := 1; ; n++ {
		line, err := c.readLine(step)
		if err != nil {
			return r, err
		}
		text := string(line)
		shown := text
		// The server's last word of SCRAM is as good as ours to guess the password by.
		if c.secrets.challenges && (strings.HasPrefix(text, "334 ") || strings.HasPrefix(text, "+ ")) {
			code, _, _ := strings.Cut(text, " ")
			shown = code + " " + stars
		} else {
			shown = c.secrets.mask(text)
		}
		c.line(TheyMark, shown)
		more, err := r.add(text, shown, c.cfg.Server.POP3())
		if err == nil && more && n == maxLines {
			err = fmt.Errorf("the reply has more than %d lines", maxLines)
		}
		if err != nil {
			c.over = true
			return r, c.failed(step, err)
		}
		if !more {
			break
		}
	}
	if r.Code == 421 { // RFC 5321, 3.8: the server closes the connection
		c.over = true
	}
	c.last = r
	return r, nil
}

// add takes one line and reports whether there are more.
func (r *Reply) add(text, shown string, pop3 bool) (more bool, err error) {
	if pop3 {
		// RFC 1939, 3; the sign alone asks for more, RFC 5034, 4.
		for _, sign := range []string{"+OK", "-ERR", "+"} {
			if rest, ok := strings.CutPrefix(text, sign); ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t') {
				r.Sign = sign
				r.raw = append(r.raw, strings.TrimLeft(rest, " \t"))
				r.shown = append(r.shown, strings.TrimLeft(shown[min(len(sign), len(shown)):], " \t"))
				return false, nil
			}
		}
		return false, &badReply{"what the server says is no reply of POP3", cut(shown)}
	}
	// RFC 5321, 4.2.1.
	notReply := &badReply{"what the server says is no reply of SMTP", cut(shown)}
	if len(text) < 3 || text[0] < '1' || text[0] > '5' || !isDigit(text[1]) || !isDigit(text[2]) {
		return false, notReply
	}
	code := int(text[0]-'0')*100 + int(text[1]-'0')*10 + int(text[2]-'0')
	if len(text) > 3 && text[3] != ' ' && text[3] != '-' {
		return false, notReply
	}
	if r.Code != 0 && r.Code != code {
		return false, fmt.Errorf("a reply with the codes %d and %d", r.Code, code)
	}
	r.Code = code
	r.raw = append(r.raw, text[min(4, len(text)):])
	r.shown = append(r.shown, shown[min(4, len(shown)):])
	return len(text) > 3 && text[3] == '-', nil
}

// A badReply is a line that is no reply.
type badReply struct{ why, text string }

func (b *badReply) Error() string { return b.why + ": " + b.text }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// cut bounds what of a server's text stands in a message.
func cut(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
