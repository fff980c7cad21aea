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
 * The argument is a file with one call a line, as a query string: the function's name and the token or user. One line of
 * JSON is printed for each.
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
            return "{\"outcome\":\"" + outcome(call.get("call"), call.get("subject")) + "\"}";
        } catch (CurfewClient.NotConfirmed error) {
            error.printStackTrace();
            String retryAfter = error.retryAfter < 0 ? "null" : String.valueOf(error.retryAfter);
            return "{\"error\":\"" + error.getMessage() + "\",\"retryAfter\":" + retryAfter + "}";
        } catch (RuntimeException error) {
            error.printStackTrace();
            return "{\"crash\":\"" + error.getClass() + "\"}";
        }
    }

    private static String outcome(String call, String subject) {
        switch (call) {
            case "logout":
                return CURFEW.logout(subject).name().toLowerCase();
            case "logoutAllDevices":
                return CURFEW.logoutAllDevices(subject).name().toLowerCase();
            case "logoutUser":
                CURFEW.logoutUser(subject);
                return "done";
            case "register":
                CURFEW.register(subject, "a \"device\"\u00e9");
                return "done";
            default:
                throw new IllegalArgumentException(call);
        }
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
