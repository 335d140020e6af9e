package applets

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"kowaza/internal/charset"
	"kowaza/internal/maildir"
	"kowaza/internal/message"
)

// warnEvery is how long a warning lasts: Courier's own lasts a day, which users of a
// mailbox that stays full do not bear.
const warnEvery = 7 * 24 * time.Hour

// warnUser puts a warning into a Maildir that is nearly full, and forgets about it when
// there is less in it. The lock is held: of many deliveries one warns.
func (q *quotaCheck) warnUser(box *maildir.Box, dir string, a maildir.Answer, l letter) error {
	now := q.env.Now()
	u := a.Usage
	if a.Room == maildir.HasRoom {
		u = u.Plus(maildir.Usage{Bytes: l.whole, Messages: 1})
	}
	share, _ := q.check.Quota.Percent(u)
	reached := share >= q.warn || a.Room == maildir.NoRoom
	at, warned, err := box.Warned()
	switch {
	case err != nil:
		return err
	case !reached && warned:
		return box.Unwarned()
	case !reached, warned && now.Sub(at) < warnEvery && at.Sub(now) < warnEvery:
		return nil
	}
	host, err := mailHost(q.env, q.settings)
	if err != nil {
		return err
	}
	text, err := q.warning(host, u, share, now)
	if err != nil {
		return err
	}
	// First the note: a warning with each mail would be worse than none.
	if err := box.NoteWarned(now); err != nil {
		return err
	}
	size, err := box.Deliver(text, host, now)
	if err != nil {
		return errors.Join(err, box.Unwarned())
	}
	if err := box.AddMessage(size); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// maxWarning bounds QUOTA_MESSAGE, in bytes.
const maxWarning = 64 << 10

// tooLargeWarning is what is said of a larger one.
const tooLargeWarning = "too large for a warning"

// warning writes the message: that of QUOTA_MESSAGE, or ours.
func (q *quotaCheck) warning(host string, u maildir.Usage, share int64, now time.Time) ([]byte, error) {
	limit := q.check.Quota
	figures := strings.NewReplacer("{used}", megabytes(u.Bytes), "{quota}", megabytes(limit.Bytes), "{percent}", fmt.Sprint(share))
	file := q.settings.QuotaMessage
	if file == "" {
		to := q.env.Getenv("LOCAL") + "@" + q.env.Getenv("HOST") // as qmail-local tells them
		if message.CheckAddress(to) != nil {
			to = "postmaster@" + host
		}
		ja, en := "上限 {quota} MB、使用量 {used} MB", "{used} of {quota} MB"
		if limit.Bytes == 0 {
			ja = fmt.Sprintf("上限 %d 通、現在 %d 通", limit.Messages, u.Messages)
			en = fmt.Sprintf("%d of %d messages", u.Messages, limit.Messages)
		}
		jaTrash, enTrash := "ゴミ箱のメールも使用量に含まれます。", "; what is in the trash counts as well"
		if q.check.NoTrash {
			jaTrash, enTrash = "", ""
		}
		utf8, err := charset.Find("utf8")
		if err != nil {
			return nil, err
		}
		d := message.Draft{Charset: utf8, From: "MAILER-DAEMON@" + host, To: to, Host: host, Subject: warningSubject,
			Fields: []message.Field{{Name: "Auto-Submitted", Value: "auto-generated"}}, Body: figures.Replace(fmt.Sprintf(warningText, ja, jaTrash, en, enTrash))}
		return d.Compose(now)
	}
	text, err := readSmall(file, maxWarning, tooLargeWarning)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("Date: %s\nMessage-ID: %s\n", message.Date(now), message.NewID(host, now))
	return []byte(head + figures.Replace(string(text))), nil
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

const warningSubject = "メールボックスの空き容量が少なくなりました / Your mailbox is nearly full"

// warningText has in each language the figures, and what to know of the trash.
const warningText = `メールボックスの使用量が上限の {percent} %% に達しました
(%s)。
上限に達すると、新しいメールを受け取れなくなります。
不要なメールを削除してください。%s

Your mailbox holds %s, which is {percent} %%.
When it is full no more mail can come in. Please delete what you
do not need%s.
`
