package main

// codecMutants are deliberate bugs in the codecs of several types, versions and formats, which
// their tests have to catch.
var codecMutants = []mutant{
	{
		name:  "of two discriminators the last one counts",
		edits: []edit{{"codec/mark.go", "\t\tif found {\n\t\t\treturn \"\", true, d.fail(\"is there twice\")\n\t\t}\n", ""}},
		tests: []tests{{inCodec, "TestOneOfRefuses|TestVersionsRefuses"}},
	},
	{
		name:  "a blank version is one that is missing",
		edits: []edit{{"codec/mark.go", "if found && (text == \"\" ||", "if found && text != \"\" && ("}},
		tests: []tests{{inCodec, "TestVersionsRefuses"}},
	},
	{
		name:  "an unknown kind is told with its name",
		edits: []edit{{"codec/oneof.go", "c.failAs(ErrUnknownKind, c.unknown)", "c.failAs(ErrUnknownKind, c.unknown+\", and not \"+name)"}},
		tests: []tests{{inCodec, "TestOneOfRefuses"}},
	},
	{
		name:  "an event keeps parts of the one before it",
		edits: []edit{{"codec/oneof.go", "\t\t\tvar zero K\n\t\t\t*k = zero\n", ""}},
		tests: []tests{{inCodec, "TestOneOf"}},
	},
	{
		name:  "a type may be two kinds",
		edits: []edit{{"codec/oneof.go", "if other, twice := c.byType[k.typ]; twice {", "if other, twice := c.byType[k.typ]; twice && other == nil {"}},
		tests: []tests{{inCodec, "TestOneOfChecksItsList"}},
	},
	{
		name:  "a discriminator is a stranger to a remain map",
		edits: []edit{{"codec/mark.go", "\t_, ok := p.marks.find(name)\n\treturn ok\n", "\treturn false\n"}},
		tests: []tests{{inCodec, "TestOneOfTakesTheDiscriminatorOut"}},
	},
	{
		name:  "an event that was brought up is not validated",
		edits: []edit{{"codec/versions.go", "\t\t\treturn check(value)\n", "\t\t\treturn nil\n"}},
		tests: []tests{{inCodec, "TestUpcastIsValidated"}},
	},
	{
		name:  "the text of an upcaster's error is shown",
		edits: []edit{{"codec/mark.go", "return &causedError{d.fail(reason), cause}", "return &causedError{d.fail(reason + \": \" + cause.Error()), cause}"}},
		tests: []tests{{inCodec, "TestVersionsRefuses"}},
	},
	{
		name:  "the current version is written without its name",
		edits: []edit{{"codec/versions.go", "c.current = withMark(codec, mark{name: d.field, value: current})", "c.current = withMark(codec, mark{name: d.field})"}},
		tests: []tests{{inCodec, "TestVersions"}},
	},
	{
		name:  "a value in a format of one's own is not validated",
		edits: []edit{{"codec/bytes.go", "\tif err == nil {\n\t\terr = c.validate(&value)\n\t}\n", ""}},
		tests: []tests{{inCodec, "TestFieldRefuses"}},
	},
	{
		name:  "a JSON null in a text is a zero",
		edits: []edit{{"codec/jsontext.go", "if isNull(string(text)) {", "if string(text) == \"\" {"}},
		tests: []tests{{inCodec, "TestTextRefuses"}},
	},
	{
		name:  "every malformed entry is skipped as one of an unknown kind",
		edits: []edit{{"middleware/unknown.go", "malformed && errors.Is(err, codec.ErrUnknownKind)", "malformed || errors.Is(err, codec.ErrUnknownKind)"}},
		tests: []tests{{inMiddleware, "TestSkipUnknownKinds"}},
	},
	{
		name:  "a rule without a keyword is dropped",
		edits: []edit{{"codec/internal/jsonschema/constrain.go", "\t\t\ts.addRules(part)\n", "\t\t\t_ = part\n"}},
		tests: []tests{{inVerdicts, "TestNoRuleIsDropped"}},
	},
	{
		name:  "a field that may be missing is required",
		edits: []edit{{"codec/internal/jsonschema/constrain.go", "required = !f.takesZero()", "required = f.Tag != \"\""}},
		tests: []tests{{inVerdicts, "TestVerdicts"}},
	},
	{
		name:  "a null among the elements is never refused",
		edits: []edit{{"codec/internal/jsonschema/constrain.go", "\tcase of.takesZero():", "\tcase of.takesZero() || ok:"}},
		tests: []tests{{inVerdicts, "TestVerdicts"}},
	},
	{
		name:  "a bound that is looser takes the place of a tighter one",
		edits: []edit{{"codec/internal/jsonschema/schema.go", "(x.Cmp(y) < 0) == isMin", "(x.Cmp(y) < 0) != isMin"}},
		tests: []tests{{inVerdicts, "TestVerdicts"}},
	},
	{
		name:  "a new required field is no break",
		edits: []edit{{"codec/schema/parts.go", "ok && !required[text] {", "ok && !required[text] && path != \"\" {"}},
		tests: []tests{{inSchema, "TestAcceptsTellsEachBreak"}},
	},
	{
		name:  "an old version that is read counts as written",
		edits: []edit{{"codec/schema/accepts.go", "\t\tif branch[\"x-old\"] == true {\n\t\t\tcontinue\n\t\t}\n", ""}},
		tests: []tests{{inSchema, "TestAcceptsVersionsAndKinds"}},
	},
	{
		name:  "a schema that refers to itself has no end",
		edits: []edit{{"codec/schema/accepts.go", "if c.under[at] {", "if c.under[at] && path == \"\" {"}},
		tests: []tests{{inSchema, "TestAcceptsTypesThatReferToThemselves"}},
	},
	{
		name:  "a document is read at any depth",
		edits: []edit{{"codec/schema/document.go", "if depth(text) > maxDepth {", "if depth(text) > 1<<30 {"}},
		tests: []tests{{inSchema, "TestParse"}},
	},
	{
		name:  "msgpack has a name twice",
		edits: []edit{{"codec/compat/msgpack.go", "if _, twice := texts[name]; twice {", "if _, twice := texts[name]; twice && value == \"\" {"}},
		tests: []tests{{inCompat, "TestWatermillRefuses"}},
	},
	{
		name:  "more behind the metadata is left out",
		edits: []edit{{"codec/compat/msgpack.go", "\tif r.rest != \"\" {\n\t\treturn nil, errBehind\n\t}\n", ""}},
		tests: []tests{{inCompat, "TestWatermillRefuses"}},
	},
	{
		name:  "a tombstone is a value",
		edits: []edit{{"codec/compat/debezium.go", "\tcase text == d.tombstone():\n", "\tcase text == \"\":\n"}},
		tests: []tests{{inCompat, "TestDebeziumCompact"}},
	},
	{
		name:  "the offsets of a binary form are believed",
		edits: []edit{{"codec/compat/faststream.go", "case at < fastStreamFixed || behind < at || behind > len(text):", "case behind < at || behind > len(text):"}},
		tests: []tests{{inCompat, "TestFastStream"}},
	},
	{
		name:  "the key of a row is told",
		edits: []edit{{"codec/compat/debezium.go", "return Row[T]{}, renamed(err, name)", "return Row[T]{}, renamed(err, row.Key)"}},
		tests: []tests{{inCompat, "TestDebeziumCompact"}},
	},
}
