package cli

import "runtime/debug"

// version is set by the linker: -X kowaza/internal/cli.version=1.2.3
var version string

// Version is the version of the binary: the linker's word, else what the go
// command recorded, else "unknown".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "unknown"
}
