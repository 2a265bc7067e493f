package offset_test

import (
	"cmp"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"millrace/offset"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0-0":             "0-0",
		"1700000000000-3": "1700000000000-3",
		"18446744073709551615-18446744073709551615": "18446744073709551615-18446744073709551615",
		"0":                            "0-0",
		"1700000000000":                "1700000000000-0",
		"007-03":                       "7-3",
		"000":                          "0-0",
		strings.Repeat("0", 126) + "5": "5-0",
		strings.Repeat("0", 127) + "5": "", // Redis takes no more than 127 bytes
		"5-":                           "", "-5": "", "+5": "", "5-*": "", "$": "",
	} {
		id, err := offset.Parse(text)
		if (err == nil) != (want != "") || err == nil && id.String() != want {
			t.Errorf("Parse(%q) = %v, %v; want %q", text, id, err, want)
		}
	}
}

func TestParseErrorIsShort(t *testing.T) {
	t.Parallel()
	_, err := offset.Parse(strings.Repeat("secret ", 10_000))
	if err == nil || len(err.Error()) > 300 {
		t.Fatalf("Parse of a long text: %.400v", err)
	}
	if !strings.HasPrefix(err.Error(), "offset: ") {
		t.Errorf("error %q has no prefix", err)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	ascending := []offset.ID{{0, 0}, {0, 1}, {0, 1<<64 - 1}, {9, 10}, {10, 9}, {1 << 53, 0}, {1<<53 + 1, 0}, {1 << 63, 0}, {1<<64 - 1, 0}, {1<<64 - 1, 1<<64 - 1}}
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("(%v).Compare(%v) = %d, want %d", a, b, got, want)
			}
		}
	}
}

var (
	entryID = regexp.MustCompile(`^([0-9]+)(?:-([0-9]+))?$`)
	twoTo64 = new(big.Int).Lsh(big.NewInt(1), 64)
)

// oracleParse says what Parse says, by other means.
func oracleParse(s string) (ms, seq *big.Int, ok bool) {
	parts := entryID.FindStringSubmatch(s)
	if parts == nil || len(s) > 127 {
		return nil, nil, false
	}
	ms, _ = new(big.Int).SetString(parts[1], 10)
	seq, _ = new(big.Int).SetString(cmp.Or(parts[2], "0"), 10)
	return ms, seq, ms.Cmp(twoTo64) < 0 && seq.Cmp(twoTo64) < 0
}

// oracleText returns an ID that Parse takes as Redis returns it.
func oracleText(s string) string {
	ms, seq, _ := oracleParse(s)
	return fmt.Sprint(ms, "-", seq)
}

func oracleAbove(a, b string) bool {
	aMs, aSeq, _ := oracleParse(a)
	bMs, bSeq, _ := oracleParse(b)
	return aMs.Cmp(bMs) > 0 || aMs.Cmp(bMs) == 0 && aSeq.Cmp(bSeq) > 0
}

func FuzzParse(f *testing.F) {
	f.Add("5-5", "5-6")
	f.Add("9-0", "10-0")
	f.Fuzz(func(t *testing.T, a, b string) {
		_, _, aOK := oracleParse(a)
		_, _, bOK := oracleParse(b)
		aID, aErr := offset.Parse(a)
		bID, bErr := offset.Parse(b)
		if (aErr == nil) != aOK || (bErr == nil) != bOK {
			t.Fatalf("Parse(%q): %v, want ok = %t; Parse(%q): %v, want ok = %t", a, aErr, aOK, b, bErr, bOK)
		}
		if aErr != nil || bErr != nil {
			if text := fmt.Sprint(aErr, bErr); len(text) > 1500 {
				t.Fatalf("errors of %d bytes", len(text))
			}
			return
		}
		if aID.String() != oracleText(a) || bID.String() != oracleText(b) {
			t.Fatalf("%q, %q came back as %q, %q", a, b, aID, bID)
		}
		if (aID.Compare(bID) > 0) != oracleAbove(a, b) || (bID.Compare(aID) > 0) != oracleAbove(b, a) {
			t.Fatalf("Compare of %q and %q: %d and %d", a, b, aID.Compare(bID), bID.Compare(aID))
		}
	})
}
