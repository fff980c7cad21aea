import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Plays calls of docs/clients/spring/CurfewClient.java.
 *
 * The argument is a file with one call a line, as a query string: the function's name, the scope if there is one, and the
 * token or user. One line of JSON is printed for each.
 */
final class Driver {
    private static final CurfewClient CURFEW = new CurfewClient(
            System.getenv("CURFEW_PUBLIC_URL"),
            System.getenv("CURFEW_INTERNAL_URL"),
            System.getenv("CURFEW_INTERNAL_SECRET"),
            System.getenv("CURFEW_APP_ID"),
            System.getenv("CURFEW_APP_KEY"),
            Duration.ofMillis(Long.parseLong(System.getenv("TIMEOUT_MS"))));

    public static void main(String[] arguments) throws Exception {
        List<String> lines = Files.readAllLines(Path.of(arguments[0]));
        ExecutorService threads = Executors.newFixedThreadPool(lines.size());
        for (Future<String> played : threads.invokeAll(lines.stream().map(Driver::later).toList())) {
            System.out.println(played.get());
        }
        threads.shutdown();
    }

    private static Callable<String> later(String line) {
        return () -> play(fields(line));
    }

    private static String play(Map<String, String> call) {
        try {
            return "{\"outcome\":" + outcome(call.get("call"), call.get("subject"), call.get("scope")) + "}";
        } catch (CurfewClient.NotConfirmed error) {
            error.printStackTrace();
            String retryAfter = error.retryAfter < 0 ? "null" : String.valueOf(error.retryAfter);
            String code = error.code == null ? "null" : quoted(error.code);
            return "{\"error\":%s,\"retryAfter\":%s,\"status\":%d,\"code\":%s}"
                    .formatted(quoted(error.getMessage()), retryAfter, error.status, code);
        } catch (CurfewClient.SessionMissing error) {
            error.printStackTrace();
            return "{\"missing\":" + quoted(error.getMessage()) + "}";
        } catch (RuntimeException error) {
            error.printStackTrace();
            return "{\"crash\":" + quoted(error.getMessage()) + "}";
        }
    }

    private static String outcome(String call, String subject, String scope) {
        switch (call) {
            case "logout":
                return named(scope == null ? CURFEW.logout(subject) : CURFEW.logout(subject, scope(scope)));
            case "logoutAllDevices":
                return named(CURFEW.logoutAllDevices(subject));
            case "logoutUser":
                CurfewClient.UserLogout found = CURFEW.logoutUser(subject);
                return "{\"tokens\":%d,\"known\":%b}".formatted(found.tokens(), found.known());
            case "logoutNobody":
                return CURFEW.logoutUser(null).toString();
            case "register":
                CURFEW.register(subject, "a \"device\"\u00e9");
                return quoted("done");
            default:
                throw new IllegalArgumentException(call);
        }
    }

    /** The compiler refuses a name of no scope, so it becomes the one value that can be passed all the same. */
    private static CurfewClient.Scope scope(String name) {
        List<CurfewClient.Scope> scopes = List.of(CurfewClient.Scope.values());
        return scopes.stream().filter(scope -> scope.name().toLowerCase().equals(name)).findFirst().orElse(null);
    }

    private static String named(CurfewClient.Outcome outcome) {
        return quoted(outcome.name().toLowerCase());
    }

    private static String quoted(String text) {
        return '"' + text + '"';
    }

    private static Map<String, String> fields(String line) {
        Map<String, String> fields = new HashMap<>();
        for (String field : line.split("&")) {
            String[] pair = field.split("=", 2);
            fields.put(pair[0], URLDecoder.decode(pair[1], StandardCharsets.UTF_8));
        }
        return fields;
    }
}
