package cli

import (
	"errors"
	"io/fs"
	"kowaza/internal/settings"
	"os"
)

// SettingsFile returns the name of kowaza.conf, and whether the environment names it:
// such a file must exist.
func (env *Env) SettingsFile() (file string, named bool) {
	if file := env.Getenv("KOWAZA_CONF"); file != "" {
		return file, true
	}
	return env.Root + settings.File, false
}

// Settings reads kowaza.conf, for an applet that uses a key of it. The errors are
// those of settings.Read; no file at all is none, and means the defaults.
func (env *Env) Settings() (*settings.Settings, error) {
	file, named := env.SettingsFile()
	s, err := settings.Read(file, os.Geteuid() == 0)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return settings.Default(), nil
	}
	return s, err
}
