module kowaza

go 1.26.0

require (
	github.com/pborman/getopt/v2 v2.2.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require golang.org/x/text v0.43.0

require github.com/emersion/go-imap v1.2.1

require (
	github.com/rogpeppe/go-internal v1.16.0
	golang.org/x/tools v0.51.0 // indirect
)
