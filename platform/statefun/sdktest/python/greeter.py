"""A server of functions with the unchanged Python SDK: the same as in ../go."""
import sys
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from statefun import (BoolType, DoubleType, FloatType, IntType, LongType, RequestReplyHandler, StatefulFunctions,
                      StringType, ValueSpec, egress_message_builder, kafka_egress_message, kinesis_egress_message,
                      make_json_type, message_builder)

GREETER, INBOX, OUT = "com.example/greeter", "com.example/inbox", "com.example/out"
UserType = make_json_type("com.example/User")

functions = StatefulFunctions()


@functions.bind(GREETER, specs=[ValueSpec("seen", IntType)])
def greeter(ctx, message):
    name = message.as_string()

    def reminder(text):
        return message_builder(GREETER, ctx.address.id, str_value=text)

    if name == "later":
        ctx.send_after(timedelta(milliseconds=300), reminder("reminded"), "tok")
    elif name == "never":
        ctx.cancel_delayed_message("tok")
    elif name == "again":
        ctx.send_after(timedelta(seconds=1), reminder("first"), "tok")
        ctx.send_after(timedelta(seconds=2), reminder("second"))
        ctx.cancel_delayed_message("tok")
    elif name == "forget":
        del ctx.storage.seen
    elif name == "record":
        ctx.send_egress(kafka_egress_message(OUT, "greets", "v", key="k"))
        ctx.send_egress(kinesis_egress_message(OUT, "greets", "v", "k"))
    elif name == "nothing":
        pass
    elif name == "fail":
        raise RuntimeError("told to fail")
    else:
        seen = (ctx.storage.seen or 0) + 1
        ctx.storage.seen = seen
        text = f"{ctx.address.id} {name} {seen}"
        ctx.send(message_builder(INBOX, "all", str_value=text))
        if ctx.caller and ctx.caller.typename != GREETER:
            ctx.send(message_builder(ctx.caller.typename, ctx.caller.id, str_value=text))


@functions.bind(INBOX, specs=[ValueSpec("count", IntType, expire_after_write=timedelta(hours=1))])
def inbox(ctx, message):
    ctx.storage.count = (ctx.storage.count or 0) + 1
    ctx.send_egress(egress_message_builder(OUT, f"{ctx.storage.count}: {message.as_string()}", StringType))


TYPES = {"bool": BoolType, "int": IntType, "long": LongType, "float": FloatType, "double": DoubleType,
         "string": StringType, "user": UserType}


@functions.bind("com.example/types", specs=[
    ValueSpec(name, kind, expire_after_call=timedelta(minutes=1) if name == "string" else None)
    for name, kind in TYPES.items()])
def types(ctx, message):
    for name, kind in TYPES.items():
        if message.is_type(kind):
            value = message.as_type(kind)
            setattr(ctx.storage, name, value)
            ctx.send(message_builder(INBOX, "types", value=value, value_type=kind))


handler = RequestReplyHandler(functions)


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            status, reply = 200, handler.handle_sync(body)
        except Exception as e:  # what web frameworks do
            status, reply = 500, str(e).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
print("127.0.0.1:%d" % server.server_port)  # the test reads where it listens
sys.stdout.flush()
server.serve_forever()
