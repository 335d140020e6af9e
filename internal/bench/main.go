// Bench measures kowaza beside the programs that do the same job, in turn, on
// fresh data for every run that deletes, and prints medians and ratios. It
// asserts nothing of times: on a shared machine they prove nothing. That all
// programs removed as much is asserted.
//
//	bench [options] KOWAZA DIR      measure, with data below DIR, which is made and removed
//	bench tree [options] DIR        make Maildirs below DIR
//	bench queue [-messages N] DIR   make qmail's queue in DIR/qmail/queue
//	bench report [-readmes DIR] DIR make figures.md, the charts and the READMEs' table of DIR/figures.json
//	bench mailserver FILE           be a small mail server until standard input ends
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
	if len(os.Args) > 1 && os.Args[1] == "report" {
		fs := flag.NewFlagSet("report", flag.ExitOnError)
		readmes := fs.String("readmes", "", "directory whose READMEs get their table, too")
		fs.Parse(os.Args[2:])
		if fs.NArg() != 1 {
			fs.Usage()
			os.Exit(2)
		}
		exitOn(publish(fs.Arg(0), *readmes))
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "mailserver" {
		exitOn(serveMail(os.Args[2], os.Stdin))
		return
	}
	var o options
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	fs.IntVar(&o.runs, "runs", 5, "runs of each program")
	fs.StringVar(&o.only, "only", "", "only the jobs whose name begins so")
	fs.BoolVar(&o.quick, "quick", false, "small data and one run, to see that everything works")
	fs.BoolVar(&o.files, "files", false, "fresh data are plain files below DIR, not copies of a file system (needs root)")
	fs.StringVar(&o.out, "out", "docs/bench", "directory for figures.json, figures.md and the charts; empty: none, as with -only and -quick unless given")
	fs.Parse(os.Args[1:])
	if fs.NArg() != 2 {
		fs.Usage()
		os.Exit(2)
	}
	given := false
	fs.Visit(func(f *flag.Flag) { given = given || f.Name == "out" })
	switch {
	case given:
	case o.quick || o.only != "":
		o.out = ""
	default:
		o.readmes = "." // the READMEs tell of a whole run, in its place
	}
	if o.quick {
		o.runs = 1
	}
	exitOn(supervised(fs.Arg(1), func() error { return measure(fs.Arg(0), fs.Arg(1), o) }))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
