package strictyaml

import (
	"fmt"
	"slices"
	"strings"
)

// Decoder reads typed values out of nodes and collects every fault on the
// way. Its readers take a nil node, as Get returns for an absent key, and
// report nothing about it; each says whether it got a value.
type Decoder struct {
	File   string
	faults Faults
}

// Fault reports that something is wrong with n. The message must never quote
// a value; it may name keys.
func (d *Decoder) Fault(n *Node, format string, args ...any) {
	d.report(n, false, format, args...)
}

// Warn reports something about n that does not make the file unusable.
func (d *Decoder) Warn(n *Node, format string, args ...any) {
	d.report(n, true, format, args...)
}

func (d *Decoder) report(n *Node, warning bool, format string, args ...any) {
	f := Fault{File: d.File, Message: fmt.Sprintf(format, args...), Warning: warning}
	if n != nil {
		f.Line, f.Column = n.Line, n.Column
	}
	d.faults.add(f)
}

// full tells that no more faults are listed: looking for them is wasted time.
func (d *Decoder) full() bool { return len(d.faults) > maxFaults }

// Add takes over faults that were found otherwise.
func (d *Decoder) Add(faults ...Fault) {
	for _, f := range faults {
		d.faults.add(f)
	}
}

// Faults returns what was found, by position.
func (d *Decoder) Faults() Faults { return d.faults.Sorted() }

// Keyed is a mapping whose keys have been checked. A nil Keyed has none.
type Keyed struct {
	node *Node
	name string
}

// Mapping reads n as a mapping of the known keys and reports every other. It
// returns nil, with a fault, where n is no mapping.
func (d *Decoder) Mapping(n *Node, known ...string) *Keyed {
	if n == nil {
		return nil
	}
	if n.Kind != Mapping {
		d.Fault(n, "%sa mapping is needed here, with keys such as %s", n.prefix(), known[0])
		return nil
	}
	for _, pair := range n.Pairs {
		if !d.full() && !slices.Contains(known, pair.Key.Text) {
			d.unknownKey(pair.Key, known)
		}
	}
	return &Keyed{node: n, name: n.name}
}

func (d *Decoder) unknownKey(key *Node, known []string) {
	if near := Nearest(key.Text, known); near != "" {
		d.Fault(key, "unknown key %s: did you mean %s?", printable(key.Text), near)
		return
	}
	d.Fault(key, "unknown key; known here: %s", strings.Join(known, ", "))
}

// Node returns the mapping itself, for faults about it as a whole.
func (m *Keyed) Node() *Node {
	if m == nil {
		return nil
	}
	return m.node
}

// Get returns the value of a key, nil where it is absent.
func (m *Keyed) Get(key string) *Node {
	if pair := m.pair(key); pair != nil {
		return pair.Value
	}
	return nil
}

// Key returns the node of the key itself, nil where it is absent.
func (m *Keyed) Key(key string) *Node {
	if pair := m.pair(key); pair != nil {
		return pair.Key
	}
	return nil
}

// Has tells whether the key is there, with whatever value.
func (m *Keyed) Has(key string) bool { return m.pair(key) != nil }

func (m *Keyed) pair(key string) *Pair {
	if m == nil {
		return nil
	}
	for i := range m.node.Pairs {
		if m.node.Pairs[i].Key.Text == key {
			return &m.node.Pairs[i]
		}
	}
	return nil
}

// Require returns the value of a key that must be there; without it, a fault
// about the mapping is reported and nil returned.
func (d *Decoder) Require(m *Keyed, key string) *Node {
	n := m.Get(key)
	if n == nil && m != nil {
		of := ""
		if m.name != "" {
			of = " in " + m.name
		}
		d.Fault(m.node, "the key %s is missing%s", key, of)
	}
	return n
}

// prefix names the key that n is the value of, for the beginning of a message.
// The names of unknown keys cannot come here: their values are not decoded.
func (n *Node) prefix() string {
	if n.name == "" {
		return ""
	}
	return printable(n.name) + ": "
}
