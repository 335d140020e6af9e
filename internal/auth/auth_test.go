package auth

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestVectors proves that the answers are those of the RFCs' own examples: 1939, 7;
// 4616, 4; 2195, 2.
func TestVectors(t *testing.T) {
	if got, want := APOP("<1896.697170952@dbc.mtview.ca.us>", "tanstaaf"), "c4c9334bac560ecc979e58001b3e22fb"; got != want {
		t.Errorf("APOP: %s; want %s", got, want)
	}
	if got, want := string(Plain("Ursel", "Kurt", "xipj3plmq")), "Ursel\x00Kurt\x00xipj3plmq"; got != want {
		t.Errorf("PLAIN: %q; want %q", got, want)
	}
	if got, want := string(CRAMMD5([]byte("<1896.697170952@postoffice.reston.mci.net>"), "tim", "tanstaaftanstaaf")),
		"tim b913a602c7eda7a495b4e6e7334d3890"; got != want {
		t.Errorf("CRAM-MD5: %s; want %s", got, want)
	}
}

// scramExample is a whole exchange. The first is RFC 5802, 5, the second RFC 7677, 3.
var scramExamples = []struct {
	name, nonce, first, challenge, final, proof string
}{
	{"SCRAM-SHA-1", "fyko+d2lbbFgONRv9qkxdawL",
		"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
	{"SCRAM-SHA-256", "rOprNGfwEbeRWgbNEkqO",
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
}

// TestSCRAM proves that an exchange of the RFCs' examples ends well, that the server's
// proof is looked at, and that a server which skips it is found out.
func TestSCRAM(t *testing.T) {
	for _, e := range scramExamples {
		begin := func() *scram {
			m, err := New(e.name, "user", "pencil")
			if err != nil {
				t.Fatal(err)
			}
			s := m.(*scram)
			s.nonce = e.nonce
			if got := s.First(); string(got) != e.first {
				t.Fatalf("%s: first %q; want %q", e.name, got, e.first)
			}
			if got, err := s.Next([]byte(e.challenge)); string(got) != e.final || err != nil {
				t.Fatalf("%s: final %q, %v; want %q", e.name, got, err, e.final)
			}
			return s
		}
		s := begin()
		if s.Done() == nil {
			t.Errorf("%s: taken without the server's proof", e.name)
		}
		if got, err := s.Next([]byte(e.proof)); len(got) != 0 || err != nil || s.Done() != nil {
			t.Errorf("%s: %q, %v, %v after the proof", e.name, got, err, s.Done())
		}
		if _, err := s.Next([]byte(e.proof)); err == nil {
			t.Errorf("%s: goes on for ever", e.name)
		}
		for _, wrong := range []string{"", "v=", "e=other-error", strings.Replace(e.proof, "v=", "v=A", 1), e.proof[:len(e.proof)-4],
			"v=" + base64.StdEncoding.EncodeToString(make([]byte, 32))} {
			if s := begin(); !fails(s, wrong) || s.Done() == nil {
				t.Errorf("%s: the proof %q is taken", e.name, wrong)
			}
		}
	}
}

func fails(m Mechanism, challenge string) bool {
	_, err := m.Next([]byte(challenge))
	return err != nil
}

// TestHostileChallenge proves that a server gets no answer to a challenge that could make
// one worth having: of little or endless work, or without a part of the server's or ours.
func TestHostileChallenge(t *testing.T) {
	for _, challenge := range []string{
		"", "r=NONCE,s=QQ==,i=4096", "r=other,s=QQ==,i=4096", "r=NONCEx,s=,i=4096", "r=NONCEx,s=*,i=4096",
		"r=NONCEx,s=QQ==,i=0", "r=NONCEx,s=QQ==,i=-1", "r=NONCEx,s=QQ==,i=1000001", "r=NONCEx,s=QQ==,i=99999999999999999999",
		"r=NONCEx,s=QQ==", "r=NONCEx", "m=ext,r=NONCEx,s=QQ==,i=1", "s=QQ==,r=NONCEx,i=1", ",,,",
	} {
		for _, name := range Mechanisms[:2] {
			m, _ := New(name, "user", "pencil")
			m.First()
			challenge := strings.ReplaceAll(challenge, "NONCE", m.(*scram).nonce)
			if answer, err := m.Next([]byte(challenge)); err == nil {
				t.Errorf("%s: %q is answered: %q", name, challenge, answer)
			}
		}
	}
	if m, _ := New("CRAM-MD5", "user", "pencil"); !fails(m, "") {
		t.Error("CRAM-MD5: an empty challenge is answered")
	}
	for _, name := range Mechanisms {
		m, _ := New(name, "user", "pencil")
		m.First()
		for i := range 6 {
			if fails(m, "x") {
				break
			}
			if i == 5 {
				t.Errorf("%s: answers for ever", name)
			}
		}
	}
}

// TestNormalized proves that two ways to write the same password are one for SCRAM, and
// that a user's name is escaped as RFC 5802, 5.1 wants it.
func TestNormalized(t *testing.T) {
	a, _ := New("SCRAM-SHA-1", "a,b=c", "が")
	b, _ := New("SCRAM-SHA-1", "a,b=c", "か\u3099")
	if a.(*scram).password != b.(*scram).password {
		t.Error("two ways to write one letter differ")
	}
	if first := a.First(); !strings.HasPrefix(string(first), "n,,n=a=2Cb=3Dc,r=") {
		t.Errorf("first: %q", first)
	}
}

// TestNUL proves that nobody gets in as somebody else by a NUL in a name.
func TestNUL(t *testing.T) {
	for _, name := range Mechanisms {
		if _, err := New(name, "a\x00b", "c"); err == nil {
			t.Errorf("%s takes a NUL", name)
		}
	}
}
