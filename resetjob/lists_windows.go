package resetjob

// openNonblock is nothing here: a folder cannot hold a named pipe.
const openNonblock = 0
