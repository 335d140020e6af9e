package applets

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
	"kowaza/internal/report"
)

// A tripResult is what has become of a TEST.
type tripResult struct {
	known   bool
	ok      bool // as the TEST wants it
	outcome string
	seconds time.Duration // since the injection
	where   string        // the message was seen there; may be empty
	told    string        // what stands in the last column where it is ok; empty: where
	why     string        // it is not ok

	form      report.Form
	recipient *report.Recipient // in a report; nil: it names none
}

// outcomeOf is the name of what is seen.
func outcomeOf(r report.Relation) string {
	switch r {
	case report.Same:
		return "delivered"
	case report.Notice:
		return "delayed"
	case report.Bounce:
		return "bounced"
	case report.DoubleBounce:
		return "double-bounced"
	}
	return ""
}

// wants is what a TEST wants to be seen, and in whose box.
func (x *tripTest) wants() (report.Relation, role) {
	switch x.name {
	case tripBounce:
		return report.Bounce, ofSender
	case tripDouble:
		return report.DoubleBounce, ofDoubles
	}
	return report.Same, ofRecipient
}

// judge decides whether what was seen is the end of its TEST.
func (t *trip) judge(s *sighting) {
	x := s.test
	if x.known {
		return
	}
	r := tripResult{outcome: outcomeOf(s.relation), seconds: s.at.Sub(x.begun), where: s.where}
	if s.report != nil {
		r.form, r.recipient = s.report.Form, chosenRecipient(s.report, x.to)
		r.told = told(r.recipient, x.to)
	}
	want, whose := x.wants()
	switch {
	case s.relation == want && s.box.roles&whose != 0:
		r.ok = true
	case s.relation == report.Notice, s.relation == want, x.name == tripDouble && s.relation == report.Bounce:
		// Postfix tells the postmaster of single bounces, too, if notify_classes says so;
		// and mail that is late may still come. What is wanted may follow.
		if x.unwanted == nil || s.relation != report.Notice {
			x.unwanted = s
		}
		return
	case s.relation == report.Same:
		r.why = fmt.Sprintf("%s: somebody takes mail for any address at this host", s.where)
	default:
		r.why = r.told
	}
	t.finish(x, r)
}

// chosenRecipient returns the one that a report is about: of several the one that mail
// was sent to.
func chosenRecipient(r *report.Report, to string) *report.Recipient {
	for i := range r.Recipients {
		if strings.EqualFold(r.Recipients[i].Address, to) {
			return &r.Recipients[i]
		}
	}
	if len(r.Recipients) > 0 {
		return &r.Recipients[0]
	}
	return nil
}

// told says what a report says: status and reason, and whose they are where that is not
// who mail was sent to.
func told(p *report.Recipient, to string) string {
	if p == nil {
		return "-"
	}
	var words []string
	if p.Status != "" {
		words = append(words, "#"+p.Status)
	}
	if p.Reason != "" {
		words = append(words, cutText(p.Reason))
	}
	if len(words) == 0 {
		words = []string{"-"}
	}
	if p.Address != "" && !strings.EqualFold(p.Address, to) {
		words = append([]string{"<" + cutText(p.Address) + ">:"}, words...)
	}
	return strings.Join(words, " ")
}

// cutText bounds what a server's text may add to a line.
func cutText(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// await waits until all is known, or the time is over.
func (t *trip) await() {
	tick := time.NewTicker(100 * time.Millisecond) // looks into qmail's queue
	defer tick.Stop()
	for !t.stopped() {
		x := t.nextUnknown()
		if x == nil {
			break
		}
		timer := time.NewTimer(time.Until(t.deadline(x)))
		select {
		case s := <-t.sightings:
			t.see(&s)
		case <-tick.C:
			t.lookForRemote()
		case <-t.ctx.Done():
		case <-timer.C:
			t.lookAgain(false)
			if !x.known {
				t.expire(x)
			}
		}
		timer.Stop()
	}
	// What is still to be removed, such as a copy for the postmaster, may just be coming.
	t.lookAgain(true)
}

// bounceTime is how long a message must have been out of qmail's queue without a bounce.
const bounceTime = 2 * time.Second

// deadline is when the time of a TEST is over.
func (t *trip) deadline(x *tripTest) time.Time {
	if !x.left.IsZero() {
		return x.left.Add(bounceTime)
	}
	return x.begun.Add(t.wait)
}

// nextUnknown returns the TEST whose time is over first; nil: all are known.
func (t *trip) nextUnknown() (first *tripTest) {
	for _, x := range t.tests {
		if !x.known && x.injected && (first == nil || t.deadline(x).Before(t.deadline(first))) {
			first = x
		}
	}
	return first
}

// lookForRemote sees whether the remote message has left qmail's queue. Twice: it may
// just have been on its way from one state to the next.
func (t *trip) lookForRemote() {
	for _, x := range t.tests {
		if x.name != tripRemote || t.needs(x) != ofSender || x.known || !x.injected || !x.left.IsZero() {
			continue
		}
		if m, _, err := t.inQueue(x); err != nil || m != nil {
			x.absent = 0
			continue
		}
		if x.absent++; x.absent == 2 {
			x.left = time.Now()
		}
	}
}

// expire ends a TEST whose time is over.
func (t *trip) expire(x *tripTest) {
	r := tripResult{seconds: time.Since(x.begun)}
	if !x.left.IsZero() {
		r.ok, r.outcome, r.seconds = true, "sent", x.left.Sub(x.begun)
		r.told = "left the queue, and no bounce came"
		t.finish(x, r)
		return
	}
	r.why = t.nothing(x)
	if x.reply != "" { // with the number by which a server's log tells more
		r.why += ", and the server had taken it: " + x.reply
	}
	why, queued, known := t.queueState(x)
	switch s := x.unwanted; {
	case queued:
		r.outcome, r.why = "queued", why
	case s != nil && s.relation != report.Notice:
		r.outcome, r.where = outcomeOf(s.relation), s.where
		r.why += ", but " + s.where
	case known:
		r.outcome = "lost"
		r.why += " and nothing in qmail's queue"
	default:
		r.outcome = "not found"
	}
	if s := x.unwanted; s != nil && s.report != nil {
		r.form, r.recipient = s.report.Form, chosenRecipient(s.report, x.to)
		r.why += ": " + outcomeOf(s.relation) + ": " + told(r.recipient, x.to)
	}
	if x.name == tripDouble && r.outcome != "queued" {
		if _, err := os.Stat(t.env.Root + "/etc/postfix/main.cf"); err == nil {
			r.why += "; Postfix returns double bounces only with 2bounce in notify_classes"
		}
	}
	t.finish(x, r)
}

// nothing says where a TEST's end was looked for in vain.
func (t *trip) nothing(x *tripTest) string {
	b := t.box(t.needs(x))
	if b == nil {
		return "nothing"
	}
	why := "nothing in " + b.path
	switch {
	case b.err != nil:
		why += ", where nothing could be seen: " + cli.Describe(b.err)
	case b.unread != nil:
		why += ", where not all could be read: " + cli.Describe(b.unread)
	}
	return why
}

// finish notes and tells what has become of a TEST.
func (t *trip) finish(x *tripTest, r tripResult) {
	r.known = true
	x.tripResult = r
	switch {
	case t.o.nagios:
	case t.o.json:
		t.printJSON(x)
	default:
		last := r.why
		if r.ok {
			if last = r.told; last == "" {
				last = r.where
			}
		}
		fmt.Fprintf(t.env.Stdout, "%-7s %-14s %6.3f  %-37s %s\n", x.name, r.outcome, r.seconds.Seconds(), escape.String(x.to), escape.String(last))
		t.env.Stdout.Flush() // who waits sees it
	}
	if !r.ok {
		t.warn("%s: %s: %s", x.name, t.headline(&r), r.why)
	}
}

func (t *trip) waited() string { return cli.Count(int64(t.wait/time.Second), "second") }

// headline is what a message calls the end of a TEST that did not end well.
func (t *trip) headline(r *tripResult) string {
	switch r.outcome {
	case "not found":
		return r.outcome + " within " + t.waited()
	case "queued", "lost":
		return r.outcome + " after " + t.waited()
	}
	return r.outcome
}

// jsonTrip is what --json says of a TEST.
type jsonTrip struct {
	Test      string  `json:"test"`
	OK        bool    `json:"ok"`
	Outcome   string  `json:"outcome"`
	Seconds   float64 `json:"seconds"`
	Sender    string  `json:"sender"`
	Recipient string  `json:"recipient"`
	MessageID string  `json:"message_id"`
	Where     *string `json:"where"`
	Report    *string `json:"report"` // its form: QSBMF, RFC 3464 or other
	Address   *string `json:"address"`
	Status    *string `json:"status"`
	Reason    *string `json:"reason"`
	Reply     *string `json:"reply"` // of the SMTP server that took it
	Why       *string `json:"why"`
}

func (t *trip) printJSON(x *tripTest) {
	j := jsonTrip{Test: x.name, OK: x.ok, Outcome: x.outcome, Seconds: seconds(x.seconds),
		Sender: escape.Text(x.from), Recipient: escape.Text(x.to), MessageID: escape.Text(x.id), Where: orNil(escape.Text(x.where))}
	if p := x.recipient; p != nil {
		j.Address, j.Status, j.Reason = orNil(escape.Text(cutText(p.Address))), orNil(p.Status), orNil(escape.Text(cutText(p.Reason)))
	}
	if x.outcome == outcomeOf(report.Bounce) || x.outcome == outcomeOf(report.DoubleBounce) {
		j.Report = orNil([]string{report.Other: "other", report.QSBMF: "QSBMF", report.DSN: "RFC 3464"}[x.form])
	}
	j.Reply = orNil(escape.Text(x.reply))
	if !x.ok {
		j.Why = orNil(escape.Text(x.why))
	}
	if err := printJSON(t.env, j); err != nil && err != cli.ErrOutput { // which is told at the end
		t.env.Warn("%v", err)
	}
	t.env.Stdout.Flush()
}

// nagios prints one line, on the slowest TEST, and on the first that did not end well.
func (t *trip) nagios() error {
	var slowest time.Duration
	var ends []string
	failed := ""
	for _, x := range t.tests {
		slowest = max(slowest, x.seconds)
		ends = append(ends, fmt.Sprintf("%s %s %.3f s", x.name, x.outcome, x.seconds.Seconds()))
		if !x.ok && failed == "" {
			failed = fmt.Sprintf("%s: %s: %s", x.name, t.headline(&x.tripResult), x.why)
		}
	}
	status, text := t.o.thresholds.status(slowest), strings.Join(ends, ", ")
	for _, b := range t.boxes {
		if b.failed && failed == "" {
			failed = b.path + ": not all was done"
		}
	}
	if failed != "" {
		status, text = nagiosCritical, failed
	}
	return nagiosLine(t.env, tripService, status, text, slowest, t.o.thresholds, t.wait)
}
