package applets

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/queue"
)

var ageForm = regexp.MustCompile(`^([0-9]+)([smhdw])$`)

// FuzzAge proves of any argument of --older-than: it is digits and a unit, and
// not more than 100 years; what is taken finds what is older by that and
// nothing else; and no sum overflows.
func FuzzAge(f *testing.F) {
	for _, s := range []string{"90m", "12h", "3d", "2w", "0s", "010d", "36500d", "36501d", "876000h", "99999999999999999999w", "-1d", "1.5h", "d", "", " 1d", "1D", "1d ", "١d"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 3, 4, 5, 6, time.UTC)
	seconds := map[string]int64{"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
	f.Fuzz(func(t *testing.T, age string) {
		c, err := olderThan(age, now)
		m := ageForm.FindStringSubmatch(age)
		n := new(big.Int)
		if m != nil {
			n.SetString(m[1], 10)
			n.Mul(n, big.NewInt(seconds[m[2]]))
		}
		if good := m != nil && n.Cmp(big.NewInt(36500*86400)) <= 0; good != (err == nil) {
			t.Fatalf("%q: %v", age, err)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "--older-than: "+age+": ") {
				t.Fatalf("%q: %v", age, err)
			}
			return
		}
		edge := now.Add(-time.Duration(n.Int64()) * time.Second)
		for _, test := range []struct {
			birth time.Time
			want  bool
		}{{edge, false}, {edge.Add(-1), true}, {now.Add(1), false}, {time.Time{}, false}} {
			if got := c.fits(&queue.Message{Birth: test.birth}); got != test.want {
				t.Fatalf("%q: %v is old: %v", age, test.birth, got)
			}
		}
	})
}

// FuzzMessageNumber proves that a message's number is decimal digits of up to 64
// bits, with one # before them at most, and that nothing else is taken for one.
func FuzzMessageNumber(f *testing.F) {
	for _, s := range []string{"555", "#555", "##5", "", "#", "0", "007", "18446744073709551615", "18446744073709551616", "+5", "-5", "5 ", "0x5", "1e3", "1_000", "５"} {
		f.Add(s)
	}
	form := regexp.MustCompile(`^#?[0-9]+$`)
	f.Fuzz(func(t *testing.T, word string) {
		s := &numberSet{index: make(map[uint64]int)}
		err := s.add(word)
		want, good := new(big.Int).SetString(strings.TrimPrefix(word, "#"), 10)
		good = good && form.MatchString(word) && want.IsUint64()
		if good != (err == nil) {
			t.Fatalf("%q: %v", word, err)
		}
		if err != nil {
			return
		}
		if n := want.Uint64(); !s.has(n) || s.has(n+1) || len(s.missing()) != 1 || s.missing()[0] != n {
			t.Fatalf("%q: %v", word, s)
		}
		if err := s.add(want.String()); err != nil || len(s.order) != 1 {
			t.Fatalf("%q twice: %v, %v", word, err, s.order)
		}
	})
}

// FuzzShard proves that what is taken for K/N has 1 <= K <= N, in digits, and
// that of all shares a home is in exactly one.
func FuzzShard(f *testing.F) {
	for _, s := range []string{"1/3", "3/3", "0/3", "4/3", "1/0", "/", "1/", "1//3", "01/03", "1/1000000", "1/1000001", "-1/3", "1/3/3", " 1/3"} {
		f.Add(s, "/home/popuser/foo")
	}
	form := regexp.MustCompile(`^[0-9]+/[0-9]+$`)
	f.Fuzz(func(t *testing.T, text, home string) {
		s, err := parseShard(text)
		if err != nil {
			return
		}
		if !form.MatchString(text) || s.k < 1 || s.k > s.n || s.n > maxShards {
			t.Fatalf("%q is %v", text, s)
		}
		in := 0
		for k := uint64(1); k <= min(s.n, 100); k++ {
			if (shard{k, min(s.n, 100)}).has(home) {
				in++
			}
		}
		if in != 1 {
			t.Fatalf("%q is in %d shares of %d", home, in, s.n)
		}
	})
}

// FuzzNumber proves that an option's number is digits, read as decimal.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"7", "010", "0x7", "+7", "-7", "", " 7", "36500", "36501", "99999999999999999999", "7d", "7\n", "７"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := cli.Number("N", text, 0, 36500)
		good := text != "" && strings.Trim(text, "0123456789") == ""
		if good {
			want, bad := strconv.ParseUint(text, 10, 64)
			if good = bad == nil && want <= 36500; good && (err != nil || uint64(n) != want) {
				t.Fatalf("%q: %d, %v", text, n, err)
			}
		}
		if good != (err == nil) {
			t.Fatalf("%q: %d, %v", text, n, err)
		}
	})
}
