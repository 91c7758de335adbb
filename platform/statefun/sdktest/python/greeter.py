"""The greeter of the Go server beside, with StateFun's Python SDK."""
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from statefun import (
    IntType, RequestReplyHandler, StatefulFunctions, StringType, ValueSpec, egress_message_builder, message_builder,
)

functions = StatefulFunctions()


@functions.bind(typename="com.example/greeter", specs=[ValueSpec(name="seen", type=IntType)])
def greeter(ctx, message):
    name = message.as_string()
    if name == "later":
        ctx.send_after(timedelta(milliseconds=300), message_builder(
            target_typename="com.example/greeter", target_id=ctx.address.id, str_value="reminded"), "tok")
        return
    if name == "never":
        ctx.cancel_delayed_message("tok")
        return
    ctx.storage.seen = (ctx.storage.seen or 0) + 1
    text = f"{ctx.address.id} {name} {ctx.storage.seen}"
    ctx.send(message_builder(target_typename="com.example/inbox", target_id="all", str_value=text))
    if ctx.caller and ctx.caller.typename != ctx.address.typename:
        ctx.send(message_builder(target_typename=ctx.caller.typename, target_id=ctx.caller.id, str_value=text))


@functions.bind(typename="com.example/inbox", specs=[
    ValueSpec(name="count", type=IntType, expire_after_write=timedelta(hours=1))])
def inbox(ctx, message):
    ctx.storage.count = (ctx.storage.count or 0) + 1
    ctx.send_egress(egress_message_builder(
        target_typename="com.example/out", value=f"{ctx.storage.count}: {message.as_string()}", value_type=StringType))


handler = RequestReplyHandler(functions)


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        reply = handler.handle_sync(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
print(f"127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
