// The SQL function dirpin_insert(statement, rows): many rows in one call from
// Go. A call costs as much as a handful of values, and a user has thirty.
//
// The rows are the values of all parameters one behind another, as rows.go
// writes them. The functions of SQLite are those of the driver's copy, which
// has no header that another package could find; their form never changes.

#include <stdint.h>
#include <string.h>

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_value sqlite3_value;

int sqlite3_auto_extension(void (*)(void));
int sqlite3_create_function_v2(sqlite3 *, const char *, int, int, void *,
	void (*)(sqlite3_context *, int, sqlite3_value **), void (*)(sqlite3_context *, int, sqlite3_value **),
	void (*)(sqlite3_context *), void (*)(void *));
sqlite3 *sqlite3_context_db_handle(sqlite3_context *);
const void *sqlite3_value_blob(sqlite3_value *);
const unsigned char *sqlite3_value_text(sqlite3_value *);
int sqlite3_value_bytes(sqlite3_value *);
void sqlite3_result_int64(sqlite3_context *, int64_t);
void sqlite3_result_error(sqlite3_context *, const char *, int);
void sqlite3_result_error_code(sqlite3_context *, int);
int sqlite3_prepare_v2(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
int sqlite3_bind_parameter_count(sqlite3_stmt *);
int sqlite3_bind_null(sqlite3_stmt *, int);
int sqlite3_bind_int64(sqlite3_stmt *, int, int64_t);
int sqlite3_bind_text(sqlite3_stmt *, int, const char *, int, void (*)(void *));
int sqlite3_step(sqlite3_stmt *);
int sqlite3_reset(sqlite3_stmt *);
int sqlite3_finalize(sqlite3_stmt *);
int sqlite3_extended_errcode(sqlite3 *);
const char *sqlite3_errmsg(sqlite3 *);

enum { ok = 0, misuse = 21, done = 101, utf8 = 1, directonly = 0x80000 };

// bind gives the statement one row and returns where the next begins, or NULL
// when the rows are not what they should be.
static const unsigned char *bind(sqlite3_stmt *st, int n, const unsigned char *p, const unsigned char *end) {
	for (int i = 1; i <= n; i++) {
		int64_t number;
		uint32_t size;
		int rc;
		if (p == end) return NULL;
		switch (*p++) {
		case 'n':
			rc = sqlite3_bind_null(st, i);
			break;
		case 'i':
			if (end - p < 8) return NULL;
			memcpy(&number, p, 8);
			p += 8;
			rc = sqlite3_bind_int64(st, i, number);
			break;
		case 't':
			if (end - p < 4) return NULL;
			memcpy(&size, p, 4);
			p += 4;
			if (size > end - p) return NULL;
			rc = sqlite3_bind_text(st, i, (const char *)p, (int)size, NULL); // stays until the last step
			p += size;
			break;
		default:
			return NULL;
		}
		if (rc != ok) return NULL;
	}
	return p;
}

static void insert(sqlite3_context *c, int argc, sqlite3_value **argv) {
	sqlite3 *db = sqlite3_context_db_handle(c);
	const char *sql = (const char *)sqlite3_value_text(argv[0]);
	const unsigned char *p = sqlite3_value_blob(argv[1]), *end = p + sqlite3_value_bytes(argv[1]);
	sqlite3_stmt *st = NULL;
	int64_t rows = 0;
	int rc = sql ? sqlite3_prepare_v2(db, sql, -1, &st, NULL) : misuse;
	int n = st ? sqlite3_bind_parameter_count(st) : 0;
	if (rc == ok && n == 0) rc = misuse;
	while (rc == ok && p < end) {
		p = bind(st, n, p, end);
		if (p == NULL) {
			rc = misuse;
		} else if (sqlite3_step(st) != done) {
			rc = sqlite3_extended_errcode(db);
		} else {
			rc = sqlite3_reset(st);
			rows++;
		}
	}
	if (rc == ok) {
		sqlite3_result_int64(c, rows);
	} else {
		sqlite3_result_error(c, rc == misuse ? "dirpin_insert: not a statement and rows of it" : sqlite3_errmsg(db), -1);
		sqlite3_result_error_code(c, rc);
	}
	sqlite3_finalize(st);
}

static int opened(sqlite3 *db, const char **message, const void *api) {
	return sqlite3_create_function_v2(db, "dirpin_insert", 2, utf8 | directonly, NULL, insert, NULL, NULL, NULL);
}

// dirpin_extend has every connection that is opened from now on know the
// function. Once is enough, more do no harm.
int dirpin_extend(void) { return sqlite3_auto_extension((void (*)(void))opened); }
