// Package strictyaml reads the YAML and JSON files that administrators write,
// and says the line and column of every fault in them. It guarantees that
//
//   - no message quotes a value, nor a key that resembles no known one, for
//     either may be a secret;
//   - scalars keep the text that was written: 012345 is never a number;
//   - whatever can mean something else than it seems to is refused: tabs in
//     the indentation, duplicate keys, anchors, aliases, merge keys, tags and
//     more than one document;
//   - any input, hostile ones too, is read or refused in linear time.
//
// It has a parser of its own: the ones in reach stop at the first fault, print
// neighbouring lines, and some take malformed escapes, lose tabs within texts,
// or need seconds for a mapping of fifty thousand keys. What it takes it reads
// as YAML 1.2 does; tests hold it against another parser and its encoder.
package strictyaml
