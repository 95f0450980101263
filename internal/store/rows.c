// The table-valued SQL function dirpin_rows(values, width): many rows for one
// INSERT … SELECT. A call from Go costs as much as a handful of values, and a
// user has thirty; and a statement opens a cursor on each index of its table,
// a quarter of all the time: here once for hundreds.
//
// The values are those of all rows one behind another, width to a row, as
// rows.go writes them. The functions and structures of SQLite are those of the
// driver's copy, which has no header that another package could find; their
// form never changes.

#ifdef __linux__
#include <malloc.h>
#endif
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_value sqlite3_value;
typedef struct sqlite3_vtab sqlite3_vtab;
typedef struct sqlite3_vtab_cursor sqlite3_vtab_cursor;
typedef struct sqlite3_index_info sqlite3_index_info;

typedef struct sqlite3_module {
	int version;
	int (*create)(sqlite3 *, void *, int, const char *const *, sqlite3_vtab **, char **);
	int (*connect)(sqlite3 *, void *, int, const char *const *, sqlite3_vtab **, char **);
	int (*best_index)(sqlite3_vtab *, sqlite3_index_info *);
	int (*disconnect)(sqlite3_vtab *);
	int (*destroy)(sqlite3_vtab *);
	int (*open)(sqlite3_vtab *, sqlite3_vtab_cursor **);
	int (*close)(sqlite3_vtab_cursor *);
	int (*filter)(sqlite3_vtab_cursor *, int, const char *, int, sqlite3_value **);
	int (*next)(sqlite3_vtab_cursor *);
	int (*eof)(sqlite3_vtab_cursor *);
	int (*column)(sqlite3_vtab_cursor *, sqlite3_context *, int);
	int (*rowid)(sqlite3_vtab_cursor *, int64_t *);
	void *others[12]; // of writing, transactions and later versions: none
} sqlite3_module;

struct sqlite3_vtab {
	const sqlite3_module *module;
	int references;
	char *message;
};

struct sqlite3_vtab_cursor {
	sqlite3_vtab *table;
};

struct sqlite3_index_info {
	int constraint_count;
	struct {
		int column;
		unsigned char op, usable;
		int offset;
	} *constraints;
	int order_count;
	void *order;
	struct {
		int argument;
		unsigned char omit;
	} *usage;
	int number;
	char *text;
	int free_text, ordered;
	double cost;
	int64_t rows;
	// More follows, which is left as it is.
};

int sqlite3_auto_extension(void (*)(void));
int sqlite3_create_module_v2(sqlite3 *, const char *, const sqlite3_module *, void *, void (*)(void *));
int sqlite3_declare_vtab(sqlite3 *, const char *);
int sqlite3_vtab_config(sqlite3 *, int, ...);
void *sqlite3_malloc64(uint64_t);
void sqlite3_free(void *);
char *sqlite3_mprintf(const char *, ...);
const void *sqlite3_value_blob(sqlite3_value *);
int sqlite3_value_bytes(sqlite3_value *);
int sqlite3_value_int(sqlite3_value *);
void sqlite3_result_int64(sqlite3_context *, int64_t);
void sqlite3_result_text(sqlite3_context *, const char *, int, void (*)(void *));

enum { ok = 0, failed = 1, no_memory = 7, refused = 19, equal = 2, direct_only = 3 };

// The columns of the table: values, and two hidden ones for what it is given.
enum { most = 40, given_values = most, given_width };

static const char declared[] =
	"CREATE TABLE x (c0,c1,c2,c3,c4,c5,c6,c7,c8,c9,c10,c11,c12,c13,c14,c15,c16,c17,c18,c19,"
	"c20,c21,c22,c23,c24,c25,c26,c27,c28,c29,c30,c31,c32,c33,c34,c35,c36,c37,c38,c39,"
	"given HIDDEN, width HIDDEN)";

typedef struct {
	sqlite3_vtab_cursor base;
	unsigned char *rows; // a copy of what was given
	const unsigned char *at, *end;
	int width, done;
	int64_t number;
	struct {
		char type;
		uint32_t size;
		int64_t number;
		const char *text;
	} values[most]; // of the row at hand
} cursor;

static int connect(sqlite3 *db, void *own, int argc, const char *const *argv, sqlite3_vtab **table, char **message) {
	int rc = sqlite3_declare_vtab(db, declared);
	if (rc != ok) return rc;
	sqlite3_vtab_config(db, direct_only);
	if ((*table = sqlite3_malloc64(sizeof **table)) == NULL) return no_memory;
	memset(*table, 0, sizeof **table);
	return ok;
}

static int disconnect(sqlite3_vtab *table) {
	sqlite3_free(table);
	return ok;
}

// best_index takes both arguments, and nothing else.
static int best_index(sqlite3_vtab *table, sqlite3_index_info *info) {
	int found = 0;
	for (int i = 0; i < info->constraint_count; i++) {
		int column = info->constraints[i].column;
		if (column < given_values || info->constraints[i].op != equal) continue;
		if (!info->constraints[i].usable) return refused;
		info->usage[i].argument = column - given_values + 1;
		info->usage[i].omit = 1;
		found++;
	}
	if (found != 2) return refused;
	info->cost = 1000;
	info->rows = 1000;
	return ok;
}

static int open(sqlite3_vtab *table, sqlite3_vtab_cursor **c) {
	cursor *new = sqlite3_malloc64(sizeof *new);
	if (new == NULL) return no_memory;
	memset(new, 0, sizeof *new);
	*c = &new->base;
	return ok;
}

static int close(sqlite3_vtab_cursor *c) {
	sqlite3_free(((cursor *)c)->rows);
	sqlite3_free(c);
	return ok;
}

static int wrong(cursor *c) {
	sqlite3_free(c->base.table->message);
	c->base.table->message = sqlite3_mprintf("dirpin_rows: these are not rows of %d values", c->width);
	return failed;
}

// next takes one row apart.
static int next(sqlite3_vtab_cursor *base) {
	cursor *c = (cursor *)base;
	const unsigned char *p = c->at, *end = c->end;
	if (p == end) {
		c->done = 1;
		return ok;
	}
	for (int i = 0; i < c->width; i++) {
		if (p == end) return wrong(c);
		switch (c->values[i].type = *p++) {
		case 'n':
			break;
		case 'i':
			if (end - p < 8) return wrong(c);
			memcpy(&c->values[i].number, p, 8);
			p += 8;
			break;
		case 't':
			if (end - p < 4) return wrong(c);
			memcpy(&c->values[i].size, p, 4);
			p += 4;
			if (c->values[i].size > end - p) return wrong(c);
			c->values[i].text = (const char *)p;
			p += c->values[i].size;
			break;
		default:
			return wrong(c);
		}
	}
	c->at = p;
	c->number++;
	return ok;
}

static int filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc, sqlite3_value **argv) {
	cursor *c = (cursor *)base;
	c->width = sqlite3_value_int(argv[1]);
	if (c->width < 1 || c->width > most) return wrong(c);
	const void *given = sqlite3_value_blob(argv[0]);
	int size = sqlite3_value_bytes(argv[0]);
	sqlite3_free(c->rows);
	if ((c->rows = sqlite3_malloc64((uint64_t)size + 1)) == NULL) return no_memory;
	if (size > 0) memcpy(c->rows, given, size);
	c->at = c->rows;
	c->end = c->rows + size;
	c->number = c->done = 0;
	return next(base);
}

static int eof(sqlite3_vtab_cursor *c) { return ((cursor *)c)->done; }

// column gives texts as they lie there: the copy stays until the cursor is
// closed, and a row is made of them before the next.
static int column(sqlite3_vtab_cursor *base, sqlite3_context *to, int i) {
	cursor *c = (cursor *)base;
	if (i >= c->width) return ok; // NULL
	if (c->values[i].type == 'i') sqlite3_result_int64(to, c->values[i].number);
	if (c->values[i].type == 't') sqlite3_result_text(to, c->values[i].text, (int)c->values[i].size, NULL);
	return ok;
}

static int rowid(sqlite3_vtab_cursor *c, int64_t *id) {
	*id = ((cursor *)c)->number;
	return ok;
}

static const sqlite3_module module = {
	.connect = connect, .best_index = best_index, .disconnect = disconnect,
	.open = open, .close = close, .filter = filter, .next = next, .eof = eof, .column = column, .rowid = rowid,
};

static int opened(sqlite3 *db, const char **message, const void *api) {
	return sqlite3_create_module_v2(db, "dirpin_rows", &module, NULL, NULL);
}

// dirpin_extend has every connection that is opened from now on know the
// function. Once is enough, more do no harm.
int dirpin_extend(void) {
#ifdef M_ARENA_MAX
	// SQLite's memory is asked for by whatever thread Go is on. Of glibc each
	// would get an arena of its own, and keep what others have freed.
	mallopt(M_ARENA_MAX, 1);
#endif
	return sqlite3_auto_extension((void (*)(void))opened);
}
