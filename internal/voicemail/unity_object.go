package voicemail

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// object is what Unity Connection sends, as JSON or as XML: texts, and objects
// by their names, of which one or several make no difference. Names are in
// lower case and without the @ of what is an attribute in XML.
type object struct {
	texts   map[string]string
	objects map[string][]object
	xml     bool
}

const maxNesting = 32

var errNoObject = errors.New("neither JSON nor XML")

func newObject() object { return object{texts: map[string]string{}, objects: map[string][]object{}} }

func (o object) text(name string) string { return strings.TrimSpace(o.texts[name]) }

func (o object) all(name string) []object { return o.objects[name] }

// parseObject reads JSON, or XML whatever the request asked for: it is the
// server's default.
func parseObject(data []byte) (object, error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte(byteOrderMark)))
	if len(data) == 0 {
		return object{}, errNoObject
	}
	switch data[0] {
	case '{':
		return parseJSON(data)
	case '<':
		return parseXML(data)
	}
	return object{}, errNoObject
}

func parseJSON(data []byte) (object, error) {
	if !json.Valid(data) {
		return object{}, errNoObject
	}
	var fields map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if dec.Decode(&fields) != nil {
		return object{}, errNoObject
	}
	return ofJSON(fields, 0)
}

func ofJSON(fields map[string]any, depth int) (object, error) {
	if depth > maxNesting {
		return object{}, errNoObject
	}
	o := newObject()
	for key, v := range fields {
		name := strings.ToLower(strings.TrimPrefix(key, "@"))
		list, isList := v.([]any)
		if !isList {
			list = []any{v}
		}
		for _, one := range list {
			if inner, ok := one.(map[string]any); ok {
				sub, err := ofJSON(inner, depth+1)
				if err != nil {
					return object{}, err
				}
				o.objects[name] = append(o.objects[name], sub)
				continue
			}
			if text := scalar(one); text != "" {
				o.texts[name] = strings.TrimPrefix(o.texts[name]+"; "+text, "; ")
			}
		}
	}
	return o, nil
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "true"
		}
		return "false"
	}
	return ""
}

// parseXML reads one element. Its own name says nothing that is needed.
func parseXML(data []byte) (object, error) {
	dec := xml.NewDecoder(bytes.NewReader(data))
	for {
		t, err := dec.Token()
		if err != nil {
			return object{}, errNoObject
		}
		start, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		o, _, err := ofXML(dec, start, 0)
		if err != nil {
			return object{}, errNoObject
		}
		for { // what follows must be nothing
			t, err := dec.Token()
			if err == io.EOF {
				o.xml = true
				return o, nil
			}
			if _, more := t.(xml.StartElement); more || err != nil {
				return object{}, errNoObject
			}
		}
	}
}

// ofXML reads the element that start began. It is text alone where it has no
// elements and no attributes.
func ofXML(dec *xml.Decoder, start xml.StartElement, depth int) (o object, text string, err error) {
	if depth > maxNesting {
		return o, "", errNoObject
	}
	o = newObject()
	for _, a := range start.Attr {
		o.texts[strings.ToLower(a.Name.Local)] = a.Value
	}
	var chars strings.Builder
	for {
		t, err := dec.Token()
		if err != nil {
			return o, "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			chars.Write(t)
		case xml.EndElement:
			return o, chars.String(), nil
		case xml.StartElement:
			sub, said, err := ofXML(dec, t, depth+1)
			if err != nil {
				return o, "", err
			}
			name := strings.ToLower(t.Name.Local)
			if len(sub.texts) == 0 && len(sub.objects) == 0 && !(depth == 0 && isList(name)) {
				o.texts[name] = said
			} else {
				o.objects[name] = append(o.objects[name], sub)
			}
		}
	}
}

// isList tells elements that are objects even when they are empty.
func isList(name string) bool { return name == "user" || name == "authenticationrule" }
