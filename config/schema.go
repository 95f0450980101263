package config

import (
	"encoding/json"

	"github.com/dirpin/dirpin/internal/user"
)

// Schema returns the JSON Schema of the configuration file, by which editors
// complete and check it as it is written. It says a little less than Parse
// knows.
func Schema() []byte {
	root := object("The configuration of dirpin.", rootSchema())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "dirpin configuration"
	root["$defs"] = schema{"query": QuerySchema("#/$defs/query"), "secret": SecretSchema()}
	// Marshalling maps of texts, numbers and lists cannot go wrong.
	data, _ := json.MarshalIndent(root, "", "  ")
	return append(data, '\n')
}

// schema is a JSON Schema, or the properties of one.
type schema = map[string]any

// QuerySchema returns the schema of a query, which stands at ref.
func QuerySchema(ref string) map[string]any {
	var fields, ops []string
	for _, f := range user.Fields() {
		fields = append(fields, string(f))
	}
	for _, op := range user.Ops() {
		ops = append(ops, string(op))
	}
	text := schema{
		"description": "In department, commas separate alternatives; a list is alternatives for any field.",
		"anyOf":       []any{schema{"type": []any{"string", "integer"}}, schema{"type": "array", "minItems": 1, "items": schema{"type": []any{"string", "integer"}}}},
	}
	condition := required(object("A condition.", schema{
		"field": schema{"type": "string", "examples": fields},
		"op":    schema{"type": "string", "examples": ops},
		"text":  text,
	}), "field", "op")
	group := required(object("Conditions and groups.", schema{
		"match": describe(enumOf("all", "any"), "all is and, any is or"),
		"where": schema{"type": "array", "minItems": 1, "items": schema{"anyOf": []any{condition, schema{"$ref": ref}}}},
	}), "where")
	return schema{
		"description": "Whom it selects: all for everyone, or conditions.",
		"anyOf":       []any{schema{"const": "all"}, group},
	}
}

// SecretSchema returns the schema of a secret or a reference to one.
func SecretSchema() map[string]any {
	reference := object("A reference to a secret.", schema{
		"file":       text("a file that only root or dirpin can read"),
		"env":        text("an environment variable"),
		"credential": text("a name in systemd's credentials directory; on Windows a file sealed by DPAPI"),
		"sealed":     text("what dirpin seal printed"),
	})
	reference["minProperties"], reference["maxProperties"] = 1, 1
	return schema{
		"description": "A secret: a reference to it, or a plain one.",
		"anyOf":       []any{schema{"type": []any{"string", "integer"}}, reference},
	}
}

func object(description string, properties schema) schema {
	return schema{"type": "object", "description": description, "properties": properties, "additionalProperties": false}
}

func required(s schema, keys ...string) schema {
	s["required"] = keys
	return s
}

func describe(s schema, description string) schema {
	s["description"] = description
	return s
}

func withDefault(s schema, value any) schema {
	s["default"] = value
	return s
}

func text(description string) schema {
	return schema{"type": "string", "minLength": 1, "description": description}
}

func enumOf(words ...string) schema { return schema{"enum": words} }

func boolean(description string) schema {
	return schema{"type": "boolean", "description": description}
}

func integer(low, high int, description string) schema {
	return schema{"type": "integer", "minimum": low, "maximum": high, "description": description}
}

func duration(description string) schema {
	return schema{"type": []any{"string", "integer"}, "pattern": `^(0|(\d+d)?(\d+h)?(\d+m)?(\d+s)?)$`, "description": description + "; 0 is never"}
}

func percentage(description string) schema {
	return schema{"type": []any{"string", "integer"}, "pattern": `^\d+%?$`, "description": description}
}

func textOrList(description string) schema {
	return schema{"description": description, "anyOf": []any{
		schema{"type": []any{"string", "integer"}, "minLength": 1}, schema{"type": "array", "items": schema{"type": []any{"string", "integer"}, "minLength": 1}},
	}}
}

func wordOrList(words ...string) schema {
	return schema{"anyOf": []any{enumOf(words...), schema{"type": "array", "minItems": 1, "items": enumOf(words...)}}}
}

// oneOrMore is a list of s, or one that stands for a list of one.
func oneOrMore(s schema, description string) schema {
	return schema{"description": description, "anyOf": []any{s, schema{"type": "array", "items": s}}}
}

func queryRef(description string) schema {
	return schema{"$ref": "#/$defs/query", "description": description}
}

func secretRef(description string) schema {
	return schema{"$ref": "#/$defs/secret", "description": description}
}
