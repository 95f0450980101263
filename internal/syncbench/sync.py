# What an administrator would write: read everybody in pages, upsert them into
# a table, take away who is gone.
import sqlite3
import sys

import ldap
from ldap.controls import SimplePagedResultsControl

url, bind, password, base, path = sys.argv[1:]
names = ["entryUUID", "uid", "givenName", "middleName", "initials", "sn", "manager", "departmentNumber", "mail", "telephoneNumber", "preferredLanguage"]
db = sqlite3.connect(path)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE IF NOT EXISTS users (%s, dn TEXT, seen INTEGER, PRIMARY KEY (entryUUID))" % ", ".join(n + " TEXT" for n in names))
for n in ("uid", "sn", "givenName", "manager", "departmentNumber"):
    db.execute("CREATE INDEX IF NOT EXISTS users_%s ON users (%s)" % (n, n))
upsert = "INSERT INTO users VALUES (%s, ?, ?) ON CONFLICT (entryUUID) DO UPDATE SET %s, dn = excluded.dn, seen = excluded.seen" % (
    ", ".join("?" * len(names)), ", ".join("%s = excluded.%s" % (n, n) for n in names[1:]))
last = db.execute("SELECT coalesce(max(seen), 0) FROM users").fetchone()[0]
con = ldap.initialize(url)
con.simple_bind_s(bind, password)
page = SimplePagedResultsControl(True, size=1000, cookie="")
while True:
    msgid = con.search_ext(base, ldap.SCOPE_SUBTREE, "(objectClass=inetOrgPerson)", names, serverctrls=[page])
    _, data, _, controls = con.result3(msgid)
    rows = []
    for dn, attrs in data:
        rows.append([attrs[n][0].decode() if n in attrs else "" for n in names] + [dn, last + 1])
    db.executemany(upsert, rows)
    cookie = next(c.cookie for c in controls if c.controlType == SimplePagedResultsControl.controlType)
    if not cookie:
        break
    page.cookie = cookie
db.execute("DELETE FROM users WHERE seen <= ?", (last,))
db.commit()
