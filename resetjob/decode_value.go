package resetjob

import (
	"encoding/base64"
	"path/filepath"
	"strings"

	"filippo.io/age/armor"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/strictyaml"
)

const (
	maxGenerated = 128  // characters of a generated value
	maxGiven     = 1024 // bytes of a given one
)

// secret reads pin or password, and its confirm_ key.
func (jd *jobDecoder) secret(m *strictyaml.Keyed, kind string) *Value {
	n, confirm := m.Get(kind), m.Get("confirm_"+kind)
	v := jd.value(n, kind)
	if confirm == nil {
		return v
	}
	again := jd.value(confirm, "confirm_"+kind)
	switch {
	case n == nil:
		jd.d.Fault(m.Key("confirm_"+kind), "confirm_%s: there is no %s beside it", kind, kind)
	case v != nil && again != nil:
		jd.confirm(confirm, kind, v, again)
	}
	return v
}

// confirm compares the two without telling either.
func (jd *jobDecoder) confirm(n *strictyaml.Node, kind string, v, again *Value) {
	switch {
	case v.Generate > 0 || again.Generate > 0 || v.Reference != nil || again.Reference != nil:
		jd.d.Fault(n, "confirm_%s: only a value that stands in the file can be confirmed", kind)
	case v.Sealed != "" && v.Sealed == again.Sealed:
	default:
		a, aOK := jd.reveal(v)
		b, bOK := jd.reveal(again)
		switch {
		case aOK && bOK && a.Reveal() != b.Reveal():
			jd.d.Fault(n, "confirm_%s: not the same as %s", kind, kind)
		case !aOK || !bOK:
			jd.d.Warn(n, "confirm_%s: not compared, for want of the key that opens sealed values", kind)
		}
	}
}

// reveal returns a value as it will be used, and whether it can be had.
func (jd *jobDecoder) reveal(v *Value) (secret.Value, bool) {
	if v.Sealed == "" {
		return v.Given, true
	}
	if jd.opts.OpenSealed == nil {
		return secret.Value{}, false
	}
	opened, err := jd.opts.OpenSealed(v.Sealed)
	return opened, err == nil
}

func valueKeys() []string { return []string{"sealed", "generate", "file", "env", "credential"} }

// value reads one value in any of its forms; nil where it has a fault.
func (jd *jobDecoder) value(n *strictyaml.Node, key string) *Value {
	if n == nil {
		return nil
	}
	if n.Kind != strictyaml.Mapping {
		return jd.plain(n, key)
	}
	m := jd.d.Mapping(n, valueKeys()...)
	if len(n.Pairs) != 1 {
		jd.d.Fault(n, "%s: exactly one of sealed and generate is needed here", key)
		return nil
	}
	switch {
	case m.Has("sealed"):
		return jd.sealed(m.Get("sealed"), key)
	case m.Has("generate"):
		return jd.generate(m.Get("generate"), key)
	case m.Has("file"), m.Has("env"), m.Has("credential"):
		return jd.reference(m, key)
	}
	return nil
}

func (jd *jobDecoder) plain(n *strictyaml.Node, key string) *Value {
	s, ok := jd.d.Text(n)
	if !ok {
		return nil
	}
	if !jd.opts.PlainAllowed {
		jd.d.Fault(n, "%s: a plain value may not stand in a job file here: seal it with `dirpin seal` and write {sealed: …}", key)
		return nil
	}
	v := &Value{Given: secret.New(s)}
	if !jd.judge(n, key, v.Given) {
		return nil
	}
	return v
}

func (jd *jobDecoder) sealed(n *strictyaml.Node, key string) *Value {
	s, ok := jd.d.String(n)
	if !ok {
		return nil
	}
	v := &Value{Sealed: strings.TrimSpace(s)}
	if !isSealed(v.Sealed) {
		jd.d.Fault(n, "%s: sealed: this is no sealed value, or was cut: write what `dirpin seal` or `age -a` prints", key)
		return nil
	}
	if jd.opts.OpenSealed == nil {
		return v
	}
	opened, err := jd.opts.OpenSealed(v.Sealed)
	if err != nil {
		jd.d.Fault(n, "%s: %v", key, err)
		return nil
	}
	if !jd.judge(n, key, opened) {
		return nil
	}
	return v
}

func (jd *jobDecoder) reference(m *strictyaml.Keyed, key string) *Value {
	n := m.Node()
	if !jd.opts.AllowReferences {
		jd.d.Fault(n, "%s: {file}, {env} and {credential} are refused in a job file: they would reach out with the service's rights; seal the value with `dirpin seal` and write {sealed: …}", key)
		return nil
	}
	ref := &config.Secret{}
	ref.File, _ = jd.d.String(m.Get("file"))
	ref.Env, _ = jd.d.String(m.Get("env"))
	ref.Credential, _ = jd.d.String(m.Get("credential"))
	if ref.File+ref.Env+ref.Credential == "" {
		return nil
	}
	if ref.File != "" && !filepath.IsAbs(ref.File) {
		ref.File = filepath.Join(filepath.Dir(jd.d.File), ref.File)
	}
	if jd.opts.Resolve == nil {
		return &Value{Reference: ref}
	}
	given, err := jd.opts.Resolve(*ref)
	if err != nil {
		jd.d.Fault(n, "%s: %v", key, err)
		return nil
	}
	if !jd.judge(n, key, given) {
		return nil
	}
	return &Value{Given: given}
}

func generateKeys() []string { return []string{"length"} }

func (jd *jobDecoder) generate(n *strictyaml.Node, key string) *Value {
	m := jd.d.Mapping(n, generateKeys()...)
	length := jd.d.Require(m, "length")
	v, ok := jd.d.Int(length, 1, maxGenerated)
	if !ok || !jd.length(length, key, v) {
		return nil
	}
	return &Value{Generate: v}
}

// length tells whether the policy allows values of that length.
func (jd *jobDecoder) length(n *strictyaml.Node, key string, length int) bool {
	kind := strings.TrimPrefix(key, "confirm_")
	policy := jd.opts.Credentials.Password
	if kind == givenPIN {
		policy = jd.opts.Credentials.PIN
	}
	code := outcome.OK
	switch {
	case length < policy.MinLength:
		code = outcome.TooShort
	case policy.MaxLength > 0 && length > policy.MaxLength:
		code = outcome.TooLong
	}
	if wrong := givenFault(kind, code); wrong != "" {
		jd.d.Fault(n, "%s", wrong)
		return false
	}
	return true
}

// judge tells whether anybody may have a value. A confirm_ key is judged by
// being equal.
func (jd *jobDecoder) judge(n *strictyaml.Node, key string, v secret.Value) bool {
	s := v.Reveal()
	switch {
	case s == "":
		jd.d.Fault(n, "%s: the value is empty", key)
	case len(s) > maxGiven:
		jd.d.Fault(n, "%s: more than %d bytes", key, maxGiven)
	case strings.ContainsFunc(s, notOneLine):
		jd.d.Fault(n, "%s: the value has a line break or another control character: write it on one line, in quotes", key)
	case jd.opts.CheckGiven == nil || key != givenPIN && key != givenPassword:
		return true
	default:
		wrong := givenFault(key, jd.opts.CheckGiven(key, v))
		if wrong == "" {
			return true
		}
		jd.d.Fault(n, "%s", wrong)
	}
	return false
}

const sealedIntro = "age-encryption.org/v1\n"

// isSealed tells whether the text is an age file, in base64 or armored.
func isSealed(text string) bool {
	text, armored := strings.CutPrefix(text, armor.Header)
	if armored {
		if text, armored = strings.CutSuffix(text, armor.Footer); !armored {
			return false
		}
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	return err == nil && strings.HasPrefix(string(data), sealedIntro)
}
