package codec_test

import (
	"strings"
	"testing"
	"time"

	"millrace/codec"
)

// TestCheckReportsContradictions: two parts of a tag that hold for no value together would make
// every entry malformed.
func TestCheckReportsContradictions(t *testing.T) {
	t.Parallel()
	type contrary struct {
		A string         `mapstructure:"a" validate:"min=5,max=3"`
		B int            `mapstructure:"b" validate:"omitempty,gt=3,lt=4"`
		C float64        `mapstructure:"c" validate:"gt=3,lte=3"`
		D []string       `mapstructure:"d" validate:"max=2,len=3"`
		E []string       `mapstructure:"e" validate:"max=2,dive,min=3,max=2"`
		F uint8          `mapstructure:"f" validate:"eq=3,gte=4"`
		G map[string]int `mapstructure:"g" validate:"required,min=2,lt=2"`
		H *int           `mapstructure:"h" validate:"eq=1,eq=2"`
	}
	err := check(t, codec.Struct[contrary]())
	if err == nil {
		t.Fatal("nothing is reported")
	}
	for name, want := range map[string]string{
		"A": `"min=5" and "max=3"`, "B": `"gt=3" and "lt=4"`, "C": `"gt=3" and "lte=3"`, "D": `"len=3" and "max=2"`, "E": `"min=3" and "max=2"`,
		"F": `"gte=4" and "eq=3"`, "G": `"min=2" and "lt=2"`, "H": `"eq=2" and "eq=1"`,
	} {
		found := false
		for line := range strings.Lines(err.Error()) {
			found = found || strings.HasPrefix(line, "codec_test.contrary."+name+": ") && strings.Contains(line, want+" hold for no value together; correct one of them")
		}
		if !found {
			t.Errorf("%s of %s is not in\n%v", want, name, err)
		}
	}
	type fine struct {
		A string        `mapstructure:"a" validate:"min=3,max=3,len=3"`
		B int           `mapstructure:"b" validate:"gt=3,lt=5,ne=7"`
		C float64       `mapstructure:"c" validate:"gt=3,lt=4"`
		D []string      `mapstructure:"d" validate:"max=2,dive,min=5"`
		E string        `mapstructure:"e" validate:"eq=5,max=3"`
		F string        `mapstructure:"f" validate:"len=5|len=3,max=4"`
		G time.Duration `mapstructure:"g" validate:"min=1s,max=2s"`
	}
	if err := check(t, codec.Struct[fine]()); err != nil {
		t.Errorf("these are fine: %v", err)
	}
}
