package applets

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
)

// The statuses of a plugin of Nagios, with their words (Monitoring Plugins Development
// Guidelines, "Plugin Return Codes").
const (
	nagiosOK = iota
	nagiosWarning
	nagiosCritical
	nagiosUnknown
)

var nagiosWords = []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// thresholds are the values of -W and -C, in seconds; empty: none.
type thresholds struct{ warning, critical string }

// check returns the usage error in them.
func (t thresholds) check(set *cli.Set) error {
	for _, o := range []struct{ name, value string }{{"warning", t.warning}, {"critical", t.critical}} {
		if _, ok := parseSeconds(o.value); set.IsSet(o.name) && !ok {
			return cli.Usagef("--%s: %s: not a number of seconds", o.name, o.value)
		}
	}
	return nil
}

// parseSeconds reads decimal digits, with or without a fraction.
func parseSeconds(text string) (time.Duration, bool) {
	if text == "" || len(text) > 16 || strings.Trim(text, "0123456789.") != "" || text[0] == '.' {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return time.Duration(f * float64(time.Second)), err == nil && f <= maxTimeout
}

// status judges a time.
func (t thresholds) status(took time.Duration) int {
	over := func(text string) bool {
		limit, ok := parseSeconds(text)
		return ok && took > limit
	}
	switch {
	case over(t.critical):
		return nagiosCritical
	case over(t.warning):
		return nagiosWarning
	}
	return nagiosOK
}

// nagiosLine prints the one line of a check of service, and returns what ends the applet
// with that status. Timeout is the most that took can be.
func nagiosLine(env *cli.Env, service string, status int, text string, took time.Duration, t thresholds, timeout time.Duration) error {
	perf := fmt.Sprintf("|time=%.3fs;%s;%s;0;%g", took.Seconds(), t.warning, t.critical, timeout.Seconds())
	return nagiosExit(env, service, status, text, perf)
}

func nagiosExit(env *cli.Env, service string, status int, text, perf string) error {
	// What stands behind a bar is read as figures, and a server may send one.
	text = strings.ReplaceAll(escape.String(text), "|", `\174`)
	if _, err := fmt.Fprintf(env.Stdout, "%s %s - %s%s\n", service, nagiosWords[status], text, perf); err != nil {
		return err
	}
	return cli.Exit(status)
}

// nagiosFailed is for an error that kept a check from being done at all. A person, who is
// no Nagios, reads it on standard error.
func nagiosFailed(env *cli.Env, service string, err error) error {
	env.Warn("%s", cli.Describe(err))
	return nagiosExit(env, service, nagiosUnknown, cli.Describe(err), "")
}
