"""The http hook of mailbox.py."""
import http.server
import json
import os
import random
import sys
import time

from mailbox import Attempt, Mailboxes


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        boxes = Mailboxes(self.server.folder)
        a = Attempt(boxes, raw, "http")
        if a.request["operation"] == "check":
            return self.say(200, {"request_id": a.request["request_id"], "result": "accepted"})
        assert self.headers["Idempotency-Key"] == a.request["request_id"]
        fault = boxes.fate(("lost-before", "lost-after", "late", "500-before", "500-after", "408-after", "foreign-after", "cut-after",
                            "html-before", "busy", "early", "reject", "denied", "slow"))
        a.received(fault)
        if fault.endswith("-after"):
            a.carry_out()
        if fault.startswith("lost"):
            return self.hang_up()
        if fault == "late":  # it lay in a queue: carried out when nobody waits for it any more
            time.sleep(random.uniform(1.1, 1.9) * boxes.timeout)
            a.carry_out()
            return self.hang_up()
        if fault.startswith("500"):
            return self.say(500, None, b"something broke")
        if fault == "408-after":
            return self.say(408, None, b"too slow")
        if fault == "foreign-after":
            return self.say(200, {"request_id": "00000000-0000-4000-8000-000000000000", "result": "accepted"})
        if fault == "cut-after":
            return self.say(200, None, b'{"result":"acc', "application/json")
        if fault == "html-before":
            return self.say(200, None, b"<!DOCTYPE html><html><body>Please log in</body></html>", "text/html")
        if fault == "busy":
            a.note("answered", answer="busy")
            return self.say(429, None, b"later", headers={"Retry-After": "1"})
        if fault == "early":
            a.note("answered", answer="early")
            return self.say(425, None, b"later")
        if fault == "reject":
            return self.say(422, a.answered({"result": "rejected", "message": "not this one"}))
        if fault == "denied":
            a.note("answered", answer="denied")
            return self.say(401, None, b"who are you")
        if fault == "slow":
            time.sleep(0.3 * boxes.timeout)
        return self.say(200, a.answered(a.carry_out()))

    def hang_up(self):
        self.close_connection = True
        self.connection.close()

    def say(self, status, answer, body=b"", kind="text/plain", headers={}):
        if answer is not None:
            body, kind = json.dumps(answer).encode(), "application/json"
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # dirpin was killed


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, address):
        kind, err, _ = sys.exc_info()
        if not isinstance(err, (ConnectionError, ValueError)):  # of connections that were cut
            super().handle_error(request, address)


def serve(folder):
    server = Server(("127.0.0.1", 0), Web)
    server.folder = folder
    path = os.path.join(folder, "port")
    with open(path + ".tmp", "w") as f:
        f.write(str(server.server_port))
    os.rename(path + ".tmp", path)
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
