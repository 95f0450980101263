package voicemail

import (
	_ "embed"
	"slices"
)

//go:embed hook.schema.json
var hookSchema []byte

// HookSchema returns the JSON Schema of what a hook is sent and may answer, for
// those who write one. The answer alone is at #/$defs/answer.
func HookSchema() []byte { return slices.Clone(hookSchema) }
