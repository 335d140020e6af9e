package applets

import (
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/queue"
)

// An outcome is what is done with the messages that criteria choose, in the place of
// their removal.
type outcome struct {
	option string // that asks for it
	do     func(l *queue.Lock, m *queue.Message) error
	one    string // said of each when it is done, with its number
	would  string // said in a dry run, with how many
	done   string // the same when they are

	virtual queue.VirtualDomains
	holding *queue.Holding
}

// defaultNotice is what the sender is told without TEXT.
const defaultNotice = "Sorry, the administrator of this host has returned this message; no more attempts are made to deliver it. (#5.0.0)"

// setOutcome takes --bounce, --now and --hold.
func (o *qmHandleOptions) setOutcome(set *cli.Set, now func() time.Time) error {
	var outcomes []*outcome
	if set.IsSet("bounce") {
		text := o.bounce
		if text == "" {
			text = defaultNotice
		}
		if err := checkNotice(text); err != nil {
			return err
		}
		e := &outcome{option: "--bounce",
			one:   "Message %d returned to its sender\n",
			would: "%d messages would be returned to their senders\n", done: "Returned %d messages to their senders\n"}
		e.do = func(l *queue.Lock, m *queue.Message) error { return l.Bounce(m, text, e.virtual) }
		outcomes = append(outcomes, e)
	}
	if o.due {
		outcomes = append(outcomes, &outcome{option: "--now",
			do:    func(l *queue.Lock, m *queue.Message) error { return l.Due(m, now()) },
			one:   "Message %d will be tried first\n",
			would: "%d messages would be tried first\n", done: "%d messages will be tried as soon as qmail-send runs\n"})
	}
	if set.IsSet("hold") {
		if o.hold == "" {
			return cli.Usagef("--hold: empty name of a directory")
		}
		e := &outcome{option: "--hold",
			one:   "Message %d held\n",
			would: "%d messages would be held\n", done: "Took %d messages out of the queue\n"}
		e.do = func(l *queue.Lock, m *queue.Message) error { return e.holding.Hold(l, m, e.virtual) }
		outcomes = append(outcomes, e)
	}
	if len(outcomes) == 0 {
		return nil
	}
	o.outcome = outcomes[0]
	option := o.outcome.option
	switch {
	case len(outcomes) > 1:
		return cli.Usagef("%s goes without %s", option, outcomes[1].option)
	case o.live && o.due:
		return cli.Usagef("--now goes without --live: a running qmail-send cannot be told about single messages")
	case o.live:
		return cli.Usagef("%s goes without --live: qmail-send may end the message at the same time", option)
	case set.IsSet("save") && !set.IsSet("bounce"):
		return cli.Usagef("%s goes without --save: nothing is lost by it", option)
	}
	return nil
}

// checkNotice takes what a notice without a charset may hold: it is mail in US-ASCII.
func checkNotice(text string) error {
	for i := range len(text) {
		if c := text[i]; c != '\n' && c != '\t' && (c < ' ' || c > '~') {
			return cli.Usagef("--bounce: %s: only printable ASCII can stand in a notice", text)
		}
	}
	return nil
}

// open gets ready what an outcome needs.
func (e *outcome) open(qmail, holding string) (err error) {
	if e.option == "--now" {
		return nil
	}
	if e.virtual, err = virtualDomains(qmail + "/control/virtualdomains"); err != nil {
		return err
	}
	if e.option == "--hold" {
		e.holding, err = queue.OpenHolding(holding)
	}
	return err
}

func (e *outcome) close() {
	if e.holding != nil {
		e.holding.Close()
	}
}
