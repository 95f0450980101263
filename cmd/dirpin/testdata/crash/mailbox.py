"""A voicemail system with everything that can go wrong on the way to it.

    mailbox.py DIR   an exec hook: one request on stdin
    web.py DIR       an http hook on a free port, which it writes to DIR/port

Every mailbox is a file, DIR/mail/USER.jsonl, in which each thing that happened
to it is a line: what was received, whether the PIN was set, what was answered.
checker.py holds the database against it. Where DIR/several is there every
system has mailboxes of its own, DIR/mail/USER@SYSTEM.jsonl.

A mailbox refuses its last PINs (in-history). With "idempotent" a request that
was carried out before is accepted again without effect. Users whose id begins
with nobox have none.

DIR/faults, read at each request, says how likely each fault is, beside
"idempotent" and "timeout" (that of dirpin, in seconds). The names say what is
done: -before and -after tell whether the PIN is set when the answer is lost.
"""
import fcntl
import hashlib
import json
import os
import random
import signal
import sys
import time

HISTORY = 4


class Mailboxes:
    def __init__(self, folder):
        self.folder = folder
        self.mail = os.path.join(folder, "mail")
        os.makedirs(self.mail, exist_ok=True)
        try:
            with open(os.path.join(folder, "faults")) as f:
                self.faults = json.load(f)
        except FileNotFoundError:
            self.faults = {}
        self.timeout = self.faults.get("timeout", 1)

    def fate(self, known):
        r = random.random()
        for name in known:
            r -= self.faults.get(name, 0)
            if r < 0:
                return name
        return "none"


class Attempt:
    """One request as it was received."""

    def __init__(self, boxes, raw, kind):
        self.boxes = boxes
        self.request = json.loads(raw)
        self.user = (self.request.get("user") or {}).get("user_id", "")
        self.n = "%s-%012x" % (kind, random.getrandbits(48))
        several = os.path.exists(os.path.join(boxes.folder, "several"))
        self.box = "%s@%s" % (self.user, self.request.get("voicemail")) if several else self.user
        self.digest = hashlib.sha256(raw).hexdigest()

    def note(self, event, **more):
        line = dict(t=time.time(), n=self.n, id=self.request["request_id"], event=event, **more)
        with self.lock() as f:
            self.write(f, line)

    def lock(self):
        f = open(os.path.join(self.boxes.mail, self.box + ".jsonl"), "ab+", buffering=0)
        fcntl.flock(f, fcntl.LOCK_EX)
        # A hook that was killed at the end of a page has written half a line: of
        # that the mailbox knows nothing.
        f.seek(0)
        whole = f.read()
        f.truncate(whole.rfind(b"\n") + 1)
        return f

    def write(self, f, line):
        f.write(json.dumps(line).encode() + b"\n")

    def received(self, fault):
        r = self.request
        self.note("received", fault=fault, pin=r["pin"], job=r["job"], item=r["item"], system=r["voicemail"], user=self.user, body=self.digest)

    def carry_out(self):
        """Sets the PIN if the mailbox lets it, and returns the answer."""
        if self.user.startswith("nobox"):
            return {"result": "no-mailbox"}
        me, pin = self.request["request_id"], self.request["pin"]
        with self.lock() as f:
            f.seek(0)
            set_ = [l for l in map(json.loads, f.read().splitlines()) if l["event"] == "set"]
            event, answer = "set", {"result": "accepted"}
            if self.boxes.faults.get("idempotent", True) and any(l["id"] == me for l in set_):
                event = "again"
            elif pin in [l["pin"] for l in set_][-HISTORY:]:
                event, answer = "history", {"result": "rejected", "reason": "in-history", "message": "used before"}
            self.write(f, dict(t=time.time(), n=self.n, id=me, event=event, pin=pin))
        return answer

    def answered(self, answer):
        self.note("answered", answer=answer.get("result"))
        return dict(answer, request_id=self.request["request_id"])


def hook(folder):
    raw = sys.stdin.buffer.read()
    boxes = Mailboxes(folder)
    a = Attempt(boxes, raw, "exec")
    if a.request["operation"] == "check":
        return 0
    fault = boxes.fate(("lost-before", "lost-after", "signal-before", "signal-after", "hang-before", "hang-after", "foreign-after",
                        "busy", "unreachable", "reject", "denied", "slow"))
    a.received(fault)
    if fault.endswith("-after"):
        a.carry_out()
    what = fault.rsplit("-", 1)[0]
    if what == "lost":
        return 1
    if what == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(60)
    if what == "foreign":
        print(json.dumps({"request_id": "00000000-0000-4000-8000-000000000000", "result": "accepted"}))
        return 0
    for name, code in (("busy", 75), ("unreachable", 69), ("reject", 65), ("denied", 77)):
        if fault == name:
            a.note("answered", answer=name)
            return code
    if fault == "slow":
        time.sleep(0.3 * boxes.timeout)
    answer = a.answered(a.carry_out())
    if answer["result"] == "no-mailbox":
        return 67
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(hook(sys.argv[1]))
