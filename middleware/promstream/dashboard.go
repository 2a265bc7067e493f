package promstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

//go:generate go run ./generate

// panel is a graph of the dashboard.
type panel struct {
	title, unit, description string
	queries                  []query
}

// query is one expression of a panel, and the name of its lines.
type query struct {
	expr, legend string
}

const (
	// selector takes what the variables of the dashboard choose.
	selector = `stream=~"$stream"`
	reader   = "{{stream}} {{group}}{{label}}"
	// interval is a variable of Grafana, at least four times that of the scrapes.
	interval = "[$__rate_interval]"
)

// perReader adds up what each reader has.
func perReader(how, expr string) string { return how + " by (" + byKey + ") (" + expr + ")" }

func rate(metric, more string) string {
	return "rate(" + metric + "{" + selector + more + "}" + interval + ")"
}

func gauge(metric string) string { return metric + "{" + selector + "}" }

func quantile(q, histogram string) string {
	return "histogram_quantile(" + q + ", sum by (le, " + byKey + ") (" + rate(histogram+"_bucket", "") + "))"
}

// panels returns the panels: first those that answer a question, then one for each other metric
// of the list, so that none is left out.
func panels() []panel {
	chosen := []panel{
		{"Outcomes", "cps", "Deliveries each second, by their outcome.", []query{
			{"sum by (" + labelOutcome + ") (" + rate(nameOutcomes, "") + ")", "{{" + labelOutcome + "}}"},
		}},
		{"Handled by reader", "cps", "Entries handled each second.", []query{
			{perReader("sum", rate(nameOutcomes, `, `+labelOutcome+`="handled"`)), reader},
		}},
		{"Trouble by reader", "cps", "Deliveries each second that did not handle their entry.", []query{
			{"sum by (" + labelOutcome + ", " + byKey + ") (" + rate(nameOutcomes, `, `+labelOutcome+`!="handled"`) + ")", reader + " {{" + labelOutcome + "}}"},
		}},
		{"Lag in time", "s", "Age of the oldest entry of the stream that is not done.", []query{
			{perReader("max", gauge(nameLagTime)), reader},
		}},
		{"Lag in entries", "short", "Entries that are not done. No line where Redis cannot tell.", []query{
			{perReader("max", gauge(nameLagEntries)), reader},
		}},
		{"Pending", "short", "Entries of the group that were delivered and not acked.", []query{
			{perReader("max", gauge(namePending)), reader},
		}},
		{"Duration of deliveries", "s", "With all middleware.", []query{
			{quantile("0.5", nameProcess), reader + " p50"},
			{quantile("0.99", nameProcess), reader + " p99"},
		}},
		{"Failures by type", "cps", "Deliveries each second that failed, by the type of the error.", []query{
			{"sum by (" + labelErrorType + ", " + byKey + ") (" + rate(nameProcess+"_count", `, `+labelErrorType+`!=""`) + ")", reader + " {{" + labelErrorType + "}}"},
		}},
		{"Age of entries", "s", "From the entry's ID to the end of its handling.", []query{
			{quantile("0.5", nameAge), reader + " p50"},
			{quantile("0.99", nameAge), reader + " p99"},
		}},
		{"Health", "short", "1 is well.", []query{
			{perReader("min", gauge(nameReady)), reader + " ready"},
			{perReader("min", gauge(nameLive)), reader + " live"},
		}},
	}
	return append(chosen, otherPanels(chosen)...)
}

// otherPanels returns a panel for each metric of the list that none of the chosen has.
func otherPanels(chosen []panel) []panel {
	var used strings.Builder
	for _, p := range chosen {
		for _, q := range p.queries {
			used.WriteString(q.expr)
		}
	}
	var others []panel
	for _, s := range list() {
		if strings.Contains(used.String(), s.name+"{") || s.kind == kindHistogram {
			continue
		}
		p := panel{title: titleOf(s.name), unit: "short", description: s.help}
		switch {
		case s.kind == kindCounter:
			p.unit = "cps"
			p.queries = []query{{perReader("sum", rate(s.name, "")), reader}}
		case strings.HasSuffix(s.name, secondsSuffix):
			p.unit = "s"
			p.queries = []query{{perReader("max", gauge(s.name)), reader}}
		default:
			if strings.Contains(s.name, "_bytes_") {
				p.unit = "bytes"
			}
			p.queries = []query{{perReader("sum", gauge(s.name)), reader}}
		}
		others = append(others, p)
	}
	return others
}

// titleOf makes a title of a name: millrace_window_used is "Window used".
func titleOf(name string) string {
	name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, namespace), "_total"), secondsSuffix)
	name = strings.ReplaceAll(name, "_", " ")
	return strings.ToUpper(name[:1]) + name[1:]
}

// object is a JSON object; its names are written in the order of the alphabet.
type object map[string]any

// Dashboard returns a dashboard for Grafana 9 or later, as JSON. The file dashboard.json has the
// same. It asks for a Prometheus data source when it is imported.
func Dashboard() ([]byte, error) {
	const width, height, perRow = 8, 8, 3
	source := object{"type": "prometheus", "uid": "${datasource}"}
	var drawn []object
	for i, p := range panels() {
		var targets []object
		for j, q := range p.queries {
			targets = append(targets, object{
				"datasource": source, "expr": q.expr, "legendFormat": q.legend, "refId": string(rune('A' + j)),
			})
		}
		drawn = append(drawn, object{
			"id": i + 1, "type": "timeseries", "title": p.title, "description": p.description, "datasource": source,
			"gridPos":     object{"x": i % perRow * width, "y": i / perRow * height, "w": width, "h": height},
			"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0}, "overrides": []object{}},
			"options":     object{"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true}, "tooltip": object{"mode": "multi", "sort": "desc"}},
			"targets":     targets,
		})
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(object{
		"title": "Millrace", "uid": "millrace", "tags": []string{"millrace", "redis"}, "schemaVersion": 37, "editable": true,
		"refresh": "30s", "time": object{"from": "now-1h", "to": "now"},
		"templating": object{"list": []object{
			{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
			{
				"name": "stream", "type": "query", "label": "Stream", "datasource": source, "refresh": 2, "multi": true, "includeAll": true, "allValue": ".*",
				"query": object{"query": "label_values(" + nameReady + ", stream)", "refId": "streams"},
			},
		}},
		"panels": drawn,
	})
	if err != nil {
		return nil, fmt.Errorf("promstream: encoding the dashboard: %w", err)
	}
	return b.Bytes(), nil
}
