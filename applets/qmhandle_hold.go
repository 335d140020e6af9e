package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
	"kowaza/internal/queue"
)

// addRelease adds the step that --release asks for.
func (h *qmHandleRun) addRelease(dir string) error {
	if dir == "" {
		return cli.Usagef("--release: empty name of a directory")
	}
	h.steps = append(h.steps, step{run: func() error { return h.release(dir) }, changes: true})
	return nil
}

// release gives all messages that are held in dir to qmail-queue. Each is removed there
// when it has been taken: a crash in between sends it twice.
func (h *qmHandleRun) release(dir string) error {
	holding, err := queue.OpenHolding(dir)
	if err != nil {
		return err
	}
	defer holding.Close()
	names, err := holding.Names()
	if err != nil {
		return err
	}
	program := qmailDir(h.env, h.settings) + "/bin/qmail-queue"
	released := 0
	for _, name := range names {
		if h.isStopped() {
			break
		}
		if err := h.releaseOne(holding, name, program); err != nil {
			h.failed.Store(true)
			what, why := dir+"/"+name, errors.New(cli.Describe(err))
			if pe, ok := err.(*fs.PathError); ok {
				what, why = pe.Path, pe.Err
			}
			h.env.WarnLike(queuePlace, what, why)
			continue
		}
		released++
		if !h.opt.dryRun {
			h.say("Message %s released\n", escape.String(name))
		}
	}
	if h.opt.dryRun {
		h.say("%d messages would be released\n", released)
	} else {
		h.say("Released %d messages\n", released)
	}
	return nil
}

// releaseOne gives one message to qmail-queue.
func (h *qmHandleRun) releaseOne(holding *queue.Holding, name, program string) error {
	held, text, err := holding.Open(name)
	if err != nil {
		return err
	}
	defer text.Close()
	if h.opt.dryRun {
		return nil
	}
	if err := inject(program, text, held.Envelope()); err != nil {
		return err
	}
	if err := holding.Drop(name); err != nil {
		return fmt.Errorf("given to qmail, but not removed here: %w", err)
	}
	return nil
}

// inject runs qmail-queue, which reads the text from descriptor 0 and the envelope from
// 1 (qmail-queue(8)), and takes the message when it ends with status 0. It is in a
// process group of its own: what ends this process in between leaves the envelope
// without its end, and then the message is not taken.
func inject(program string, text *os.File, envelope []byte) error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(program)
	cmd.Stdin, cmd.Stdout = text, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	in.Close()
	if err != nil {
		out.Close()
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("%s: %w", program, err)
	}
	_, writeErr := out.Write(envelope)
	writeErr = errors.Join(writeErr, out.Close())
	if err = cmd.Wait(); err == nil { // qmail-queue(8) says what another status means
		err = writeErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}
