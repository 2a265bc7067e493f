package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-playground/validator/v10"

	"millrace/codec/internal/jsonschema"
)

// tagProblems returns the faults of the validate tags of the struct t and of the
// structs that validator reaches from it. validator itself reports a bad tag by a
// panic at the first value that gets that far: often in production, as a parameter
// behind a required that fails is not looked at. Other faults it never reports: a
// rule that holds for no value, or for all.
func tagProblems(v *validator.Validate, t reflect.Type, custom []validationTag) []error {
	c := tagChecker{v: v, custom: custom, seen: map[reflect.Type]bool{}}
	c.structTags(t)
	if len(c.problems) == 0 {
		c.try(t)
	}
	return c.problems
}

type tagChecker struct {
	v        *validator.Validate
	custom   []validationTag
	seen     map[reflect.Type]bool
	problems []error
}

func (c *tagChecker) problem(t reflect.Type, f reflect.StructField, text string) {
	if tag := f.Tag.Get("validate"); tag != "" {
		text = fmt.Sprintf("validate tag %q: %s", tag, text)
	}
	c.problems = append(c.problems, fmt.Errorf("%s.%s: %s", t, f.Name, text))
}

func (c *tagChecker) structTags(t reflect.Type) {
	if c.seen[t] || t.ConvertibleTo(timeType) {
		return
	}
	c.seen[t] = true
	for f := range t.Fields() {
		tag := f.Tag.Get("validate")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		var parts []string
		if tag != "" {
			parts = strings.Split(tag, ",")
			if problem := c.fieldTag(t, f.Type, tag); problem != "" {
				c.problem(t, f, problem)
			}
		}
		next := reached(f.Type, parts)
		if next == nil {
			continue
		}
		if elem := containedIn(next); elem != next && c.hasTags(elem, map[reflect.Type]bool{}) {
			c.problem(t, f, fmt.Sprintf("the validate tags of %s are not looked at without dive; add dive, or dive,nostructlevel to leave them out, behind the rules of the field itself", elem))
		}
		if next.Kind() == reflect.Struct {
			c.structTags(next)
		}
	}
}

// reached returns the type whose structs validator looks into: elements only
// behind a dive. It returns nil where a part keeps validator out.
func reached(t reflect.Type, parts []string) reflect.Type {
	t = deref(t)
	dive := slices.Index(parts, "dive")
	if dive < 0 || t.Kind() != reflect.Slice && t.Kind() != reflect.Array && t.Kind() != reflect.Map {
		if slices.Contains(parts, "nostructlevel") || slices.Contains(parts, "structonly") {
			return nil
		}
		return t
	}
	return reached(t.Elem(), parts[dive+1:])
}

// containedIn returns the type of the elements of a list or map, at any depth.
func containedIn(t reflect.Type) reflect.Type {
	for range 8 {
		t = deref(t)
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array && t.Kind() != reflect.Map {
			break
		}
		t = t.Elem()
	}
	return t
}

// hasTags tells whether validator would find a tag in the struct t. A tag that it
// does not know is meant for another validator.
func (c *tagChecker) hasTags(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t = deref(t); t.Kind() != reflect.Struct || t.ConvertibleTo(timeType) || seen[t] {
		return false
	}
	seen[t] = true
	for f := range t.Fields() {
		tag := f.Tag.Get("validate")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if tag != "" && !panics(func() { _ = c.v.Var("", "omitempty,"+tag) }) || c.hasTags(f.Type, seen) {
			return true
		}
	}
	return false
}

// fieldTag tries the parts of the tag of a field of the struct parent one by one,
// on a zero of their type.
func (c *tagChecker) fieldTag(parent, t reflect.Type, tag string) (problem string) {
	var element []reflect.Type // to which endkeys returns
	whole := t
	var nils nilGuard
	nils.enter(t)
	for part := range strings.SplitSeq(tag, ",") {
		if problem := nils.pass(part); problem != "" {
			return problem
		}
		base := deref(t)
		switch part {
		case "dive":
			switch base.Kind() {
			case reflect.Map:
				element = append(element, base.Key())
				t = base.Elem()
			case reflect.Slice, reflect.Array:
				t = base.Elem()
			case reflect.Interface:
				return ""
			default:
				return fmt.Sprintf("dive is for slices, arrays and maps, not for %s; remove it", base)
			}
			nils.enter(t)
			continue
		case "keys":
			if len(element) == 0 {
				return "keys is for maps, directly behind dive; move or remove it"
			}
			last := len(element) - 1
			element[last], t = t, element[last]
			nils.enter(t)
			continue
		case "endkeys":
			if len(element) == 0 {
				return "endkeys without keys; remove it"
			}
			t = element[len(element)-1]
			nils.enter(t)
			continue
		}
		for alternative := range strings.SplitSeq(part, "|") {
			if problem := c.part(parent, base, alternative); problem != "" {
				return problem
			}
		}
	}
	if panics(func() { _ = c.v.Var("", "omitempty,"+tag) }) {
		return "its parts do not go together; see the documentation of validator"
	}
	return c.contradiction(whole, tag)
}

// contradiction reports parts of a tag that hold for no value together, of the field itself or
// of its elements.
func (c *tagChecker) contradiction(t reflect.Type, tag string) (problem string) {
	parts := strings.Split(tag, ",")
	for {
		isOwn := func(name string) bool {
			return slices.ContainsFunc(c.custom, func(tag validationTag) bool { return tag.tag == name })
		}
		if one, other := jsonschema.Contradiction(t, parts, isOwn); one != "" {
			return fmt.Sprintf("%q and %q hold for no value together; correct one of them", one, other)
		}
		dive := slices.Index(parts, "dive")
		base := deref(t)
		if dive < 0 || base.Kind() != reflect.Slice && base.Kind() != reflect.Array {
			return ""
		}
		t, parts = base.Elem(), parts[dive+1:]
	}
}

// nilGuard follows a nil pointer through a tag. validator stops at most parts with
// an error; only those that speak of other fields let it pass, and then the next
// part meets a nil that it cannot look at.
type nilGuard struct {
	nilable bool
	first   bool
	past    string // the part that lets a nil pass
}

func (n *nilGuard) enter(t reflect.Type) {
	*n = nilGuard{nilable: t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface, first: true}
}

func (n *nilGuard) pass(part string) (problem string) {
	first := n.first
	n.first = false
	if !n.nilable {
		return ""
	}
	switch part {
	case "omitempty", "omitnil", "omitzero", "required", "nostructlevel", "structonly":
		n.nilable = false // the rest never meets a nil
		return ""
	}
	alternatives := strings.Split(part, "|")
	if first && !speaksOfOthers(alternatives[0]) {
		n.nilable = false // validator refuses a nil here
		return ""
	}
	for _, alternative := range alternatives {
		if !takesNil(alternative) && n.past == "" {
			n.past = alternatives[0]
		}
		if !takesNil(alternative) {
			return fmt.Sprintf("a nil gets past %q to %q, where validator panics or refuses an event that is right; put omitempty between them", n.past, alternative)
		}
	}
	n.past = part
	return ""
}

func takesNil(part string) bool {
	return part == "required" || part == "isdefault" || speaksOfOthers(part)
}

// speaksOfOthers tells whether a part requires or excludes a value because of
// other fields, for which validator calls it with a nil too.
func speaksOfOthers(part string) bool {
	return strings.HasPrefix(part, "required_") || strings.HasPrefix(part, "excluded_") || strings.HasPrefix(part, "skip_")
}

func (c *tagChecker) part(parent, t reflect.Type, part string) (problem string) {
	// With a blank string omitempty stops before any function is called, so that
	// only the parsing is tried.
	if panics(func() { _ = c.v.Var("", "omitempty,"+part) }) {
		return fmt.Sprintf("%q is undefined; correct it, or define it with WithValidation", part)
	}
	name, param, _ := strings.Cut(part, "=")
	if slices.ContainsFunc(c.custom, func(tag validationTag) bool { return tag.tag == name }) {
		return ""
	}
	param = strings.NewReplacer("0x2C", ",", "0x7C", "|").Replace(param)
	if param == "" && needsParameter[name] {
		return fmt.Sprintf("%q lacks its parameter; write it behind %s=", part, name)
	}
	if reason, ok := c.otherFields(parent, t, name, param); ok {
		if reason != "" {
			return fmt.Sprintf("%q %s", part, reason)
		}
		return ""
	}
	if t.Kind() == reflect.Interface {
		return ""
	}
	zero := reflect.Zero(t).Interface()
	// nostructlevel keeps validator out of the fields of a struct, which get
	// their own turn.
	if panics(func() { _ = c.v.VarWithKey("field", zero, part+",nostructlevel") }) {
		return fmt.Sprintf("%q does not go with the type %s; correct its parameter or remove it", part, t)
	}
	if isBlindTo(name, t) {
		return fmt.Sprintf("%q is for texts, and says the same of every %s; remove it", part, t)
	}
	return ""
}

// isBlindTo tells whether a tag has one verdict for all values of a t: validator
// gives it the text "<T Value>" in place of the value.
func isBlindTo(name string, t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[validator.Valuer]()) {
		return false
	}
	switch t.Kind() {
	case reflect.String:
		return false
	case reflect.Bool:
		if name == "boolean" {
			return false
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64:
		if name == "numeric" || name == "number" {
			return false
		}
	}
	isStringer := strings.HasPrefix(name, "uuid") || name == "ulid"
	if isStringer && t.Implements(reflect.TypeFor[fmt.Stringer]()) {
		return false
	}
	return textTags[name]
}

// textTags are the tags of validator that see nothing but a string.
var textTags = setOf(`alpha alphaspace alphanum alphanumspace alphaunicode alphanumunicode ascii base32 base64
	base64rawurl base64url bic bic_iso_9362_2014 boolean btc_addr btc_addr_bech32 cidr cidrv4 cidrv6 cmyk contains
	containsany containsrune credit_card cron cve datauri dns_rfc1035_label duration e164 ein email endsnotwith
	endswith eth_addr eth_addr_checksum excludes excludesall excludesrune fqdn hexadecimal hexcolor hostname
	hostname_label hostname_port hostname_rfc1123 hsl hsla html html_encoded ip ip4_addr ip6_addr ip_addr ipv4 ipv6
	isbn isbn10 isbn13 iscolor iso3166_1_alpha2 iso3166_1_alpha2_eu iso3166_1_alpha3 iso3166_1_alpha3_eu iso3166_2
	iso4217 issn jwt mac md4 md5 mongodb mongodb_connection_string multibyte number numeric postcode_iso3166_alpha2
	printascii rgb rgba ripemd128 ripemd160 semver sha256 sha384 sha512 spicedb ssn startsnotwith startswith tcp4_addr
	tcp6_addr tcp_addr tiger128 tiger160 tiger192 udp4_addr udp6_addr udp_addr uds_exists ulid unix_addr url_encoded
	uuid uuid3 uuid3_rfc4122 uuid4 uuid4_rfc4122 uuid5 uuid5_rfc4122 uuid7 uuid_rfc4122`)

// needsParameter are the tags that without a parameter hold for all values, for
// none, or panic.
var needsParameter = setOf(`contains containsany containsrune datetime endsnotwith endswith eqcsfield eqfield
	excluded_if excluded_unless excluded_with excluded_with_all excluded_without excluded_without_all excludes
	excludesall excludesrune fieldcontains fieldexcludes gtcsfield gtecsfield gtefield gtfield ltcsfield ltecsfield
	ltefield ltfield necsfield nefield noneof noneofci oneof oneofci postcode_iso3166_alpha2
	postcode_iso3166_alpha2_field required_if required_unless required_with required_with_all required_without
	required_without_all skip_unless startsnotwith startswith`)

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(words) {
		set[word] = true
	}
	return set
}

// try runs validator on the zero value of t and on one whose pointers are set, as
// some parts panic only beside the others. Functions of the user's own are not
// called: they may look things up.
func (c *tagChecker) try(t reflect.Type) {
	v := c.v
	if len(c.custom) > 0 {
		stubs := make([]validationTag, len(c.custom))
		for i, tag := range c.custom {
			stubs[i] = validationTag{tag.tag, func(validator.FieldLevel) bool { return true }}
		}
		v, _ = newValidator(stubs)
	}
	zero, full := reflect.New(t), reflect.New(t)
	setPointers(full.Elem(), nil)
	for _, value := range []reflect.Value{zero, full} {
		var last string // the field that validator looked at last
		if panics(func() {
			_ = v.StructFiltered(value.Interface(), func(namespace []byte) bool {
				last = string(namespace)
				return false
			})
		}) {
			parent, f, ok := fieldAt(t, withoutRoot(last, t))
			if !ok {
				c.problems = append(c.problems, fmt.Errorf("%s: a validate tag, or a method that validator calls, makes validator panic; correct it", t))
				return
			}
			text := "makes validator panic for a value of zeros"
			if value == full {
				text = "makes validator panic once the pointers of the value are set"
			}
			c.problem(parent, f, text+"; correct it, or the methods of the type that validator calls")
			return
		}
	}
}

// fieldAt returns the field of a struct in t that validator calls by a namespace
// such as Items[0].City.
func fieldAt(t reflect.Type, namespace string) (parent reflect.Type, f reflect.StructField, ok bool) {
	for name := range strings.SplitSeq(namespace, ".") {
		if ok {
			t = containedIn(f.Type)
		}
		name, _, _ = strings.Cut(name, "[")
		if t.Kind() != reflect.Struct {
			return nil, f, false
		}
		if f, ok = t.FieldByName(name); !ok {
			return nil, f, false
		}
		parent = t
	}
	return parent, f, ok
}

// setPointers sets the pointers in v, which is settable and zero, and gives its
// lists and maps one element. The types in around are those that v is in, so that
// a recursive type ends.
func setPointers(v reflect.Value, around []reflect.Type) {
	t := v.Type()
	if t == timeType || slices.Contains(around, t) || len(around) > 8 || !v.CanSet() {
		return
	}
	around = append(slices.Clone(around), t)
	switch t.Kind() {
	case reflect.Pointer:
		if slices.Contains(around, t.Elem()) {
			return
		}
		v.Set(reflect.New(t.Elem()))
		setPointers(v.Elem(), around)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(t, 1, 1))
		setPointers(v.Index(0), around)
	case reflect.Array:
		if v.Len() > 0 {
			setPointers(v.Index(0), around)
		}
	case reflect.Map:
		elem := reflect.New(t.Elem()).Elem()
		setPointers(elem, around)
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(reflect.Zero(t.Key()), elem)
	case reflect.Struct:
		for i := range v.NumField() {
			setPointers(v.Field(i), around)
		}
	}
}

func panics(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}
