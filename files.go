package main

import "embed"

// files is what kowaza --install puts in place beside the binary.
//
//go:embed symlinks.txt kowaza.conf man/*.[1-8] man/ja/*.[1-8] systemd/*.service systemd/*.timer examples/cron.daily/rmmail_virtual
var files embed.FS
