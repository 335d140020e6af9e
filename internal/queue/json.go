package queue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

type jsonMessage struct {
	Number     uint64          `json:"number"`
	State      string          `json:"state"`
	Sender     string          `json:"sender"`
	Recipients []jsonRecipient `json:"recipients"`
	Birth      *string         `json:"birth"`
	Size       int64           `json:"size"`
	Subject    string          `json:"subject"`
	Bouncing   bool            `json:"bouncing"`
}

type jsonRecipient struct {
	Address string `json:"address"`
	Channel string `json:"channel"`
	Done    bool   `json:"done"`
}

// JSON returns the message as one line, without its end. The birth of an orphan
// may be null. The subject is there if the header has been read.
func (m *Message) JSON() ([]byte, error) {
	out := jsonMessage{
		Number: m.Number, State: m.State().String(), Sender: bytesText(m.Sender),
		Recipients: make([]jsonRecipient, 0, len(m.Recipients)),
		Size:       m.Size, Subject: bytesText(m.Subject()), Bouncing: m.Bouncing,
	}
	for _, r := range m.Recipients {
		out.Recipients = append(out.Recipients, jsonRecipient{bytesText(r.Address), r.Channel, r.Done})
	}
	if !m.Birth.IsZero() {
		birth := m.Birth.UTC().Format(time.RFC3339)
		out.Birth = &birth
	}
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return nil, err
	}
	return escapeControls(bytes.TrimSuffix(line.Bytes(), []byte("\n"))), nil
}

// bytesText makes a valid text of any bytes: those that are no UTF-8 become
// \ooo, and a backslash is doubled, so that different bytes stay different.
func bytesText(s string) string {
	if utf8.ValidString(s) && !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\%03o`, s[0])
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// escapeControls writes the control characters that JSON lets stand, DEL and
// C1, as it writes the others: a terminal would obey them.
func escapeControls(line []byte) []byte {
	if bytes.IndexByte(line, 0x7f) < 0 && bytes.IndexByte(line, 0xc2) < 0 {
		return line
	}
	out := make([]byte, 0, len(line)+16)
	for len(line) > 0 {
		r, size := utf8.DecodeRune(line)
		if r >= 0x7f && r <= 0x9f {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, line[:size]...)
		}
		line = line[size:]
	}
	return out
}
