// Command generate writes dashboard.json and alerts.yaml, from the list of metrics, into the
// folder in which it is run. go generate runs it in that of package promstream.
package main

import (
	"log"
	"os"

	"millrace/middleware/promstream"
)

func main() {
	dashboard, err := promstream.Dashboard()
	if err != nil {
		log.Fatal("generate: ", err)
	}
	for name, text := range map[string][]byte{"dashboard.json": dashboard, "alerts.yaml": promstream.Alerts()} {
		if err := os.WriteFile(name, text, 0o644); err != nil { //nolint:gosec // it is read by everybody
			log.Fatal("generate: ", err)
		}
	}
}
