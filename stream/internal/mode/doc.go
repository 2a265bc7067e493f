// Package mode is the seam between the run of a consumer and its mode, log or group. A Mode has
// the parts that a mode gives to the run, and a Host the services that a run gives to its mode.
//
// Contract: the run calls Source.Start until it works, then Source.Fetch again and again,
// until that returns ErrOver at the bound or the context ends, and Source.Stop at the end, all
// on the goroutine of Run. Mode.Seek may follow, or be all that is called; Source.Close comes last. A
// Deliverer is called by workers, the Settler by the settler and by the writers of dead
// letters, the tasks run between the first fetch and Stop. A mode starts no goroutine but
// those of its tasks, writes the log lines that are about it, and decides nothing about the
// failures of handlers.
//
// Goroutines and locks: none here.
package mode
