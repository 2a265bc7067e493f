package history_test

import (
	"fmt"

	"millrace/stream/streamtest/history"
)

func ExampleRules_Check() {
	events := []history.Event{
		{Kind: history.Delivered, By: "me", ID: "1-0"},
		{Kind: history.Handled, By: "me", ID: "1-0", Passed: true},
		{Kind: history.Delivered, By: "me", ID: "2-0"},
		{Kind: history.Handled, By: "me", ID: "2-0", Text: "no stock"},
		{Kind: history.Saving, By: "me", ID: "2-0", Label: "billing"},
	}
	findings, err := history.Rules{Order: history.InOrder}.Check(events, []string{"1-0", "2-0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(findings)
	// Output:
	// 1 skipped, 1 lost
	// skipped: 2-0, the offset 2-0 was saved, and it was never handled to its end
	// lost: 2-0, delivered, never handled to its end
}
