package fakeunity

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
)

// object is fields in order, each a name and a text.
type object [][2]string

// answer is what is sent, in JSON or XML.
type answer struct {
	status  int
	list    string // the element around objects; "": the one object stands alone
	name    string // of each object
	objects []object
	total   int // of a list without objects
	code    string
	message string
}

func failure(status int, code, message string) answer {
	return answer{status: status, code: code, message: message}
}

func wantsJSON(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "json") }

func (a answer) write(w http.ResponseWriter, asXML, cut bool) {
	if a.status == http.StatusNoContent {
		w.WriteHeader(a.status)
		return
	}
	text, kind := a.json(), "application/json"
	if asXML {
		text, kind = a.xml(), "application/xml"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(a.status)
	if cut {
		w.Write([]byte(text[:len(text)/2]))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	w.Write([]byte(text))
}

func (a answer) count() int { return max(a.total, len(a.objects)) }

// json writes one hit as an object and several as an array; none is left out.
func (a answer) json() string {
	var v any
	switch {
	case a.code != "":
		v = map[string]any{"errors": map[string]string{"code": a.code, "message": a.message}}
	case a.list == "":
		v = a.objects[0].fields()
	default:
		list := map[string]any{"@total": fmt.Sprint(a.count())}
		switch len(a.objects) {
		case 0:
		case 1:
			list[a.name] = a.objects[0].fields()
		default:
			var all []any
			for _, o := range a.objects {
				all = append(all, o.fields())
			}
			list[a.name] = all
		}
		v = list
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings alone always encode
	}
	return string(text)
}

func (o object) fields() map[string]string {
	m := make(map[string]string, len(o))
	for _, f := range o {
		m[f[0]] = f[1]
	}
	return m
}

func (a answer) xml() string {
	var b strings.Builder
	b.WriteString(xml.Header)
	switch {
	case a.code != "":
		fmt.Fprintf(&b, "<ErrorDetails><errors><code>%s</code><message>%s</message></errors></ErrorDetails>", escaped(a.code), escaped(a.message))
	case a.list == "":
		a.objects[0].xml(&b, a.name)
	default:
		fmt.Fprintf(&b, `<%s total="%d">`, a.list, a.count())
		for _, o := range a.objects {
			o.xml(&b, a.name)
		}
		fmt.Fprintf(&b, "</%s>", a.list)
	}
	return b.String()
}

func (o object) xml(b *strings.Builder, name string) {
	fmt.Fprintf(b, "<%s>", name)
	for _, f := range o {
		fmt.Fprintf(b, "<%s>%s</%s>", f[0], escaped(f[1]), f[0])
	}
	fmt.Fprintf(b, "</%s>", name)
}

func escaped(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text))
	return b.String()
}
