package queue

import "testing"

// asNobody would run f in a thread with another identity: FreeBSD has none.
func asNobody(t *testing.T, _ func()) {
	t.Helper()
	t.Skip("needs setfsuid(2)")
}
