package strictyaml

// Kind says what a Node is.
type Kind int

// The kinds of nodes. An unquoted scalar that is empty is Null; one that says
// null or ~ is a Scalar, for the typed readers to refuse.
const (
	Null Kind = iota
	Scalar
	Mapping
	Sequence
)

// Node is a value of a file, with the place where it stands.
type Node struct {
	Kind   Kind
	Line   int
	Column int
	Text   string // of a scalar: as written, escapes and folding resolved
	Quoted bool   // a quoted or a block scalar
	Items  []*Node
	Pairs  []Pair

	name    string // the key that the node is the value of, for messages
	comment bool   // a comment follows an unquoted scalar on its line
}

// Pair is a key of a mapping and its value.
type Pair struct{ Key, Value *Node }

// CommentFollows tells whether a comment follows an unquoted scalar on its
// line, as in "pin: 12 # 34", where the rest may have been meant as text.
func (n *Node) CommentFollows() bool { return n.comment }

// IsNull tells whether the node is absent, empty, or an unquoted null or ~.
func (n *Node) IsNull() bool {
	if n == nil || n.Kind == Null {
		return true
	}
	return n.Kind == Scalar && !n.Quoted && kindOfPlain(n.Text) == plainNull
}
