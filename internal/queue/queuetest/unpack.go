package queuetest

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Unpack unpacks a queue into dir as "tar --numeric-owner -xzpf" does: modes
// and times are kept, owners only where the caller is root. Numbers are no
// inodes any more then.
func Unpack(tgz, dir string) error {
	f, err := os.Open(tgz)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", tgz, err)
	}
	var dirs []*tar.Header // their modes and times, when nothing more comes into them
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", tgz, err)
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%s: %q leads out of the archive", tgz, h.Name)
		}
		if err := unpackOne(dir, h, r); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			dirs = append(dirs, h)
			continue
		}
		if err := restore(dir, h); err != nil {
			return err
		}
	}
	for _, h := range slices.Backward(dirs) {
		if err := restore(dir, h); err != nil {
			return err
		}
	}
	return nil
}

// unpackOne makes what a header of the archive describes.
func unpackOne(dir string, h *tar.Header, r io.Reader) error {
	path := filepath.Join(dir, h.Name)
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(path, 0o700)
	case tar.TypeFifo:
		return unix.Mkfifo(path, 0o600)
	case tar.TypeLink:
		if !filepath.IsLocal(h.Linkname) {
			return fmt.Errorf("%q leads out of the archive", h.Linkname)
		}
		return os.Link(filepath.Join(dir, h.Linkname), path)
	case tar.TypeReg:
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	}
	return fmt.Errorf("%s: a queue has no file of type %q", h.Name, h.Typeflag)
}

// restore gives a file its owner, mode and times.
func restore(dir string, h *tar.Header) error {
	path := filepath.Join(dir, h.Name)
	if os.Geteuid() == 0 {
		if err := os.Lchown(path, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if err := os.Chmod(path, h.FileInfo().Mode()); err != nil {
		return err
	}
	atime := h.AccessTime // only in the PAX format
	if atime.IsZero() {
		atime = h.ModTime
	}
	return os.Chtimes(path, atime, h.ModTime)
}
