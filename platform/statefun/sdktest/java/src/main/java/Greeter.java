import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import org.apache.flink.statefun.sdk.java.Context;
import org.apache.flink.statefun.sdk.java.StatefulFunctionSpec;
import org.apache.flink.statefun.sdk.java.StatefulFunctions;
import org.apache.flink.statefun.sdk.java.TypeName;
import org.apache.flink.statefun.sdk.java.ValueSpec;
import org.apache.flink.statefun.sdk.java.handler.RequestReplyHandler;
import org.apache.flink.statefun.sdk.java.io.KafkaEgressMessage;
import org.apache.flink.statefun.sdk.java.io.KinesisEgressMessage;
import org.apache.flink.statefun.sdk.java.message.EgressMessageBuilder;
import org.apache.flink.statefun.sdk.java.message.Message;
import org.apache.flink.statefun.sdk.java.message.MessageBuilder;
import org.apache.flink.statefun.sdk.java.slice.Slices;
import org.apache.flink.statefun.sdk.java.types.SimpleType;
import org.apache.flink.statefun.sdk.java.types.Type;
import org.apache.flink.statefun.sdk.java.types.Types;

/** A server of functions with the unchanged Java SDK: the same as in ../go. */
public final class Greeter {
  private static final TypeName GREETER = TypeName.typeNameFromString("com.example/greeter");
  private static final TypeName INBOX = TypeName.typeNameFromString("com.example/inbox");
  private static final TypeName TYPES = TypeName.typeNameFromString("com.example/types");
  private static final TypeName OUT = TypeName.typeNameFromString("com.example/out");

  private static final ValueSpec<Integer> SEEN = ValueSpec.named("seen").withIntType();
  private static final ValueSpec<Integer> COUNT =
      ValueSpec.named("count").thatExpireAfterWrite(Duration.ofHours(1)).withIntType();

  private static CompletableFuture<Void> greet(Context context, Message message) {
    String name = message.asUtf8String();
    switch (name) {
      case "later":
        context.sendAfter(Duration.ofMillis(300), "tok", reminder(context, "reminded"));
        return context.done();
      case "never":
        context.cancelDelayedMessage("tok");
        return context.done();
      case "again":
        context.sendAfter(Duration.ofSeconds(1), "tok", reminder(context, "first"));
        context.sendAfter(Duration.ofSeconds(2), reminder(context, "second"));
        context.cancelDelayedMessage("tok");
        return context.done();
      case "forget":
        context.storage().remove(SEEN);
        return context.done();
      case "record":
        context.send(KafkaEgressMessage.forEgress(OUT).withTopic("greets").withUtf8Key("k").withUtf8Value("v").build());
        context.send(
            KinesisEgressMessage.forEgress(OUT).withStream("greets").withUtf8PartitionKey("k").withUtf8Value("v").build());
        return context.done();
      case "nothing":
        return context.done();
      case "fail":
        throw new IllegalStateException("told to fail");
    }
    int seen = context.storage().get(SEEN).orElse(0) + 1;
    context.storage().set(SEEN, seen);
    String text = context.self().id() + " " + name + " " + seen;
    context.send(MessageBuilder.forAddress(INBOX, "all").withValue(text).build());
    if (context.caller().isPresent() && !context.caller().get().type().equals(GREETER)) {
      context.send(MessageBuilder.forAddress(context.caller().get()).withValue(text).build());
    }
    return context.done();
  }

  private static Message reminder(Context context, String text) {
    return MessageBuilder.forAddress(context.self()).withValue(text).build();
  }

  private static CompletableFuture<Void> count(Context context, Message message) {
    int count = context.storage().get(COUNT).orElse(0) + 1;
    context.storage().set(COUNT, count);
    context.send(EgressMessageBuilder.forEgress(OUT).withValue(count + ": " + message.asUtf8String()).build());
    return context.done();
  }

  /** A state, and how a value of its type comes and goes. */
  private static final class Kind<T> {
    final ValueSpec<T> spec;
    final Type<T> type;

    Kind(ValueSpec<T> spec, Type<T> type) {
      this.spec = spec;
      this.type = type;
    }

    boolean pass(Context context, Message message) {
      if (!message.is(type)) {
        return false;
      }
      T value = message.as(type);
      context.storage().set(spec, value);
      context.send(MessageBuilder.forAddress(INBOX, "types").withCustomType(type, value).build());
      return true;
    }
  }

  /** The SDK has no JSON of its own: users bring a library and write this. */
  private static final Type<String> USER =
      SimpleType.simpleImmutableTypeFrom(
          TypeName.typeNameFromString("com.example/User"),
          text -> text.getBytes(StandardCharsets.UTF_8),
          bytes -> new String(bytes, StandardCharsets.UTF_8));

  private static final Kind<?>[] KINDS = {
    new Kind<>(ValueSpec.named("bool").withBooleanType(), Types.booleanType()),
    new Kind<>(ValueSpec.named("int").withIntType(), Types.integerType()),
    new Kind<>(ValueSpec.named("long").withLongType(), Types.longType()),
    new Kind<>(ValueSpec.named("float").withFloatType(), Types.floatType()),
    new Kind<>(ValueSpec.named("double").withDoubleType(), Types.doubleType()),
    new Kind<>(
        ValueSpec.named("string").thatExpiresAfterCall(Duration.ofMinutes(1)).withUtf8StringType(), Types.stringType()),
    new Kind<>(ValueSpec.named("user").withCustomType(USER), USER),
  };

  private static CompletableFuture<Void> types(Context context, Message message) {
    for (Kind<?> kind : KINDS) {
      if (kind.pass(context, message)) {
        break;
      }
    }
    return context.done();
  }

  public static void main(String[] args) throws Exception {
    StatefulFunctionSpec.Builder types = StatefulFunctionSpec.builder(TYPES).withSupplier(() -> Greeter::types);
    for (Kind<?> kind : KINDS) {
      types.withValueSpec(kind.spec);
    }
    RequestReplyHandler handler =
        new StatefulFunctions()
            .withStatefulFunction(
                StatefulFunctionSpec.builder(GREETER).withValueSpec(SEEN).withSupplier(() -> Greeter::greet).build())
            .withStatefulFunction(
                StatefulFunctionSpec.builder(INBOX).withValueSpec(COUNT).withSupplier(() -> Greeter::count).build())
            .withStatefulFunction(types.build())
            .requestReplyHandler();

    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    server.createContext(
        "/",
        exchange -> {
          byte[] request = exchange.getRequestBody().readAllBytes();
          int status = 200;
          byte[] reply;
          try {
            reply = handler.handle(Slices.wrap(request)).join().toByteArray();
          } catch (RuntimeException e) {
            status = 500;
            reply = String.valueOf(e.getMessage()).getBytes(StandardCharsets.UTF_8);
          }
          exchange.sendResponseHeaders(status, reply.length == 0 ? -1 : reply.length);
          exchange.getResponseBody().write(reply);
          exchange.close();
        });
    server.start();
    System.out.println("127.0.0.1:" + server.getAddress().getPort()); // the test reads where it listens
  }
}
