package codec_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-playground/validator/v10"

	"millrace/codec"
)

func ExampleStruct() {
	type Signup struct {
		UserID string    `mapstructure:"user_id" validate:"required"`
		Age    int8      `mapstructure:"age" validate:"gte=0"`
		At     time.Time `mapstructure:"at"`
	}
	signups := codec.Struct[Signup]()

	signup, err := signups.Decode(codec.FieldsOf("user_id", "u-1", "age", "36", "at", "2024-02-03T04:05:06Z"))
	fmt.Println(signup.UserID, signup.Age, signup.At.Year(), err)

	pairs, err := signups.Encode(signup)
	fmt.Println(pairs, err)
	// Output:
	// u-1 36 2024 <nil>
	// [user_id u-1 age 36 at 2024-02-03T04:05:06Z] <nil>
}

func ExampleStruct_squash() {
	type Header struct {
		ID string    `mapstructure:"id"`
		At time.Time `mapstructure:"at,unixmilli"`
	}
	type Payment struct {
		Header `mapstructure:",squash"`
		Amount int               `mapstructure:"amount"`
		Extra  map[string]string `mapstructure:",remain"`
	}
	payment, err := codec.Struct[Payment]().Decode(codec.FieldsOf("id", "p-1", "at", "1700000000000", "amount", "5", "currency", "CHF"))
	fmt.Println(payment.ID, payment.At.Format(time.DateTime), payment.Amount, payment.Extra, err)
	// Output: p-1 2023-11-14 22:13:20 5 map[currency:CHF] <nil>
}

func ExampleDisallowUnknownFields() {
	type Login struct {
		User string `mapstructure:"user"`
	}
	_, err := codec.Struct[Login](codec.DisallowUnknownFields()).Decode(codec.FieldsOf("user", "u-1", "usr_agent", "curl"))
	fmt.Println(err)
	// Output: field "usr_agent" is not declared by codec_test.Login
}

func ExampleWithValidation() {
	type Transfer struct {
		IBAN string `mapstructure:"iban" validate:"swiss"`
	}
	transfers := codec.Struct[Transfer](codec.WithValidation("swiss", func(field validator.FieldLevel) bool {
		return len(field.Field().String()) == 21
	}))
	_, err := transfers.Decode(codec.FieldsOf("iban", "CH93"))
	fmt.Println(err)
	// Output: field "iban" (string) fails "swiss"
}

func ExampleChecker() {
	type Job struct {
		ID   string        `mapstructure:"id,omitemtpy"`
		Done chan struct{} `mapstructure:"done"`
	}
	fmt.Println(codec.Struct[Job]().(codec.Checker).Check())
	// Output:
	// codec_test.Job.ID: unknown tag option "omitemtpy"; the options are squash, remain, omitempty, unix, unixmilli and trim
	// codec_test.Job.Done: a chan struct {} cannot be made from a field's text; change its type, give it MarshalText and UnmarshalText, or tag it mapstructure:"-"
}

func ExampleFieldErrors() {
	type Order struct {
		ID    string `mapstructure:"id" validate:"required"`
		Count uint8  `mapstructure:"count"`
	}
	_, err := codec.Struct[Order]().Decode(codec.FieldsOf("count", "1000"))

	var first *codec.FieldError
	fmt.Println(errors.As(err, &first), first.Field)
	fmt.Println(err)
	// Output:
	// true id
	// field "id" (string) fails "required"; field "count" (uint8) is out of range for uint8
}

func ExampleJSON() {
	type Order struct {
		ID    string   `json:"id" validate:"required"`
		Items []string `json:"items"`
	}
	orders := codec.JSON[Order]{}

	pairs, err := orders.Encode(Order{ID: "o-1", Items: []string{"tea"}})
	fmt.Println(pairs, err)

	_, err = orders.Decode(codec.FieldsOf("payload", `{"items":[]}`))
	fmt.Println(err)
	// Output:
	// [payload {"id":"o-1","items":["tea"]}] <nil>
	// field "payload.id" (string) fails "required"
}

func ExampleUnixMilli() {
	type Tick struct {
		At codec.UnixMilli `mapstructure:"at"`
	}
	tick, err := codec.Struct[Tick]().Decode(codec.FieldsOf("at", "1700000000000"))
	fmt.Println(tick.At.Format(time.DateTime), err)
	// Output: 2023-11-14 22:13:20 <nil>
}

func ExamplePacked() {
	type Trade struct {
		ID     string  `mapstructure:"id" validate:"required"`
		Shares int     `mapstructure:"shares" validate:"gt=0"`
		Price  float64 `mapstructure:"price"`
		Note   *string `mapstructure:"note"`
	}
	trades := codec.Packed[Trade]()
	pairs, err := trades.Encode(Trade{ID: "t-1", Shares: 100, Price: 12.5})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%q\n", pairs)

	fields := codec.FieldsOf(pairs...)
	trade, err := trades.Decode(fields)
	fmt.Println(trade.ID, trade.Shares, trade.Price, trade.Note, err)

	// A tool needs no type.
	unpacked, err := codec.Unpack(fields)
	for name, value := range unpacked.All() {
		fmt.Println(name, value)
	}
	fmt.Println(err)
	// Output:
	// ["packed:id,shares,price,note" "\x01\x04t-1\x04100\x0512.5\x00"]
	// t-1 100 12.5 <nil> <nil>
	// id t-1
	// shares 100
	// price 12.5
	// <nil>
}
