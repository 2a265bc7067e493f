package streamtest_test

import (
	"fmt"

	"millrace/stream/streamtest"
)

func ExampleRules_Check() {
	history := streamtest.History{
		{Kind: streamtest.Delivered, By: "me", ID: "1-0"},
		{Kind: streamtest.Handled, By: "me", ID: "1-0", Passed: true},
		{Kind: streamtest.Delivered, By: "me", ID: "2-0"},
		{Kind: streamtest.Handled, By: "me", ID: "2-0", Text: "no stock"},
		{Kind: streamtest.Saving, By: "me", ID: "2-0", Label: "billing"},
	}
	findings, err := streamtest.Rules{Order: streamtest.InOrder}.Check(history, []string{"1-0", "2-0"})
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
