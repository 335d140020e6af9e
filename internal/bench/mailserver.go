package main

import (
	"fmt"
	"io"
	"net"
	"os"

	"kowaza/internal/dialogue/dialoguetest"
)

// serveMail serves SMTP and POP3 on the loopback address until in ends, and writes to the
// file on which ports: as values of two shell variables.
func serveMail(file string, in io.Reader) error {
	s := &dialoguetest.Server{User: "hanako", Password: "passwd", Domain: "example.jp", Timestamp: "<1234.1096123456@mail.example.jp>"}
	s.Put("From: taro@example.org\nSubject: hello\n\nHow are you?\n")
	ports := ""
	for _, server := range []struct {
		scheme string
		serve  func(net.Conn)
	}{{"smtp", s.SMTP}, {"pop3", s.POP3}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		go dialoguetest.Serve(l, server.serve)
		ports += fmt.Sprintf("%s=%s://%s\n", server.scheme, server.scheme, l.Addr())
	}
	// Whole at once: somebody waits for it.
	if err := os.WriteFile(file+".new", []byte(ports), 0o644); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}
