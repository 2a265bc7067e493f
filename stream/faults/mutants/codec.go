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
}
