package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// maxIterations bounds the work that a server may ask for. RFC 7677 wants 4096 at least;
// a million take about a second.
const maxIterations = 1_000_000

// scram is SCRAM without channel binding: RFC 5802, and RFC 7677 for SHA-256.
type scram struct {
	hash           func() hash.Hash
	user, password string
	nonce          string // ours

	step      int // challenges so far
	firstBare string
	signature []byte // the server's, as it has to be
	proved    bool   // the server has sent it
}

func newSCRAM(h func() hash.Hash, user, password string) *scram {
	// RFC 5802, 2.2: SASLprep. Of it the normalization is what differs between two ways
	// to type the same password; what it forbids the server has not let through.
	if strings.ContainsFunc(password, func(r rune) bool { return r >= 0x80 }) {
		password = norm.NFKC.String(password)
	}
	return &scram{hash: h, user: user, password: password, nonce: rand.Text()}
}

func (s *scram) Shown() bool { return false }

func (s *scram) First() []byte {
	name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s.user)
	s.firstBare = "n=" + name + ",r=" + s.nonce
	return []byte("n,," + s.firstBare)
}

func (s *scram) Next(challenge []byte) ([]byte, error) {
	s.step++
	switch s.step {
	case 1:
		return s.final(challenge)
	case 2:
		return nil, s.verify(challenge)
	}
	return nil, errUnasked
}

// Done is RFC 5802, section 5: a server that does not send its signature does not know
// the password.
func (s *scram) Done() error {
	if !s.proved {
		return errors.New("the server did not prove that it knows the password")
	}
	return nil
}

// final answers the server's first message.
func (s *scram) final(serverFirst []byte) ([]byte, error) {
	fields := strings.Split(string(serverFirst), ",")
	value := func(i int, name string) (string, error) {
		if i >= len(fields) || !strings.HasPrefix(fields[i], name+"=") {
			return "", fmt.Errorf("the server's challenge has no %s= at its place", name)
		}
		return fields[i][2:], nil
	}
	// An extension that has to be understood, m=, would stand first, and is not ours.
	nonce, err1 := value(0, "r")
	salt64, err2 := value(1, "s")
	count, err3 := value(2, "i")
	if err := errors.Join(err1, err2, err3); err != nil {
		if err1 != nil {
			return nil, err1
		}
		return nil, errors.Join(err2, err3)
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	n, countErr := strconv.ParseUint(count, 10, 32)
	switch {
	case !strings.HasPrefix(nonce, s.nonce), len(nonce) == len(s.nonce):
		return nil, errors.New("the server's nonce does not begin with ours")
	case err != nil, len(salt) == 0:
		return nil, errors.New("the server's salt is no base64")
	case countErr != nil, n == 0, n > maxIterations:
		return nil, fmt.Errorf("the server wants %s iterations, of at most %d", strconv.QuoteToASCII(count), maxIterations)
	}
	salted, err := pbkdf2.Key(s.hash, s.password, salt, int(n), s.hash().Size())
	if err != nil {
		return nil, err
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(s.hash, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	clientKey := mac(salted, "Client Key")
	stored := s.hash()
	stored.Write(clientKey)
	withoutProof := "c=biws,r=" + nonce // biws is n,, in base64
	all := s.firstBare + "," + string(serverFirst) + "," + withoutProof
	proof := mac(stored.Sum(nil), all)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	s.signature = mac(mac(salted, "Server Key"), all)
	return []byte(withoutProof + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// verify looks at the server's last message.
func (s *scram) verify(serverFinal []byte) error {
	text, _, _ := bytes.Cut(serverFinal, []byte(","))
	if why, ok := bytes.CutPrefix(text, []byte("e=")); ok {
		return fmt.Errorf("the server says %s", why)
	}
	got, ok := bytes.CutPrefix(text, []byte("v="))
	signature, err := base64.StdEncoding.DecodeString(string(got))
	if !ok || err != nil || !hmac.Equal(signature, s.signature) {
		return errors.New("the server's proof is wrong: it does not know the password")
	}
	s.proved = true
	return nil
}
