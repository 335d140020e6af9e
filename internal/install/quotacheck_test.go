package install

import (
	"os"
	"testing"
)

// TestInstallQuotacheck proves that the page's mailquotacheck is replaced, with its
// quota and its buffer carried over and its programs passed over silently, and that one
// that was switched off, or is somebody's own, stays and is named.
func TestInstallQuotacheck(t *testing.T) {
	original, err := os.ReadFile("testdata/originals/mailquotacheck")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text, conf string
		replaced         bool
	}{
		{"the page's", string(original), "QUOTA=5120\nQUOTA_BUFFER=100\n", true},
		{"other limits", "#!/bin/sh\n# limits\nquota=\"20000\" # KB\nhardquotabuffer='50'\nbc=/usr/bin/bc\npwd=/bin/pwd\n", "QUOTA=20000\nQUOTA_BUFFER=50\n", true},
		{"switched off", "#!/bin/sh\n\n# off\nexit 0\nquota=100\n", "", false},
		{"his own", "#!/bin/sh\nexec /opt/quota/check\n", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			script := ReadScript([]byte(test.text))
			if got := pageQuotacheck([]byte(test.text), script); got != test.replaced {
				t.Errorf("the page's: %v", got)
			}
			if !test.replaced {
				return
			}
			c := Carry(script, "mailquotacheck", nil, false)
			conf := ""
			for _, line := range c.Lines {
				conf += line + "\n"
			}
			if conf != test.conf || len(c.Refused) > 0 || c.Alone != "" {
				t.Errorf("carried over %q, refused %v, alone %q; want %q", conf, c.Refused, c.Alone, test.conf)
			}
		})
	}
}
