package applets

import (
	"fmt"
	"time"

	"kowaza/internal/charset"
	"kowaza/internal/message"
)

// A testMail is what jmailsend sends, in any number of copies.
type testMail struct {
	charset  *charset.Charset
	from, to string // addresses
	host     string // that sends it
	count    int    // how many copies there are
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
	}
	return d.Compose(now)
}
