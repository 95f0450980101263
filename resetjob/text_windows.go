package resetjob

// textCRLF says that texts for people have a BOM and CRLF, as Windows' own
// programs want them.
const textCRLF = true

// syncDir does nothing: Windows makes a rename durable with its file.
func syncDir(string) error { return nil }
