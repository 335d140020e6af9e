// Kowaza is one binary that answers to the names of a qmail administrator's
// small scripts. See the package applets for what each of them does.
package main

import (
	"os"

	"kowaza/applets"
)

func main() { os.Exit(applets.Main(applets.System(), os.Args)) }
