package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"kowaza/internal/charset"
	"kowaza/internal/cli"
	"kowaza/internal/message"
	"kowaza/internal/settings"
	"kowaza/internal/users"
)

// A testMail is what jmailsend sends, in any number of copies.
type testMail struct {
	charset  *charset.Charset
	from, to string // addresses
	host     string // that sends it
	count    int    // how many copies there are
	id       string // Message-ID; empty: each copy has its own
}

// The text, the same in all charsets. It asks the reader to look at one line of
// each kind of character. 要注意文字 are those that have a backslash as second
// byte in Shift_JIS and suffer in programs that know nothing of that. A line has
// at most 70 columns, a full-width character being two.
const (
	senderName = "メール送信テスト"

	subject = "[%d/%d] 日本語メールの送信テスト（%s）"

	body = `お世話になっております。

日本語のメールが正しく届くことを確認するためのテストメールです。
ご確認後は削除していただいて構いません。返信は不要です。

文字コード：%[1]s
通し番号　：%[2]d/%[3]d（全%[3]d通中の%[2]d通目）
送信ホスト：%[4]s
送信日時　：%[5]s

以下の各行が文字化けせずに表示されていれば正常です。

ひらがな　：あいうえお　がぎぐげご　ぱぴぷぺぽ　ゃゅょっ　ゐゑ
カタカナ　：アイウエオ　ガギグゲゴ　パピプペポ　ャュョッ　ヴー
漢字　　　：春夏秋冬　花鳥風月　東西南北　山川草木
要注意文字：ソ　十　予　表　能　申　貼　暴
全角英数字：ＡＢＣＸＹＺ　ａｂｃｘｙｚ　０１２３４５６７８９
全角記号　：、。・：；？！（）「」『』【】〒※○●△▲□■☆★→←↑↓
半角英数字：ABCXYZ abcxyz 0123456789

以上、よろしくお願いいたします。
`
)

// compose writes copy n of the mail, sent at now. The errors are those of
// message.Draft.Compose.
func (m *testMail) compose(n int, now time.Time) ([]byte, error) {
	name := m.charset.Name
	d := message.Draft{
		Charset: m.charset,
		Name:    senderName,
		From:    m.from,
		To:      m.to,
		Subject: fmt.Sprintf(subject, n, m.count, name),
		Body:    fmt.Sprintf(body, name, n, m.count, m.host, now.Format("2006-01-02 15:04:05 -0700")),
		Host:    m.host,
		ID:      m.id,
	}
	return d.Compose(now)
}

// takeAddresses takes those of the options --to and --from that were given. The error is a
// usage error.
func (m *testMail) takeAddresses(set *cli.Set, to, from string) error {
	for _, a := range []struct {
		name, value string
		field       *string
	}{{"to", to, &m.to}, {"from", from, &m.from}} {
		if !set.IsSet(a.name) {
			continue
		}
		if err := message.CheckAddress(a.value); err != nil {
			return cli.Usagef("--%s: %s: %s", a.name, a.value, err)
		}
		*a.field = a.value
	}
	return nil
}

// completeMail fills in what no option said from the settings.
func completeMail(env *cli.Env, mail *testMail, s *settings.Settings) error {
	var err error
	if mail.charset == nil {
		if mail.charset, err = charset.Find(s.JMailCharset); err != nil {
			return fmt.Errorf("JMAIL_CHARSET: %s: %w", s.JMailCharset, err)
		}
	}
	if mail.count == 0 {
		mail.count = s.JMailCount
	}
	if mail.to == "" {
		if err := message.CheckAddress(s.JMailTo); err != nil {
			return fmt.Errorf("JMAIL_TO: %s: %w", s.JMailTo, err)
		}
		mail.to = s.JMailTo
	}
	if mail.host, err = mailHost(env, s); err != nil {
		return err
	}
	if mail.from == "" {
		mail.from, err = defaultSender(env, s, mail.host)
	}
	return err
}

// defaultSender returns the address of the sender where no option names one.
func defaultSender(env *cli.Env, s *settings.Settings, host string) (string, error) {
	if s.JMailFrom == "" {
		return ownAddress(env, host)
	}
	if err := message.CheckAddress(s.JMailFrom); err != nil {
		return "", fmt.Errorf("JMAIL_FROM: %s: %w", s.JMailFrom, err)
	}
	return s.JMailFrom, nil
}

// mailHost returns the name under which this host sends mail: qmail's own, else
// the system's.
func mailHost(env *cli.Env, s *settings.Settings) (string, error) {
	where := qmailDir(env, s) + "/control/me"
	text, err := os.ReadFile(where)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	host := strings.TrimRight(line, " \t\r") // as qmail's control_readline
	if host == "" {
		where = "host name"
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("%s: %w", where, err)
		}
	}
	if err := message.CheckDomain(host); err != nil {
		return "", fmt.Errorf("%s: %s: %w", where, host, err)
	}
	return host, nil
}

// ownAddress returns the address of who runs this. It asks the password
// database: the environment of a cron job or of su says who it likes.
func ownAddress(env *cli.Env, host string) (string, error) {
	uid := os.Getuid()
	login, err := users.Passwd{Root: env.Root}.ByUID(uint32(uid))
	if err != nil {
		return "", fmt.Errorf("JMAIL_FROM is not set, uid %d: %w", uid, err)
	}
	address := login.Name + "@" + host
	if err := message.CheckAddress(address); err != nil {
		return "", fmt.Errorf("JMAIL_FROM is not set, %s: %w", address, err)
	}
	return address, nil
}
