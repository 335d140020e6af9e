package cli

import "testing"

// TestLanguage proves that the first of LC_ALL, LC_MESSAGES and LANG that is set
// and not empty counts, that Japanese is known in every spelling of a charset,
// and that whatever else there is means English.
func TestLanguage(t *testing.T) {
	for _, test := range []struct {
		all, messages, lang string
		want                string // charset's name; empty: English
	}{
		{"", "", "", ""},
		{"ja_JP.UTF-8", "C", "C", "utf8"},
		{"C", "ja_JP.UTF-8", "ja_JP.UTF-8", ""},
		{"", "ja_JP.UTF-8", "en_US.UTF-8", "utf8"},
		{"", "en_US.UTF-8", "ja_JP.UTF-8", ""},
		{"", "", "ja_JP.UTF-8", "utf8"},
		{"POSIX", "", "ja_JP.UTF-8", ""},

		{"", "", "ja", "utf8"},
		{"", "", "ja_JP", "utf8"},
		{"", "", "ja.utf8", "utf8"},
		{"", "", "JA_jp.Utf8@cjknarrow", "utf8"},
		{"", "", "ja_JP@x", "utf8"},
		{"", "", "ja_JP.eucJP", "euc"},
		{"", "", "ja_JP.EUC-JP", "euc"},
		{"", "", "ja_JP.euc_jp", "euc"},
		{"", "", "ja_JP.ujis", "euc"},
		{"", "", "ja_JP.IBM-eucJP", "euc"},
		{"", "", "ja_JP.SJIS", "sjis"},
		{"", "", "ja_JP.Shift_JIS", "sjis"},
		{"", "", "ja_JP.PCK", "sjis"},
		{"", "", "Ja_JP.IBM-943", "sjis"},
		{"", "", "ja_JP.ISO-2022-JP", "jis"},

		{"", "", "ja_JP.ISO8859-1", ""},
		{"", "", "ja_JP.eucTW", ""},
		{"", "", "jam_JM.UTF-8", ""},
		{"", "", "jav", ""},
		{"", "", "C.UTF-8", ""},
		{"", "", "en_JP.UTF-8", ""},
		{"", "", ".UTF-8", ""},
	} {
		vars := map[string]string{"LC_ALL": test.all, "LC_MESSAGES": test.messages, "LANG": test.lang, "LANGUAGE": "ja"}
		env := &Env{Getenv: func(name string) string { return vars[name] }}
		got := ""
		if c := env.Language(); c != nil {
			got = c.Short
		}
		if got != test.want {
			t.Errorf("LC_ALL=%q LC_MESSAGES=%q LANG=%q: %q, want %q", test.all, test.messages, test.lang, got, test.want)
		}
	}
}
