package queue

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestRecords proves what each of the envelope's files is read as, and that
// what is malformed is an error that keeps what could be read.
func TestRecords(t *testing.T) {
	for _, test := range []struct {
		text, sender string
		bad          bool
	}{
		{"Ftaro@test.local\x00", "taro@test.local", false},
		{"F\x00", "", false},
		{"F#@[]\x00", "#@[]", false},
		{"Flist-@test.local-@[]\x00", "list-@test.local-@[]", false},
		{"Fa\nb \xff@c\x00", "a\nb \xff@c", false},
		{"", "", true},
		{"F", "", true},
		{"Ftaro", "taro", true},
		{"\x00", "", true},
		{"Ta@b\x00", "", true},
		{"Fa@b\x00Fc@d\x00", "a@b", true},
		{"Fa@b\x00x", "a@b", true},
		{"Fa@b\x00\x00", "a@b", true},
	} {
		sender, err := parseInfo(test.text)
		if sender != test.sender || errors.Is(err, ErrMalformed) != test.bad || err != nil != test.bad {
			t.Errorf("parseInfo(%q) = %q, %v", test.text, sender, err)
		}
	}
	for _, test := range []struct {
		text, sender, recipients string
		bad                      bool
	}{
		{"u0\x00p4596\x00Fa@b\x00Tc@d\x00", "a@b", "c@d", false},
		{"u0\x00p4596\x00F\x00Tlog\x00Tc@d\x00Te f\x00", "", "log|c@d|e f", false},
		{"u0\x00p4596\x00Fa@b\x00", "a@b", "", false},
		{"", "", "", true},
		{"u0\x00p1\x00Tc@d\x00", "", "c@d", true},
		{"u0\x00p1\x00Fa@b\x00Tc@d\x00Te@", "a@b", "c@d|e@", true},
		{"u0\x00p1\x00Fa@b\x00Fe@f\x00Tc@d\x00", "a@b", "c@d", true},
		{"u0\x00X\x00Fa@b\x00Tc@d\x00", "a@b", "c@d", true},
		{"\x00\x00Fa@b\x00Tc@d\x00", "a@b", "c@d", true},
		{"Fa@b\x00Dc@d\x00", "a@b", "", true},
	} {
		sender, recipients, err := parseTodo(test.text)
		var got []string
		for _, r := range recipients {
			if r.Channel != "" || r.Done {
				t.Errorf("%q: %+v", test.text, r)
			}
			got = append(got, r.Address)
		}
		if sender != test.sender || strings.Join(got, "|") != test.recipients || errors.Is(err, ErrMalformed) != test.bad || err != nil != test.bad {
			t.Errorf("parseTodo(%q) = %q, %q, %v", test.text, sender, got, err)
		}
	}
	for _, test := range []struct {
		text string
		want []Recipient
		bad  bool
	}{
		{"Ta@b\x00Dc@d\x00", []Recipient{{"a@b", "local", false}, {"c@d", "local", true}}, false},
		{"T\x00", []Recipient{{"", "local", false}}, false},
		{"TDx@y\x00", []Recipient{{"Dx@y", "local", false}}, false},
		{"", nil, true},
		{"Ta@b\x00Xc@d\x00De@f\x00", []Recipient{{"a@b", "local", false}, {"e@f", "local", true}}, true},
		{"Ta@b\x00Tc", []Recipient{{"a@b", "local", false}, {"c", "local", false}}, true},
		{"\x00Ta@b\x00", []Recipient{{"a@b", "local", false}}, true},
		{"\xff\xfe\x01", nil, true},
	} {
		got, err := parseChannel(test.text, "local", nil)
		if !slices.Equal(got, test.want) || errors.Is(err, ErrMalformed) != test.bad || err != nil != test.bad {
			t.Errorf("parseChannel(%q) = %+v, %v", test.text, got, err)
		}
	}
}

// FuzzRecords proves of any bytes that each parser comes to an end, and that
// what it takes without an error is exactly what qmail would have written for
// what it read: nothing was passed over and nothing invented.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{
		"", "F\x00", "Fa@b\x00", "u0\x00p1\x00Fa@b\x00Tc@d\x00", "Ta@b\x00Dc@d\x00", "Ta@b", "\x00", "u\x00p\x00FT\x00T\x00", "X\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if sender, err := parseInfo(text); err == nil && "F"+sender+"\x00" != text {
			t.Errorf("parseInfo(%q) = %q", text, sender)
		}
		if recipients, err := parseChannel(text, "remote", nil); err == nil {
			var b strings.Builder
			for _, r := range recipients {
				b.WriteString(map[bool]string{false: "T", true: "D"}[r.Done] + r.Address + "\x00")
			}
			if b.String() != text {
				t.Errorf("parseChannel(%q) = %+v", text, recipients)
			}
		}
		if sender, recipients, err := parseTodo(text); err == nil {
			senders, all := 0, []string{}
			for record := range strings.SplitSeq(strings.TrimSuffix(text, "\x00"), "\x00") {
				switch record[0] {
				case 'F':
					senders++
					if record[1:] != sender {
						t.Errorf("parseTodo(%q): sender %q", text, sender)
					}
				case 'T':
					all = append(all, record[1:])
				}
			}
			if senders != 1 || len(all) != len(recipients) {
				t.Errorf("parseTodo(%q) = %q, %+v", text, sender, recipients)
			}
		}
	})
}
