package install

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// unused calls make with names in dir that nothing has, until one is taken. They
// begin with a dot: run-parts of cron passes over it.
func unused(dir string, make func(name string) error) (string, error) {
	for range 100 {
		name := filepath.Join(dir, fmt.Sprintf(".kowaza.%08x", rand.Uint32()))
		if err := make(name); !os.IsExist(err) {
			return name, err
		}
	}
	return "", &fs.PathError{Op: "create", Path: dir, Err: syscall.EEXIST}
}

// replaceFile gives file that text, under a temporary name first, so that it is
// there all the time. like, if it is not nil, is whose owner, group and mode it
// gets.
func replaceFile(file string, text io.Reader, mode fs.FileMode, like fs.FileInfo) error {
	var f *os.File
	temp, err := unused(filepath.Dir(file), func(name string) (err error) {
		f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return at(filepath.Dir(file), err)
	}
	_, err = io.Copy(f, text)
	if err == nil && like != nil {
		st := like.Sys().(*syscall.Stat_t)
		mode = like.Mode().Perm()
		if int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid() {
			err = f.Chown(int(st.Uid), int(st.Gid))
		}
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync() // the name must not be there before the text is
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp, file)
	}
	if err != nil {
		os.Remove(temp)
		return at(file, err)
	}
	return nil
}

// at is an error about a file, whatever name it came with.
func at(file string, err error) error {
	for {
		switch e := err.(type) {
		case *fs.PathError:
			err = e.Err
		case *os.LinkError:
			err = e.Err
		case *os.SyscallError:
			err = e.Err
		default:
			return &fs.PathError{Op: "install", Path: file, Err: err}
		}
	}
}

// second gives a file another name, or a copy where that cannot be, on another
// file system: with owner, mode and times. Never over a file, never of what a link
// leads to.
func second(name, file string) error {
	err := unix.Linkat(unix.AT_FDCWD, file, unix.AT_FDCWD, name, 0)
	if err == nil || err == unix.EEXIST {
		return wrap(name, err)
	}
	info, err := os.Lstat(file)
	if err != nil {
		return at(name, err)
	}
	st := info.Sys().(*syscall.Stat_t)
	temp, err := unused(filepath.Dir(name), func(temp string) error {
		if info.Mode()&fs.ModeSymlink != 0 {
			text, err := os.Readlink(file)
			if err != nil {
				return err
			}
			return os.Symlink(text, temp)
		}
		return copyFile(temp, file, info)
	})
	if err == nil && (os.Geteuid() == 0 || int(st.Uid) != os.Geteuid()) {
		err = os.Lchown(temp, int(st.Uid), int(st.Gid))
	}
	if err == nil && info.Mode().IsRegular() { // chown takes setuid away
		err = unix.Chmod(temp, uint32(st.Mode&0o7777))
	}
	if err == nil {
		times := []unix.Timespec{{Sec: st.Atim.Sec, Nsec: st.Atim.Nsec}, {Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec}}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, temp, times, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		// A link, then gone: rename would put it over a file.
		err = unix.Linkat(unix.AT_FDCWD, temp, unix.AT_FDCWD, name, 0)
	}
	os.Remove(temp)
	return wrap(name, err)
}

func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return at(name, err)
}

// copyFile makes a new file with the text of another, for nobody but its owner.
func copyFile(to, from string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return syscall.EINVAL
	}
	in, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(to)
	}
	return err
}

// placeLink makes a link under a temporary name. It is renamed later, or removed.
func placeLink(file, text string) (temp string, err error) {
	temp, err = unused(filepath.Dir(file), func(name string) error { return os.Symlink(text, name) })
	return temp, wrap(filepath.Dir(file), err)
}

// freeName returns the name that a script is kept under: original, or with the
// number after the highest that is in use. A longer number is somebody's date.
func freeName(original string) (string, error) {
	top := -1
	if there(original) {
		top = 0
	}
	names, err := os.ReadDir(filepath.Dir(original))
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	for _, f := range names {
		text, ok := strings.CutPrefix(f.Name(), filepath.Base(original)+".")
		if !ok || len(text) > 5 || text == "" || text[0] == '0' {
			continue
		}
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			top = max(top, int(n))
		}
	}
	if top < 0 {
		return original, nil
	}
	return original + "." + strconv.Itoa(top+1), nil
}

// there reports whether something has that name, be it a link that leads nowhere.
func there(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// follow returns where a path leads in the end, like readlink -f: its last part
// need not be there. It is empty where it leads nowhere.
func follow(name string) string {
	for range 40 {
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err != nil {
			return ""
		}
		name = filepath.Join(dir, filepath.Base(name))
		text, err := os.Readlink(name)
		if err != nil {
			return name
		}
		if !filepath.IsAbs(text) {
			text = filepath.Join(dir, text)
		}
		name = text
	}
	return ""
}
