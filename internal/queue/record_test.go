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
		{"Fa@b\x001\x00", "a@b", true},
		{"Kx\x00Fa@b\x00", "a@b", false}, // a patched qmail's
		{"Fa@b\x00\x00", "a@b", true},
	} {
		var e envelope
		err := e.parseInfo(test.text)
		if sender := e.sender; sender != test.sender || errors.Is(err, ErrMalformed) != test.bad || err != nil != test.bad {
			t.Errorf("parseInfo(%q) = %+v, %v", test.text, e, err)
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
		{"u0\x00Xx\x00Fa@b\x00Y\x00Tc@d\x00", "a@b", "c@d", false},
		{"u0\x00\x01x\x00Fa@b\x00Tc@d\x00", "a@b", "c@d", true},
		{"\x00\x00Fa@b\x00Tc@d\x00", "a@b", "c@d", true},
		{"Fa@b\x00Dc@d\x00", "a@b", "", false},
	} {
		var e envelope
		err := e.parseTodo(test.text)
		sender, recipients := e.sender, e.recipients
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
		{"Ta@b\x00Xc@d\x00De@f\x00", []Recipient{{"a@b", "local", false}, {"e@f", "local", true}}, false},
		{"X\x00Y\x00", nil, true},
		{"Ta@b\x00Tc", []Recipient{{"a@b", "local", false}, {"c", "local", false}}, true},
		{"\x00Ta@b\x00", []Recipient{{"a@b", "local", false}}, true},
		{"\xff\xfe\x01", nil, true},
	} {
		var e envelope
		err := e.parseChannel(test.text, Local)
		got := e.recipients
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
		var e envelope
		if err := e.parseInfo(text); err == nil && (!e.known || rest(text, "F"+e.sender) != others(e)) {
			t.Errorf("parseInfo(%q) = %+v", text, e)
		}
		e = envelope{}
		if err := e.parseChannel(text, Remote); err == nil {
			var all []string
			for _, r := range e.recipients {
				all = append(all, map[bool]string{false: "T", true: "D"}[r.Done]+r.Address)
			}
			if rest(text, all...) != others(e) {
				t.Errorf("parseChannel(%q) = %+v", text, e)
			}
		}
		e = envelope{}
		if err := e.parseTodo(text); err == nil {
			all := []string{"F" + e.sender}
			for _, r := range e.recipients {
				all = append(all, "T"+r.Address)
			}
			for record := range strings.SplitSeq(text, "\x00") {
				if strings.HasPrefix(record, "u") || strings.HasPrefix(record, "p") {
					all = append(all, record)
				}
			}
			if rest(text, all...) != others(e) {
				t.Errorf("parseTodo(%q) = %+v", text, e)
			}
		}
	})
}

// rest returns the records of text that are not among those, of which each must be
// there, sorted.
func rest(text string, known ...string) string {
	if !strings.HasSuffix(text, "\x00") {
		return "no end"
	}
	records := strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
	for _, k := range known {
		i := slices.Index(records, k)
		if i < 0 {
			return "not there: " + k
		}
		records = slices.Delete(records, i, i+1)
	}
	slices.Sort(records)
	return strings.Join(records, "\x00")
}

func others(e envelope) string {
	var all []string
	for _, r := range e.other {
		all = append(all, r.Text)
	}
	slices.Sort(all)
	return strings.Join(all, "\x00")
}
