// Package real holds tests of kowaza beside the real servers of a mail host.
// They need root and the server in question, and are skipped without it:
//
//	go test ./internal/real
package real
