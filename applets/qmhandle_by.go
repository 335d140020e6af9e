package applets

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
	"kowaza/internal/queue"
)

// byNames are what --by takes, and what heads the column of names.
var byNames = []string{"domain", "sender", "uid", "age"}

// shapeOptions are --by and --top.
type shapeOptions struct {
	by, top string
}

// byStep returns the step of --by.
func (h *qmHandleRun) byStep(by string) (step, error) {
	if !slices.Contains(byNames, by) {
		return step{}, cli.Usagef("--by: %s: not one of %s", by, strings.Join(byNames, ", "))
	}
	return step{run: func() error { return h.shape(by) }}, nil
}

// gcPercent is the garbage collector's setting while names are counted: they are
// most of what is in memory, and nothing of it ever becomes free.
const gcPercent = 20

// shape is --by: how many messages there are, by a name and by age. It takes no lock.
func (h *qmHandleRun) shape(by string) error {
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	var s queue.Shape
	var total queue.Count
	ages := new(ageShape)
	now := h.env.Now()
	err := h.each(func() error {
		h.needs(queue.Info, queue.Todo)
		if by == "domain" || by == "age" {
			h.needs(queue.Local, queue.Remote, queue.Suppl)
		}
		return queue.List(h.q, queue.Listing{
			Keep:     func(f queue.Found) bool { return f.State().Committed() },
			Injector: by == "uid",
			Failed:   h.unreadable,
		}, func(m *queue.Message) []string {
			if !h.narrowed(m) {
				return nil
			}
			return shapeNames(by, m)
		}, func(m *queue.Message, names []string) bool {
			h.problems(m)
			if names == nil || m.Birth.IsZero() {
				return !h.isStopped()
			}
			age := now.Sub(m.Birth)
			total.Add(age)
			ages.add(m, age)
			for _, name := range names {
				s.Add(name, age)
			}
			return !h.isStopped()
		})
	})
	if err != nil || h.isStopped() {
		return err
	}
	if by == "age" {
		return h.sayAges(ages)
	}
	return h.sayShape(by, &s, total)
}

// shapeNames returns the names for which a message is counted: not nil, but where
// nothing is known of it, empty.
func shapeNames(by string, m *queue.Message) []string {
	names := []string{}
	switch by {
	case "domain":
		for _, r := range m.Recipients {
			if r.Done {
				continue
			}
			_, domain := cutDomain(r.Address)
			if domain = strings.ToLower(strings.TrimPrefix(domain, "@")); !slices.Contains(names, domain) {
				names = append(names, domain)
			}
		}
	case "sender":
		if m.SenderKnown {
			names = append(names, m.Sender)
		}
	case "uid":
		names = append(names, m.Injector)
	}
	return names
}

// shapeName is how a name is shown where it is empty.
func shapeName(by, name string) string {
	switch {
	case name != "":
		return escape.String(name)
	case by == "sender":
		return "<>"
	}
	return "-"
}

// sayShape prints the rows.
func (h *qmHandleRun) sayShape(by string, s *queue.Shape, total queue.Count) error {
	if h.json {
		return h.sayShapeJSON(by, s, total)
	}
	h.say("%7s", "TOTAL")
	for _, edge := range shapeEdges() {
		h.say(" %6s", edge)
	}
	h.say("  %s\n", strings.ToUpper(by))
	row := func(name string, c queue.Count) bool {
		h.say("%7d", c.Total())
		for _, n := range c {
			h.say(" %6d", n)
		}
		_, err := fmt.Fprintf(h.env.Stdout, "  %s\n", name)
		return err == nil && !h.isStopped()
	}
	row("TOTAL", total)
	rows := 0
	s.Each(func(name string, c queue.Count) bool {
		rows++
		return row(shapeName(by, name), c) && rows != h.top
	})
	return nil
}

// shapeEdges are the heads of the columns: under so many minutes, and the rest.
func shapeEdges() (heads []string) {
	for _, age := range queue.Ages {
		heads = append(heads, strconv.Itoa(int(age/time.Minute)))
	}
	return append(heads, heads[len(heads)-1]+"+")
}

// sayShapeJSON prints the rows as objects, that of the total last.
func (h *qmHandleRun) sayShapeJSON(by string, s *queue.Shape, total queue.Count) error {
	row := func(name *string, c queue.Count) error {
		columns := make([]string, len(c))
		for i, edge := range shapeEdges() {
			columns[i] = fmt.Sprintf(`"%s":%d`, edge, c[i])
		}
		key := ""
		if name != nil {
			text, err := escape.JSON(escape.Text(*name))
			if err != nil {
				return err
			}
			key = fmt.Sprintf(`"%s":%s,`, by, text)
		}
		_, err := fmt.Fprintf(h.env.Stdout, "{%s\"total\":%d,\"minutes\":{%s}}\n", key, c.Total(), strings.Join(columns, ","))
		return err
	}
	var err error
	rows := 0
	s.Each(func(name string, c queue.Count) bool {
		rows++
		err = row(&name, c)
		return err == nil && rows != h.top && !h.isStopped()
	})
	if err != nil {
		return err
	}
	return row(nil, total)
}

// An ageShape is the rows of --by age.
type ageShape struct {
	rows [len(queue.Count{})]ageRow
}

type ageRow struct{ messages, recipients, bytes uint64 }

func (a *ageShape) add(m *queue.Message, age time.Duration) {
	var c queue.Count
	c.Add(age)
	row := &a.rows[slices.Index(c[:], 1)]
	row.messages++
	row.bytes += uint64(m.Size)
	for _, r := range m.Recipients {
		if !r.Done {
			row.recipients++
		}
	}
}

func (h *qmHandleRun) sayAges(a *ageShape) error {
	var total ageRow
	if !h.json {
		h.say("%8s %10s %14s  %s\n", "MESSAGES", "RECIPIENTS", "BYTES", "MINUTES")
	}
	row := func(name string, r ageRow) error {
		if !h.json {
			_, err := fmt.Fprintf(h.env.Stdout, "%8d %10d %14d  %s\n", r.messages, r.recipients, r.bytes, name)
			return err
		}
		key := ""
		if name != "TOTAL" {
			key = fmt.Sprintf(`"minutes":%q,`, name)
		}
		_, err := fmt.Fprintf(h.env.Stdout, "{%s\"messages\":%d,\"recipients\":%d,\"bytes\":%d}\n", key, r.messages, r.recipients, r.bytes)
		return err
	}
	for i, name := range shapeEdges() {
		r := a.rows[i]
		total.messages += r.messages
		total.recipients += r.recipients
		total.bytes += r.bytes
		if err := row(name, r); err != nil {
			return err
		}
	}
	return row("TOTAL", total)
}
