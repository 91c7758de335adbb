// The greeter of the Go server beside, with StateFun's JavaScript SDK.
const http = require("http");
const { StateFun, Message, EgressMessage, messageBuilder, egressMessageBuilder } = require("apache-flink-statefun");

const statefun = new StateFun();

statefun.bind({
    typename: "com.example/greeter",
    specs: [{ name: "seen", type: StateFun.intType() }],
    fn(context, message) {
        const name = message.asString();
        const self = context.self;
        if (name === "later") {
            context.sendAfter(300, messageBuilder({ typename: "com.example/greeter", id: self.id, value: "reminded" }), "tok");
            return;
        }
        if (name === "never") {
            context.cancelDelayedMessage("tok");
            return;
        }
        context.storage.seen = (context.storage.seen || 0) + 1;
        const text = `${self.id} ${name} ${context.storage.seen}`;
        context.send(messageBuilder({ typename: "com.example/inbox", id: "all", value: text }));
        const caller = context.caller;
        if (caller && caller.typename !== self.typename) {
            context.send(messageBuilder({ typename: caller.typename, id: caller.id, value: text }));
        }
    },
});

statefun.bind({
    typename: "com.example/inbox",
    specs: [{ name: "count", type: StateFun.intType(), expireAfterWrite: 3600 * 1000 }],
    fn(context, message) {
        context.storage.count = (context.storage.count || 0) + 1;
        context.send(egressMessageBuilder({ typename: "com.example/out", value: `${context.storage.count}: ${message.asString()}`, valueType: StateFun.stringType() }));
    },
});

const server = http.createServer(statefun.handler());
server.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`));
