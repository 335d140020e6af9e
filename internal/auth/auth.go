// Package auth computes what a client answers to a mail server that wants to know who
// it is: APOP and the SASL mechanisms PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1 and
// SCRAM-SHA-256. Bytes are taken as they are but where a mechanism says otherwise. It
// knows no connection: SMTP and POP3 put the answers into lines.
//
// Each of its results lets the password be read or guessed at.
package auth

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"fmt"
)

// APOP returns the digest for the command APOP: MD5 of the timestamp of the server's
// greeting, with its angle brackets, and the password, in 32 lower-case hex digits (RFC
// 1939, section 7).
func APOP(timestamp, password string) string {
	sum := md5.Sum([]byte(timestamp + password))
	return hex.EncodeToString(sum[:])
}

// Plain returns the message of PLAIN (RFC 4616). An empty authzid acts for the user
// himself.
func Plain(authzid, user, password string) []byte {
	return []byte(authzid + "\x00" + user + "\x00" + password)
}

// CRAMMD5 returns the answer to a challenge of CRAM-MD5 (RFC 2195, section 2).
func CRAMMD5(challenge []byte, user, password string) []byte {
	mac := hmac.New(md5.New, []byte(password))
	mac.Write(challenge)
	return fmt.Appendf(nil, "%s %x", user, mac.Sum(nil))
}
