// Sends events with Segment's SDK for Go, of which only the host is changed,
// and prints what was put into it: one line of JSON for each event.
//
//	send http://HOST:PORT WRITE_KEY COUNT PREFIX
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/analytics-go/v3"
)

type object = map[string]interface{}

var when = time.Date(2026, 6, 1, 12, 0, 0, 123456789, time.UTC)

// What the SDK tells of each event. It repeats nothing any more once it is
// being closed, so all of them are waited for.
type answers struct {
	failed int64
	all    sync.WaitGroup
}

func (a *answers) Success(analytics.Message) { a.all.Done() }
func (a *answers) Failure(_ analytics.Message, err error) {
	atomic.AddInt64(&a.failed, 1)
	fmt.Fprintln(os.Stderr, err)
	a.all.Done()
}

func values(n int) object {
	return object{
		"n":      n,
		"text":   "Zoë \U0001F680 日本語 \"quoted\" \\ / <&> \t\u2028 \u0000 e\u0301",
		"number": []interface{}{0, int64(1)<<53 + 1, -1 << 63, 1e21, 5e-324, 0.1 + 0.2}[n%6],
		"yes":    true, "nothing": nil, "empty": object{}, "none": []int{},
		"list":   []interface{}{1, "two", []interface{}{3, object{"four": 4}}, nil},
		"nested": object{"a": object{"b": []interface{}{object{"c": n}}}},
		"a.b":    2, "$set": object{"x": 1}, "ключ🔑": "unicode key",
	}
}

func text(format string, n int) string { return fmt.Sprintf(format, n) }

// The event for the SDK, and as it is to arrive.
func event(n int, prefix string) (analytics.Message, object) {
	test := fmt.Sprintf("%s%d", prefix, n)
	context := &analytics.Context{Extra: object{"test": test}, Locale: "en-GB"}
	e := object{"context": object{"test": test, "locale": "en-GB"}}
	id, at := "", time.Time{}
	if n%4 != 0 {
		id = "chosen-" + test
		e["messageId"] = id
	}
	if n%5 != 0 {
		at = when
		e["timestamp"] = when
	}
	integrations := analytics.NewIntegrations().EnableAll().Disable("Amplitude")
	e["integrations"] = integrations
	if n%6 != 5 {
		e["userId"] = text("user-%d", n)
	}
	user := text("user-%d", n)
	switch n % 6 {
	case 0:
		e["type"], e["event"], e["properties"] = "track", "Zoë 🚀", values(n)
		return analytics.Track{MessageId: id, UserId: user, Event: "Zoë 🚀", Timestamp: at,
			Context: context, Properties: values(n), Integrations: integrations}, e
	case 1:
		e["type"], e["traits"] = "identify", values(n)
		return analytics.Identify{MessageId: id, UserId: user, Timestamp: at,
			Context: context, Traits: values(n), Integrations: integrations}, e
	case 2:
		e["type"], e["name"], e["properties"] = "page", "Home", values(n)
		return analytics.Page{MessageId: id, UserId: user, Name: "Home", Timestamp: at,
			Context: context, Properties: values(n), Integrations: integrations}, e
	case 3:
		e["type"], e["name"], e["properties"] = "screen", "Main", values(n)
		return analytics.Screen{MessageId: id, UserId: user, Name: "Main", Timestamp: at,
			Context: context, Properties: values(n), Integrations: integrations}, e
	case 4:
		e["type"], e["groupId"], e["traits"] = "group", text("group-%d", n), values(n)
		return analytics.Group{MessageId: id, UserId: user, GroupId: text("group-%d", n), Timestamp: at,
			Context: context, Traits: values(n), Integrations: integrations}, e
	}
	e["type"], e["previousId"], e["userId"] = "alias", text("old-%d", n), user
	return analytics.Alias{MessageId: id, UserId: user, PreviousId: text("old-%d", n), Timestamp: at,
		Context: context, Integrations: integrations}, e
}

func main() {
	host, key, prefix := os.Args[1], os.Args[2], os.Args[4]
	count, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	told := &answers{}
	client, err := analytics.NewWithConfig(key, analytics.Config{
		Endpoint: host, BatchSize: 20, Interval: 200 * time.Millisecond, Callback: told,
		Logger: analytics.StdLogger(log.New(os.Stderr, "", 0)),
	})
	if err != nil {
		log.Fatal(err)
	}
	out := json.NewEncoder(os.Stdout)
	for n := 0; n < count; n++ {
		message, e := event(n, prefix)
		if err := out.Encode(e); err != nil {
			log.Fatal(err)
		}
		told.all.Add(1)
		if err := client.Enqueue(message); err != nil {
			log.Fatal(err)
		}
	}
	told.all.Wait()
	if err := client.Close(); err != nil || told.failed > 0 {
		log.Fatal(err, told.failed)
	}
}
