// Bench measures kowaza beside the programs that do the same job, in turn, on
// fresh data for every run that deletes, and prints medians and ratios. It
// asserts nothing: a time on a shared machine proves nothing.
//
//	bench [-runs N] [-only JOB] KOWAZA DIR   measure, with data below DIR
//	bench tree [options] DIR                 make Maildirs below DIR
//	bench queue [-messages N] DIR            make qmail's queue in DIR/qmail/queue
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "tree" {
		fs := flag.NewFlagSet("tree", flag.ExitOnError)
		var t tree
		t.flags(fs)
		fs.Parse(os.Args[2:])
		if fs.NArg() != 1 {
			fs.Usage()
			os.Exit(2)
		}
		exitOn(t.make(fs.Arg(0)))
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "queue" {
		fs := flag.NewFlagSet("queue", flag.ExitOnError)
		messages := fs.Int("messages", 100, "messages in the queue")
		fs.Parse(os.Args[2:])
		if fs.NArg() != 1 {
			fs.Usage()
			os.Exit(2)
		}
		exitOn(makeQueue(fs.Arg(0), *messages))
		return
	}
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	runs := fs.Int("runs", 5, "runs of each program")
	only := fs.String("only", "", "only the jobs whose name begins so")
	fs.Parse(os.Args[1:])
	if fs.NArg() != 2 {
		fs.Usage()
		os.Exit(2)
	}
	exitOn(measure(fs.Arg(0), fs.Arg(1), *runs, *only))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
