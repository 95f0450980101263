"""Holds dirpin's database against what the voicemail system saw (mailbox.py).

    checker.py DIR [--open] [--dirpin PROGRAM]

DIR has state/dirpin.db, state/reports, mail/, and events: what was done to
dirpin (kills, restores), a JSON object a line. It knows nothing of dirpin's
code, only its promises. --open: jobs may be unfinished. --dirpin: what is local
is verified by `dirpin verify`, with DIRPIN_CONFIG from the environment, since
hashes tell nobody what they are of. Prints each broken promise; exit 1 if there
are any.
"""
import argparse
import collections
import concurrent.futures
import csv
import glob
import json
import os
import sqlite3
import subprocess
import sys

CODES = {
    "updated": {"ok", "no-mailbox-committed"},
    "skipped": {"ldap-synced", "ldap-inactive", "protected", "superseded"},
    "flagged": {"ldap-synced", "ldap-inactive"},
    "failed": {"not-found", "unknown-user", "outside-scope", "no-value", "no-address", "too-short", "too-long", "not-digits",
               "trivial", "in-history", "contains-user-id", "voicemail-rejected", "voicemail-unreachable", "voicemail-timeout",
               "voicemail-denied", "voicemail-partial", "no-mailbox", "no-voicemail", "store"},
    "not-run": {"cancelled", "max-failures", "voicemail-denied", "held"},
}
DOUBT = ("voicemail-timeout", "voicemail-partial")
ENDED = {"done", "incomplete", "stopped", "cancelled", "superseded", "failed"}
RANK = {"failed": 5, "not-run": 4, "updated": 3, "flagged": 2, "skipped": 1}


class Request:
    """All attempts under one request id."""

    def __init__(self, first):
        self.id, self.user, self.pin = first["id"], first["user"], first["pin"]
        self.job, self.item, self.body, self.system = first["job"], first["item"], first["body"], first["system"]
        self.attempts = collections.OrderedDict()  # n -> events
        self.set_at = []

    def __str__(self):
        return "request %s (job %d item %d, %s)" % (self.id, self.job, self.item, self.user)

    def answered_otherwise(self, how):
        return any(e["event"] == how for a in self.attempts.values() for e in a)


class Checker:
    def __init__(self, folder, unfinished):
        self.dir, self.unfinished, self.broken = folder, unfinished, []
        self.db = sqlite3.connect("file:%s?mode=ro" % os.path.join(folder, "state", "dirpin.db"), uri=True)
        self.db.row_factory = sqlite3.Row
        self.db.execute("BEGIN")
        self.events = self.lines(os.path.join(folder, "events"))
        self.timeout = 1.0
        try:
            with open(os.path.join(folder, "faults")) as f:
                self.timeout = json.load(f).get("timeout", self.timeout)
        except FileNotFoundError:
            pass
        # Between a backup and its restore things happened that the database does not know.
        self.lost_times = [(e["backup"], e["t"]) for e in self.events if e["event"] == "restore"]
        self.cuts = [e["t"] for e in self.events if e["event"] in ("kill", "stop", "restore")]
        self.clock = [(e["t"], e["off"]) for e in self.events if e["event"] == "clock"]  # by how much it is wrong from then on
        self.jobs = {r["id"]: r for r in self.rows("SELECT * FROM jobs")}
        self.items = {(r["job"], r["seq"]): r for r in self.rows("SELECT * FROM items")}
        self.legs = {(r["job"], r["seq"], r["kind"]): r for r in self.rows("SELECT * FROM legs")}
        self.parts = collections.defaultdict(dict)  # of users with several systems
        for r in self.rows("SELECT * FROM parts"):
            self.parts[r["job"], r["seq"]][r["system"]] = r
        self.mode = None  # all or any, where every user has every system
        if os.path.exists(os.path.join(folder, "several")):
            with open(os.path.join(folder, "several")) as f:
                self.mode = f.read().strip()
        self.by_user = {(r["job"], r["user_ref"]): r for r in self.items.values()}
        self.users = {r["id"]: r for r in self.rows("SELECT * FROM users")}
        self.requests, self.mail = {}, collections.defaultdict(list)
        for path in sorted(glob.glob(os.path.join(folder, "mail", "*.jsonl"))):
            self.read_mail(path)
        self.fresh = collections.defaultdict(dict)  # by item and system
        for r in self.requests.values():
            if not self.unknown_to_db(r):
                self.fresh[r.job, r.item][r.system] = r

    def fail(self, text, *args):
        self.broken.append(text % args)

    def rows(self, query):
        return self.db.execute(query).fetchall()

    @staticmethod
    def lines(path):
        if not os.path.exists(path):
            return []
        with open(path) as f:
            # A hook was killed while it wrote the last line, if that has no end
            # (mailbox.py: lock).
            return [json.loads(line) for line in f if line.endswith("\n")]

    def read_mail(self, path):
        """One request id is one user, one value, one body; no two requests of a user at once."""
        owner = os.path.basename(path)[:-len(".jsonl")]
        attempts = collections.OrderedDict()
        for e in self.lines(path):
            self.mail[owner].append(e)
            if e["event"] == "received":
                r = self.requests.get(e["id"])
                if r is None:
                    r = self.requests[e["id"]] = Request(e)
                for what in ("user", "pin", "job", "item", "body", "system"):
                    if getattr(r, what) != e[what]:
                        self.fail("%s: came with another %s in a later attempt", r, what)
                if owner not in (e["user"], "%s@%s" % (e["user"], e["system"])):
                    self.fail("%s stands in the mailbox of %s", r, owner)
            r = self.requests[e["id"]]
            r.attempts.setdefault(e["n"], []).append(e)
            attempts.setdefault(e["n"], []).append(e)
            if e["event"] == "set":
                r.set_at.append(e["t"])
        spans = sorted((a[0]["t"], a[-1]["t"], a[0]["id"]) for a in attempts.values())
        for i, (_, end, one) in enumerate(spans):
            for begin, _, other in spans[i + 1:]:
                if begin < end - 0.005 and one != other and not self.between_backups(begin):
                    self.fail("%s: request %s came while %s was being carried out", owner, other, one)

    def true_time(self, written):
        """When something was written, whatever the clock showed: it is never wrong by less than the test takes."""
        t = written / 1000
        for i, (since, off) in enumerate(self.clock):
            until = self.clock[i + 1][0] if i + 1 < len(self.clock) else float("inf")
            if since - 1 <= t - off <= until + 1:
                return t - off
        return t

    def between_backups(self, t):
        return any(a <= t <= b for a, b in self.lost_times)

    def unknown_to_db(self, r):
        """Sent by a database that was thrown away since."""
        return all(self.between_backups(a[0]["t"]) for a in r.attempts.values())

    def cut_between(self, a, b):
        return any(a <= t <= b for t in self.cuts)

    # What the database says of itself.

    def check_jobs(self):
        for j in self.jobs.values():
            items = [i for i in self.items.values() if i["job"] == j["id"]]
            name = "job %d" % j["id"]
            counts = collections.Counter(i["result"] for i in items if i["state"] == "final")
            uncertain = sum(1 for i in items if i["state"] == "final" and i["result"] == "failed" and (i["code"].endswith("-timeout") or i["code"] == "voicemail-partial"))
            want = (len(items), counts["updated"], counts["skipped"], counts["flagged"], counts["failed"], counts["not-run"], uncertain)
            got = tuple(j[c] for c in ("selected", "updated", "skipped", "flagged", "failed", "not_run", "uncertain"))
            if want != got:
                self.fail("%s: the counts are %s, and its items add up to %s", name, got, want)
            refs = [i["user_ref"] for i in items if i["user_ref"] is not None]
            if len(refs) != len(set(refs)):
                self.fail("%s: a user has several items", name)
            if j["stage"] == "closed" or not self.unfinished:
                self.check_ended(j, items)
        for i in self.items.values():
            self.check_item(i)

    def check_ended(self, j, items):
        name = "job %d (%s, %s)" % (j["id"], j["state"], j["stage"])
        if j["state"] not in ENDED or j["stage"] != "closed":
            self.fail("%s has not ended", name)
            return
        for i in items:
            if i["state"] != "final":
                self.fail("%s: item %d of %s has no result", name, i["seq"], i["user_id"])
        bad = [i for i in items if i["result"] in ("failed", "not-run")]
        if j["state"] == "done" and bad:
            self.fail("%s: %d users failed or were not run", name, len(bad))
        if not bad and j["job_key"] is not None:
            self.fail("%s: nothing can be tried again, and its values were not forgotten", name)
        self.check_report(j, items)

    def check_report(self, j, items):
        path = os.path.join(j["report"], "results.csv")
        try:
            with open(path, newline="") as f:
                rows = [(r["user_id"], r["result"], r["code"]) for r in csv.DictReader(f)]
            with open(os.path.join(j["report"], "report.json")) as f:
                counts = json.load(f)["counts"]
        except OSError as e:
            self.fail("job %d: its report: %s", j["id"], e)
            return
        want = sorted((i["user_id"], i["result"], i["code"]) for i in items)
        if sorted(rows) != want:
            self.fail("job %d: its report says otherwise than the database", j["id"])
        for c, n in counts.items():
            if j[c] != n:
                self.fail("job %d: report.json counts %d %s, the database %d", j["id"], n, c, j[c])

    def check_item(self, i):
        name = "job %d item %d (%s)" % (i["job"], i["seq"], i["user_id"])
        legs = [l for l in (self.legs.get((i["job"], i["seq"], k)) for k in ("pin", "password")) if l is not None]
        if i["state"] != "final":
            if i["result"] or i["code"]:
                self.fail("%s has a result and goes on", name)
            return
        if i["code"] not in CODES.get(i["result"], ()):
            self.fail("%s: %r with code %r", name, i["result"], i["code"])
            return
        for l in legs:
            if l["state"] != "final" or l["code"] not in CODES.get(l["result"], ()):
                self.fail("%s: its %s is %s %r %r", name, l["kind"], l["state"], l["result"], l["code"])
                return
        best = max(legs, key=lambda l: (RANK[l["result"]], l["kind"] == "pin"))
        if (best["result"], best["code"]) != (i["result"], i["code"]):
            self.fail("%s: %s %s, and its legs say %s %s", name, i["result"], i["code"], best["result"], best["code"])

    def check_rest(self):
        if self.unfinished:
            return
        for table, where in (("journal", "until = 0"), ("owners", "1"), ("batches", "owner <> '' OR state <> 'done'"), ("jobs", "owner <> ''")):
            n = self.rows("SELECT count(*) AS n FROM %s WHERE %s" % (table, where))[0]["n"]
            # Batches of jobs that ended before all were worked on stay as they were.
            if table == "batches":
                n = self.rows("SELECT count(*) AS n FROM batches WHERE owner <> ''")[0]["n"]
            if n:
                self.fail("%s: %d rows are left", table, n)

    # What the voicemail system saw.

    def last_of(self, r):
        """The leg in which a request's story ends: retries of an uncertain one carry the request on."""
        key = (r.job, r.item)
        while True:
            item, leg = self.items.get(key), self.legs.get((*key, "pin"))
            if item is None or leg is None:
                return item, leg
            after = self.by_user.get((item["retried_by"], item["user_ref"])) if item["retried_by"] else None
            # A retry that was not opened yet has no items; one that draws anew has a request of its own.
            if after is None or leg["code"] not in DOUBT or r.system in self.fresh.get((after["job"], after["seq"]), ()):
                return item, leg
            key = (after["job"], after["seq"])

    def request_of(self, item):
        """The request by which a leg was pushed: its own, or one that a retry carried on."""
        return next(iter(self.requests_of(item).values()), None)

    def requests_of(self, item):
        """The same, by system."""
        found, seen = {}, item
        while seen is not None and not (found and self.mode is None):
            for system, r in self.fresh.get((seen["job"], seen["seq"]), {}).items():
                found.setdefault(system, r)
            seen = next((i for i in self.items.values() if i["retried_by"] == seen["job"] and i["user_ref"] == item["user_ref"]), None)
        return found

    def doubtful(self, r, until):
        """Tells whether dirpin may have missed an answer to the request."""
        for a in r.attempts.values():
            spent = a[-1]["t"] - a[0]["t"]
            if not any(e["event"] == "answered" for e in a) or spent > self.timeout / 2:
                return True
        first = min(a[0]["t"] for a in r.attempts.values())
        return self.cut_between(first - 60, until)

    def check_requests(self):
        for r in self.requests.values():
            if self.unknown_to_db(r):
                continue
            item, leg = self.last_of(r)
            if leg is None:
                self.fail("%s is of no item in the database", r)
                continue
            if item["user_id"] != r.user:
                self.fail("%s: the item is of %s", r, item["user_id"])
            if leg["state"] != "final":
                continue
            sets = [t for t in r.set_at if not self.between_backups(t)]
            where = "job %d item %d" % (item["job"], item["seq"])
            part = self.parts[item["job"], item["seq"]].get(r.system)
            if part is not None and part["code"] == "" and (r.job, r.item) == (item["job"], item["seq"]):
                self.fail("%s was sent, and %s says that %s was not asked", r, where, r.system)
            if sets and leg["result"] != "updated" and leg["code"] not in DOUBT + ("superseded",):
                self.fail("%s was carried out, and %s says %s %s", r, where, leg["result"], leg["code"])

    def check_legs(self):
        for (job, seq, kind), leg in self.legs.items():
            if kind != "pin" or leg["state"] != "final":
                continue
            item = self.items[(job, seq)]
            at = self.true_time(item["at"]) if item["state"] == "final" else float("inf")
            name = "job %d item %d (%s)" % (job, seq, item["user_id"])
            r = self.request_of(item)
            if self.mode is not None:
                self.check_several(name, item, leg, at)
            elif (leg["result"], leg["code"]) == ("updated", "ok"):
                if r is None or not r.set_at:
                    self.fail("%s was updated, and no such request was carried out", name)
                elif min(r.set_at) > at + 0.005:
                    self.fail("%s was updated %.3f s before the mailbox was", name, min(r.set_at) - at)
            elif leg["code"] == "no-mailbox-committed" and not item["user_id"].startswith("nobox"):
                self.fail("%s has a mailbox", name)
            elif leg["code"] == "voicemail-timeout" and leg["lost"] < 1 and "restored" not in item["detail"]:
                self.fail("%s is uncertain without a lost attempt", name)
            elif leg["code"] == "voicemail-timeout":
                created = self.true_time(self.jobs[job]["created"])
                if not self.cut_between(created, at) and not self.inherits_doubt(item) and (r is None or not self.doubtful(r, at)):
                    self.fail("%s is uncertain, and every attempt was answered", name)
            elif leg["code"] == "superseded" and not self.newer(item, kind):
                self.fail("%s is superseded, and no later job has changed the user", name)

    def check_several(self, name, item, leg, at):
        """What is promised of users who have several systems."""
        found, parts = self.requests_of(item), self.parts[item["job"], item["seq"]]
        carried_out = [r for r in found.values() if r.set_at and min(r.set_at) <= at + 0.005]
        restored = "restored" in item["detail"]
        for system, p in parts.items():
            if p["state"] != "final":
                self.fail("%s has a result, and not at %s", name, system)
            if (p["result"], p["code"]) == ("updated", "ok") and found.get(system) not in carried_out and not restored:
                self.fail("%s was accepted by %s, which never did it", name, system)
        if (leg["result"], leg["code"]) == ("updated", "ok"):
            if self.mode == "any" and not carried_out or self.mode == "all" and len(carried_out) < 2 and not item["user_id"].startswith("nobox"):
                self.fail("%s was updated, and was carried out at %s only", name, [r.system for r in carried_out])
        elif leg["code"] == "voicemail-partial":
            if not restored and not any(p["code"] == "ok" for p in parts.values()):
                self.fail("%s is left in between, and nobody has accepted it", name)
        elif leg["code"] == "voicemail-timeout":
            if leg["lost"] < 1 and not restored and not any(p["lost"] > 0 or self.overtaken(p, item) for p in parts.values()):
                self.fail("%s is uncertain without a lost attempt", name)
        elif leg["code"] == "superseded" and not self.newer(item, "pin"):
            self.fail("%s is superseded, and no later job has changed the user", name)

    def inherits_doubt(self, item):
        """A retry that ends the doubt of the job before only by an acceptance."""
        return any(i["retried_by"] == item["job"] and i["user_ref"] == item["user_ref"] and self.legs[(i["job"], i["seq"], "pin")]["code"] == "voicemail-timeout"
                   for i in self.items.values() if (i["job"], i["seq"], "pin") in self.legs)

    def origin(self, job):
        return self.jobs[job]["origin"] or job

    def newer(self, item, kind):
        return any(i["user_ref"] == item["user_ref"] and i["job"] > self.origin(item["job"]) and l["kind"] == kind and l["result"] == "updated"
                   for i, l in ((self.items[k[:2]], l) for k, l in self.legs.items()))

    def check_mailboxes(self):
        """What is local is what the mailbox has, unless the database says that it does not know."""
        local = {}
        for c in self.rows("SELECT * FROM credentials WHERE kind = 'pin' AND hash <> '' AND job <> 0"):
            user = self.users[c["user_ref"]]["user_id"]
            item = self.by_user.get((c["job"], c["user_ref"]))
            leg = item and self.legs.get((item["job"], item["seq"], "pin"))
            if leg is None or leg["result"] != "updated":
                self.fail("%s: the local PIN is of job %d, which did not update it", user, c["job"])
                continue
            if leg["code"] == "no-mailbox-committed":
                continue
            r = self.request_of(item)
            if r is not None:
                local[user] = r
        for box, events in self.mail.items():
            user, _, system = box.partition("@")
            sets = [e for e in events if e["event"] == "set"]
            if not sets:
                continue
            last = self.requests[sets[-1]["id"]]
            mine = local.get(user)
            if mine is not None and mine.pin == last.pin or self.between_backups(sets[-1]["t"]) or self.unknown_to_db(last):
                continue
            item, leg = self.last_of(last)
            if leg is not None and (leg["state"] != "final" or leg["code"] in DOUBT):
                continue
            if self.mode == "any" and not self.accepted_at(mine, system):
                continue  # it keeps what it had
            self.fail("%s: the mailbox has the PIN of %s, which ended %s; the local one is of %s", user, last, leg and leg["code"], mine)
        return {user: r.pin for user, r in local.items()}

    def overtaken(self, part, item):
        """Tells whether a system was sent another request since it had accepted that of a part."""
        r = self.requests.get(part["request_id"])
        if r is None or not r.set_at:
            return False
        box = self.mail["%s@%s" % (r.user, r.system)]
        return any(e["event"] == "received" and e["id"] != r.id and min(r.set_at) < e["t"] <= item["at"] / 1000 for e in box)

    def accepted_at(self, mine, system):
        """Tells whether the PIN that is local was accepted by a system."""
        if mine is None:
            return False
        item, _ = self.last_of(mine)
        part = item and self.parts[item["job"], item["seq"]].get(system)
        return part is not None and part["code"] == "ok"

    # What dirpin verifies.

    def verify(self, program, pins):
        def one(job):
            kind, user, value = job
            p = subprocess.run([program, "verify", user, "--" + kind], input=value.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            return kind, user, p.returncode, p.stdout.decode()
        todo = [("pin", user, pin) for user, pin in pins.items()] + self.passwords()
        self.db.close()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for kind, user, code, out in pool.map(one, todo):
                if code != 0:
                    self.fail("%s: the local %s is not the one that was accepted or given: exit %d %s", user, kind, code, out.strip())
        return len(todo)

    def passwords(self):
        """Passwords that jobs were given for everyone, or by a csv."""
        given = {e["name"]: e for e in self.events if e["event"] == "job"}
        todo = []
        for c in self.rows("SELECT * FROM credentials WHERE kind = 'password' AND hash <> '' AND job <> 0"):
            user = self.users[c["user_ref"]]["user_id"]
            spec = given.get(self.jobs[c["job"]]["name"], {}).get("password")
            value = spec.get(user) if isinstance(spec, dict) else spec
            if value:
                todo.append(("password", user, value))
        return todo

    def check_values(self):
        """Nobody was sent the value of somebody else."""
        given = {e["name"]: e for e in self.events if e["event"] == "job"}
        for r in self.requests.values():
            job = self.jobs.get(r.job)
            spec = given.get(job["name"], {}).get("pin") if job is not None and not self.unknown_to_db(r) else None
            want = spec.get(r.user) if isinstance(spec, dict) else spec
            if want is not None and want != r.pin:
                self.fail("%s has another value than was given for the user", r)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dir")
    p.add_argument("--open", action="store_true", help="jobs may be unfinished")
    p.add_argument("--dirpin", metavar="PROGRAM", help="verify what is local with it")
    o = p.parse_args()
    c = Checker(o.dir, o.open)
    c.check_jobs()
    c.check_rest()
    c.check_values()
    c.check_requests()
    c.check_legs()
    pins = c.check_mailboxes()
    verified = c.verify(o.dirpin, pins) if o.dirpin else 0
    for line in c.broken:
        print(line)
    codes = collections.Counter(i["code"] or "open" for i in c.items.values())
    print("%d jobs, %d items, %d requests in %d attempts, %d values verified, %d promises broken; %s" % (
        len(c.jobs), len(c.items), len(c.requests), sum(len(r.attempts) for r in c.requests.values()), verified, len(c.broken),
        ", ".join("%s %d" % kv for kv in codes.most_common())), file=sys.stderr)
    return 1 if c.broken else 0


if __name__ == "__main__":
    sys.exit(main())
