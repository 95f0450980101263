"""A mail server (aiosmtpd, from Debian) with faults: what becomes of a message
is said by its recipient. It writes every message that it took over into a file.

    refused@…   550 to RCPT
    grey@…      451 to RCPT, until the second time
    full@…      552 to the message
    cut@…       takes the message over, and ends the connection instead of saying
                so, until the second time
    slow@…      takes the message over after a second
"""
import argparse, asyncio, json, os, ssl, time
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

p = argparse.ArgumentParser()
p.add_argument("--port", type=int, required=True)
p.add_argument("--dir", required=True)
p.add_argument("--tls", choices=["none", "starttls", "implicit"], required=True)
p.add_argument("--cert")
p.add_argument("--key")
p.add_argument("--login")
o = p.parse_args()
seen, count = {}, 0


def times(address):
    seen[address] = seen.get(address, 0) + 1
    return seen[address]


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        kind = address.split("@")[0]
        if kind == "refused":
            return "550 5.1.1 no such user"
        if kind == "grey" and times(address) < 2:
            return "451 4.7.1 greylisted, come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        global count
        to = envelope.rcpt_tos[0]
        kind = to.split("@")[0]
        if kind == "full":
            return "552 5.2.2 mailbox full"
        if kind == "slow":
            await asyncio.sleep(1)
        count += 1
        name = os.path.join(o.dir, "%06d.json" % count)
        with open(name + ".tmp", "w") as f:
            json.dump({"to": to, "from": envelope.mail_from, "tls": session.ssl is not None or o.tls == "implicit",
                       "login": session.authenticated, "message": envelope.content.decode("utf-8", "replace")}, f)
        os.rename(name + ".tmp", name)
        if kind == "cut" and times(to) < 2:
            server.transport.abort()
            return "250 never said"
        return "250 OK"


def login(server, session, envelope, mechanism, data):
    ok = isinstance(data, LoginPassword) and data.login + b":" + data.password == o.login.encode()
    return AuthResult(success=ok, handled=False)


async def main():
    context = None
    if o.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(o.cert, o.key)

    def factory():
        kw = {}
        if o.login:
            kw = dict(authenticator=login, auth_required=True, auth_require_tls=o.tls == "starttls")
        return SMTP(Handler(), hostname="localhost", enable_SMTPUTF8=True,
                    tls_context=context if o.tls == "starttls" else None, require_starttls=o.tls == "starttls", **kw)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", o.port, ssl=context if o.tls == "implicit" else None)
    await server.serve_forever()

asyncio.run(main())
