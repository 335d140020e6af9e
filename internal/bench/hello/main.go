// Hello only writes a line: what a Go program costs that does nothing.
package main

import "os"

func main() { os.Stdout.WriteString("hello\n") }
