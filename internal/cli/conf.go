package cli

import (
	"errors"
	"io/fs"
	"kowaza/internal/settings"
	"os"
)

// Settings reads kowaza.conf, for an applet that uses a key of it. The errors are
// those of settings.Read; no file at all is none, and means the defaults.
func (env *Env) Settings() (*settings.Settings, error) {
	if file := env.Getenv("KOWAZA_CONF"); file != "" {
		return settings.Read(file, os.Geteuid() == 0)
	}
	s, err := settings.Read(env.Root+settings.File, os.Geteuid() == 0)
	if errors.Is(err, fs.ErrNotExist) {
		return settings.Default(), nil
	}
	return s, err
}
