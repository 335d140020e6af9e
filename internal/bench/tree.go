package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A tree describes Maildirs to be made.
type tree struct {
	users    int
	messages int // in each Maildir
	size     int // bytes of a message
	old      int // per cent of the messages that are oldDays old, spread evenly
	oldDays  int
	folders  string // names of folders that share the messages with the inbox
	plain    bool   // names do not tell the size, as qmail-local's
	hollow   bool   // the messages' blocks are reserved and never written, see store
}

func (t *tree) flags(fs *flag.FlagSet) {
	fs.IntVar(&t.users, "users", 1, "Maildirs")
	fs.IntVar(&t.messages, "messages", 1000, "messages in each")
	fs.IntVar(&t.size, "size", 2048, "bytes of a message")
	fs.IntVar(&t.old, "old", 45, "per cent that are old")
	fs.IntVar(&t.oldDays, "days", 100, "how old these are, in days")
	fs.BoolVar(&t.hollow, "hollow", false, "reserve the messages' blocks and write nothing there")
	fs.StringVar(&t.folders, "folders", "", "folders, separated by commas")
}

// make makes root/uN/Maildir for N from 0. The messages of all Maildirs are
// made in turn, as they would have arrived, so that their inodes are mixed.
func (t tree) make(root string) error {
	boxes := []string{""}
	if t.folders != "" {
		boxes = append(boxes, strings.Split(t.folders, ",")...)
	}
	for u := range t.users {
		for _, box := range boxes {
			for _, sub := range []string{"cur", "new", "tmp"} {
				if err := os.MkdirAll(filepath.Join(t.maildir(root, u), box, sub), 0o700); err != nil {
					return err
				}
			}
		}
		err := filepath.WalkDir(filepath.Dir(t.maildir(root, u)), func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, own(path))
		})
		if err != nil {
			return err
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	body := []byte(message(t.size))
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	for part := range 2 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(part)))
			for m := part; m < t.messages; m += 2 {
				for u := range t.users {
					if err := t.deliver(filepath.Join(t.maildir(root, u), boxes[r.IntN(len(boxes))]), u, m, body); err != nil {
						errs <- err
						return
					}
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// nobody owns the Maildirs that root makes: what root cleans is never root's.
const nobody = 65534

func own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, nobody, nobody)
}

func (t tree) maildir(root string, user int) string {
	return filepath.Join(root, fmt.Sprintf("u%d", user), "Maildir")
}

func (t tree) deliver(box string, user, n int, body []byte) error {
	age := time.Hour
	if n*t.old/100 != (n+1)*t.old/100 {
		age = time.Duration(t.oldDays) * 24 * time.Hour
	}
	at := time.Now().Add(-age)
	name := fmt.Sprintf("%d.M%06dP%dV0I%d.mail,S=%d", at.Unix(), n, user, n, len(body))
	if t.plain {
		name = fmt.Sprintf("%d.%d.mail", at.Unix(), n)
	}
	sub := "cur"
	if n%10 == 0 {
		sub = "new"
	} else {
		name += ":2,S"
	}
	file := filepath.Join(box, sub, name)
	if err := t.write(file, body); err != nil {
		return err
	}
	return errors.Join(own(file), os.Chtimes(file, at, at))
}

func (t tree) write(file string, body []byte) error {
	if !t.hollow {
		return os.WriteFile(file, body, 0o600)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, int64(len(body)))
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = f.Write(body)
	}
	return errors.Join(err, f.Close())
}

// message returns a mail of size bytes.
func message(size int) string {
	head := "From: hanako@example.jp\nTo: taro@example.jp\nSubject: test\n\n"
	line := strings.Repeat("x", 59) + "\n"
	s := head + strings.Repeat(line, size/len(line)+1)
	return s[:max(size, len(head))]
}
