package jmail

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"
)

// A Mail is test mail, of which any number of copies can be made.
type Mail struct {
	Charset  *Charset
	From, To string // addresses
	Host     string // that sends it
	Count    int    // how many copies there are
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

// Copy writes copy n of the mail, sent at now. Lines end in LF, as sendmail(8)
// wants them.
func (m *Mail) Copy(n int, now time.Time) ([]byte, error) {
	if err := CheckAddress(m.From); err != nil {
		return nil, fmt.Errorf("%s: %w", m.From, err)
	}
	if err := CheckAddress(m.To); err != nil {
		return nil, fmt.Errorf("%s: %w", m.To, err)
	}
	if err := CheckDomain(m.Host); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Host, err)
	}
	return m.compose(n, now, senderName, subject, body)
}

// compose writes the copy with that sender's name, subject and body, of which
// the latter two are formats.
func (m *Mail) compose(n int, now time.Time, senderName, subject, body string) ([]byte, error) {
	const from, field = "From: ", "Subject: "
	name, err1 := EncodedWords(m.Charset, senderName, len(from))
	words, err2 := EncodedWords(m.Charset, fmt.Sprintf(subject, n, m.Count, m.Charset.Name), len(field))
	text, err3 := m.Charset.Encode(fmt.Sprintf(body, m.Charset.Name, n, m.Count, m.Host,
		now.Format("2006-01-02 15:04:05 -0700")))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	b := bytes.NewBuffer(make([]byte, 0, 4096))
	b.WriteString(from + name)
	address := " <" + headerAddress(m.From) + ">"
	if last := b.Len() - 1 - bytes.LastIndexByte(b.Bytes(), '\n'); last+len(address) > maxLine {
		b.WriteByte('\n')
	}
	b.WriteString(address)
	fmt.Fprintf(b, "\nTo: %s\n", headerAddress(m.To))
	b.WriteString(field + words)
	fmt.Fprintf(b, "\nDate: %s\n", now.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	fmt.Fprintf(b, "Message-ID: %s\n", messageID(m.Host, now))
	b.WriteString("MIME-Version: 1.0\n")
	fmt.Fprintf(b, "Content-Type: text/plain; charset=%s\n", m.Charset.Name)
	fmt.Fprintf(b, "Content-Transfer-Encoding: %s\n\n", m.Charset.Transfer)
	b.Write(text)
	return b.Bytes(), nil
}

// made counts the Message-IDs of this process.
var made atomic.Uint64

// messageID returns one that no other message has: the second, the process and
// its counter tell apart what one system makes, 40 random bits what two systems
// of one name make, as containers that all are process 7.
func messageID(host string, now time.Time) string {
	return fmt.Sprintf("<%s.%d.%d.%010x@%s>", now.UTC().Format("20060102150405"),
		os.Getpid(), made.Add(1), rand.Uint64()>>24, host)
}
