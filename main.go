// Kowaza is one binary that answers to the names of a qmail administrator's
// small scripts. See the package applets for what each of them does.
package main

import (
	"os"

	"kowaza/applets"
	"kowaza/internal/cli"
)

func main() {
	env := cli.System()
	env.Files = files
	os.Exit(applets.Main(env, os.Args))
}
