import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import org.apache.flink.statefun.sdk.java.Context;
import org.apache.flink.statefun.sdk.java.StatefulFunction;
import org.apache.flink.statefun.sdk.java.StatefulFunctionSpec;
import org.apache.flink.statefun.sdk.java.StatefulFunctions;
import org.apache.flink.statefun.sdk.java.TypeName;
import org.apache.flink.statefun.sdk.java.ValueSpec;
import org.apache.flink.statefun.sdk.java.handler.RequestReplyHandler;
import org.apache.flink.statefun.sdk.java.message.EgressMessageBuilder;
import org.apache.flink.statefun.sdk.java.message.Message;
import org.apache.flink.statefun.sdk.java.message.MessageBuilder;
import org.apache.flink.statefun.sdk.java.slice.Slices;

/** The greeter of the Go server beside, with StateFun's Java SDK. */
public final class Greeter {
  static final TypeName GREETER = TypeName.typeNameFromString("com.example/greeter");
  static final TypeName INBOX = TypeName.typeNameFromString("com.example/inbox");
  static final TypeName OUT = TypeName.typeNameFromString("com.example/out");
  static final ValueSpec<Integer> SEEN = ValueSpec.named("seen").withIntType();
  static final ValueSpec<Integer> COUNT =
      ValueSpec.named("count").thatExpireAfterWrite(Duration.ofHours(1)).withIntType();

  static final class Greets implements StatefulFunction {
    @Override
    public CompletableFuture<Void> apply(Context context, Message message) {
      String name = message.asUtf8String();
      if (name.equals("later")) {
        context.sendAfter(Duration.ofMillis(300), "tok",
            MessageBuilder.forAddress(GREETER, context.self().id()).withValue("reminded").build());
        return context.done();
      }
      if (name.equals("never")) {
        context.cancelDelayedMessage("tok");
        return context.done();
      }
      int seen = context.storage().get(SEEN).orElse(0) + 1;
      context.storage().set(SEEN, seen);
      String text = context.self().id() + " " + name + " " + seen;
      context.send(MessageBuilder.forAddress(INBOX, "all").withValue(text).build());
      context.caller().filter(caller -> !caller.type().equals(GREETER)).ifPresent(
          caller -> context.send(MessageBuilder.forAddress(caller).withValue(text).build()));
      return context.done();
    }
  }

  static final class Counts implements StatefulFunction {
    @Override
    public CompletableFuture<Void> apply(Context context, Message message) {
      int count = context.storage().get(COUNT).orElse(0) + 1;
      context.storage().set(COUNT, count);
      context.send(EgressMessageBuilder.forEgress(OUT).withValue(count + ": " + message.asUtf8String()).build());
      return context.done();
    }
  }

  public static void main(String[] args) throws Exception {
    StatefulFunctions functions = new StatefulFunctions();
    functions.withStatefulFunction(
        StatefulFunctionSpec.builder(GREETER).withValueSpec(SEEN).withSupplier(Greets::new).build());
    functions.withStatefulFunction(
        StatefulFunctionSpec.builder(INBOX).withValueSpec(COUNT).withSupplier(Counts::new).build());
    RequestReplyHandler handler = functions.requestReplyHandler();
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    server.createContext("/", exchange -> {
      try {
        byte[] reply = handler.handle(Slices.wrap(exchange.getRequestBody().readAllBytes())).join().toByteArray();
        exchange.sendResponseHeaders(200, reply.length == 0 ? -1 : reply.length);
        exchange.getResponseBody().write(reply);
      } finally {
        exchange.close();
      }
    });
    server.start();
    System.out.println("127.0.0.1:" + server.getAddress().getPort());
  }
}
