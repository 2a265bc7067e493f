package script

// How much one run of a script has to do at the most. Every other client of the server waits
// meanwhile: TestScriptsAreShort holds each against a clock.
const (
	// RenewMost is how many entries one run of Renew or Reclaim gets.
	RenewMost = 200
	// HandBackMost is how many entries one run of HandBack gets.
	HandBackMost = 100
	// ReapMost is how many names one run of Reap gets.
	ReapMost = 100
	// TrimStep is about how many entries one run of Trim trims: that many small ones take
	// 0.1 ms.
	TrimStep = 10_000
	// TrimWalk bounds the steps of one run of Trim beyond the floor, where it looks at each
	// entry: to fetch an entry counts four, and to ask whether one is pending in a group counts
	// one. That takes 0.7 ms.
	TrimWalk = 1000
)
