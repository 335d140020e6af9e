package main

import "embed"

// files is what kowaza --install puts in place beside the binary.
//
//go:embed symlinks.txt kowaza.conf man systemd examples/cron.daily
var files embed.FS
