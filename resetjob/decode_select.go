package resetjob

import (
	"strings"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/user"
)

func selectKeys() []string { return []string{"source", "query", "file", "csv"} }

func (jd *jobDecoder) selection(n *strictyaml.Node) {
	m := jd.d.Mapping(n, selectKeys()...)
	if m == nil {
		return
	}
	sel := &jd.job.Select
	sel.Source = SourceStore
	if source, ok := jd.d.Enum(m.Get("source"), jd.sources()...); ok {
		sel.Source = source
	}
	var said []string
	for _, key := range []string{"query", "file", "csv"} {
		if m.Has(key) {
			said = append(said, key)
		}
	}
	switch len(said) {
	case 0:
		jd.d.Fault(n, "select: one of query, file or csv is needed; everyone is query: all")
	case 1:
	default:
		jd.d.Fault(m.Key(said[1]), "select: only one of query, file and csv can be said, here are %s", strings.Join(said, " and "))
	}
	if q := m.Get("query"); q != nil {
		sel.Query = config.DecodeQuery(jd.d, q)
	}
	sel.File = jd.customFile(m.Get("file"))
	sel.CSV = jd.csv(m.Get("csv"))
}

func (jd *jobDecoder) sources() []string {
	names := []string{SourceStore}
	for _, a := range jd.opts.Agreements {
		names = append(names, a.Name)
	}
	return names
}

func customFileKeys() []string { return []string{"name", "field", "sha256"} }

func (jd *jobDecoder) customFile(n *strictyaml.Node) *List {
	m := jd.d.Mapping(n, customFileKeys()...)
	if m == nil {
		return nil
	}
	list := jd.list(m)
	var fields []string
	for _, f := range ListFields() {
		fields = append(fields, string(f))
	}
	field, _ := jd.d.Enum(jd.d.Require(m, "field"), fields...)
	list.Field = user.Field(field)
	return list
}

func csvKeys() []string { return []string{"name", "pin_length", "sha256"} }

func (jd *jobDecoder) csv(n *strictyaml.Node) *List {
	m := jd.d.Mapping(n, csvKeys()...)
	if m == nil {
		return nil
	}
	jd.csvNode = n
	list := jd.list(m)
	if length, ok := jd.d.Int(m.Get("pin_length"), 1, maxGenerated); ok {
		jd.length(m.Get("pin_length"), givenPIN, length)
		list.PINLength = length
	}
	return list
}

// list reads what a custom file and a csv have alike.
func (jd *jobDecoder) list(m *strictyaml.Keyed) *List {
	list := &List{}
	name := jd.d.Require(m, "name")
	if s, ok := jd.d.Text(name); ok {
		if err := checkListName(s); err != nil {
			jd.d.Fault(name, "name: %v", err)
		}
		list.Name = s
	}
	sum := m.Get("sha256")
	if sum == nil && jd.opts.Signed {
		jd.d.Fault(m.Node(), "the key sha256 is missing: a signed job names its lists with it (sha256sum FILE)")
	}
	if s, ok := jd.d.String(sum); ok {
		s = strings.ToLower(s)
		if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
			jd.d.Fault(sum, "sha256: 64 hexadecimal digits are needed, as sha256sum prints them")
		}
		list.SHA256 = s
	}
	return list
}
