// A server of functions with the unchanged JavaScript SDK: the same as in ../go.
"use strict";

const http = require("http");
const {
    StateFun, egressMessageBuilder, kafkaEgressMessage, kinesisEgressMessage, messageBuilder,
} = require("apache-flink-statefun");

const GREETER = "com.example/greeter";
const INBOX = "com.example/inbox";
const OUT = "com.example/out";

const statefun = new StateFun();

statefun.bind({
    typename: GREETER,
    specs: [{ name: "seen", type: StateFun.intType() }],
    fn(context, message) {
        const name = message.asString();
        const reminder = (value) => messageBuilder({ typename: GREETER, id: context.self.id, value });
        switch (name) {
        case "later":
            context.sendAfter(300, reminder("reminded"), "tok");
            return;
        case "never":
            context.cancelDelayedMessage("tok");
            return;
        case "again":
            context.sendAfter(1000, reminder("first"), "tok");
            context.sendAfter(2000, reminder("second"));
            context.cancelDelayedMessage("tok");
            return;
        case "forget":
            context.storage.seen = null;
            return;
        case "record":
            context.send(kafkaEgressMessage({ typename: OUT, topic: "greets", key: "k", value: "v" }));
            context.send(kinesisEgressMessage({ typename: OUT, stream: "greets", partitionKey: "k", value: "v" }));
            return;
        case "nothing":
            return;
        case "fail":
            throw new Error("told to fail");
        }
        const seen = (context.storage.seen || 0) + 1;
        context.storage.seen = seen;
        const value = `${context.self.id} ${name} ${seen}`;
        context.send(messageBuilder({ typename: INBOX, id: "all", value }));
        if (context.caller && context.caller.typename !== GREETER) {
            context.send(messageBuilder({ typename: context.caller.typename, id: context.caller.id, value }));
        }
    },
});

statefun.bind({
    typename: INBOX,
    specs: [{ name: "count", type: StateFun.intType(), expireAfterWrite: 3600 * 1000 }],
    fn(context, message) {
        context.storage.count = (context.storage.count || 0) + 1;
        context.send(egressMessageBuilder({
            typename: OUT, value: `${context.storage.count}: ${message.asString()}`, valueType: StateFun.stringType(),
        }));
    },
});

// The SDK has no long and no double.
const types = {
    bool: StateFun.booleanType(), int: StateFun.intType(), float: StateFun.floatType(), string: StateFun.stringType(),
    user: StateFun.jsonType("com.example/User"),
};

statefun.bind({
    typename: "com.example/types",
    specs: Object.entries(types).map(([name, type]) => (
        name === "string" ? { name, type, expireAfterCall: 60 * 1000 } : { name, type })),
    fn(context, message) {
        for (const [name, type] of Object.entries(types)) {
            if (message.is(type)) {
                const value = message.as(type);
                context.storage[name] = value;
                context.send(messageBuilder({ typename: INBOX, id: "types", value, valueType: type }));
            }
        }
    },
});

const server = http.createServer(statefun.handler());
server.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`)); // the test reads where it listens
