package applets

import (
	"kowaza/internal/cli"
	"kowaza/internal/escape"
)

// printJSON prints an object on a line of its own. The error is that of escape.JSON or of
// standard output.
func printJSON(env *cli.Env, v any) error {
	line, err := escape.JSON(v)
	if err == nil {
		_, err = env.Stdout.Write(append(line, '\n'))
	}
	return err
}

// orNil returns a value of an object; null where it is none, 0 or empty.
func orNil[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}
