package queue

import (
	"time"

	"kowaza/internal/escape"
)

type jsonMessage struct {
	Number     uint64          `json:"number"`
	State      string          `json:"state"`
	Sender     string          `json:"sender"`
	Recipients []jsonRecipient `json:"recipients"`
	Birth      *string         `json:"birth"`
	Size       int64           `json:"size"`
	Subject    string          `json:"subject"`
	Bouncing   bool            `json:"bouncing"`
	Records    []jsonRecord    `json:"records,omitempty"`
}

type jsonRecord struct {
	Place  string `json:"place"`
	Record string `json:"record"`
}

type jsonRecipient struct {
	Address string `json:"address"`
	Channel string `json:"channel"`
	Done    bool   `json:"done"`
}

// JSON returns the message as one line, without its end. The birth of an orphan
// may be null. The subject is there if the header has been read.
func (m *Message) JSON() ([]byte, error) {
	out := jsonMessage{
		Number: m.Number, State: m.State().String(), Sender: escape.Text(m.Sender),
		Recipients: make([]jsonRecipient, 0, len(m.Recipients)),
		Size:       m.Size, Subject: escape.Text(m.Subject()), Bouncing: m.Bouncing,
	}
	for _, r := range m.Recipients {
		out.Recipients = append(out.Recipients, jsonRecipient{escape.Text(r.Address), r.Channel, r.Done})
	}
	for _, r := range m.Other {
		out.Records = append(out.Records, jsonRecord{r.Place.String(), escape.Text(r.Text)})
	}
	if !m.Birth.IsZero() {
		birth := m.Birth.UTC().Format(time.RFC3339)
		out.Birth = &birth
	}
	return escape.JSON(out)
}
