import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Curfew for Spring, and for any other Java 17: put it into your package. It uses {@code java.net.http} and no library.
 *
 * <p>As a bean, in a class with {@code @Configuration}:
 *
 * <pre>{@code
 * @Bean
 * CurfewClient curfew(
 *         @Value("${curfew.public-url}") String publicUrl,      // Envoy, such as https://edge.example.com
 *         @Value("${curfew.internal-url}") String internalUrl,  // the internal listener, http://curfew.example.com:8081
 *         @Value("${curfew.internal-secret}") String secret,
 *         @Value("${curfew.app-id}") String appId,
 *         @Value("${curfew.app-key}") String appKey) {
 *     return new CurfewClient(publicUrl, internalUrl, secret, appId, appKey, Duration.ofSeconds(15));
 * }
 * }</pre>
 */
public final class CurfewClient {
    /** What became of a logout that was answered. */
    public enum Outcome {
        /** 200: no Envoy admits the token any more. */
        LOGGED_OUT,
        /** 401 token_revoked: it was logged out before. After logoutAllDevices, this says nothing about the other devices. */
        ALREADY_LOGGED_OUT,
        /** The token has expired or is invalid, or there is none: there was nothing to log out. */
        REFUSED
    }

    /** How much a logout logs out. */
    public enum Scope {
        /** This token. */
        TOKEN,
        /** This token and all of its session. */
        SESSION,
        /** All tokens of the user but those of this session. This token is still good afterwards: keep it. */
        OTHERS,
        /** All tokens of the user. */
        GLOBAL
    }

    /** What a logout of a user has found: how many known tokens were alive, and whether any of the user is known. */
    public record UserLogout(long tokens, boolean known) {}

    /** Nobody has confirmed the call. After a logout, the token may still be valid. */
    public static final class NotConfirmed extends RuntimeException {
        private static final long serialVersionUID = 1L;

        /** After how many seconds another attempt makes sense; -1 if the answer does not say. */
        public final int retryAfter;

        /** The status of the last answer, 0 if there was none. */
        public final int status;

        /** Its stable code, such as {@code unavailable}, or null. */
        public final String code;

        private NotConfirmed(String what, Answer answer) {
            super(what + " (" + answer.shown() + ")." + (AGAIN.contains(answer.status()) ? " Try again." : ""));
            this.retryAfter = answer.retryAfter();
            this.status = answer.status();
            this.code = answer.text("code").isEmpty() ? null : answer.text("code");
        }
    }

    /** 400 session_missing: {@link Scope#SESSION} with a token that names no session. Nothing was logged out. */
    public static final class SessionMissing extends RuntimeException {
        private static final long serialVersionUID = 1L;

        private SessionMissing() {
            super("The token names no session: nothing was logged out");
        }
    }

    private static final int ATTEMPTS = 3;
    private static final int LONGEST_WAIT_S = 10;
    private static final Set<Integer> AGAIN = Set.of(0, 429, 502, 503, 504);

    /** Only these characters are in a token. Others would not fit into a header. */
    private static final Pattern TOKEN = Pattern.compile("[A-Za-z0-9._~+/=-]+");

    /** What may stand before a token. */
    private static final Pattern BEFORE = Pattern.compile("\\A\\s*(bearer\\s+)?", Pattern.CASE_INSENSITIVE);

    private final HttpClient http = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER) // a login page behind a redirect would answer 200
            .build();
    private final String publicUrl;
    private final String internalUrl;
    private final String secret;
    private final String appId;
    private final String appKey;
    private final Duration timeout;

    public CurfewClient(
            String publicUrl, String internalUrl, String secret, String appId, String appKey, Duration timeout) {
        this.publicUrl = publicUrl;
        this.internalUrl = internalUrl;
        this.secret = secret;
        this.appId = appId;
        this.appKey = appKey;
        this.timeout = timeout;
    }

    /** Logs out one token. Throws {@link NotConfirmed} if that did not happen, or if nobody knows. */
    public Outcome logout(String token) {
        return logoutWith("/api/v2/logout", token, null);
    }

    /** The same for another part than one token. Throws {@link SessionMissing} if the token names no session to log out. */
    public Outcome logout(String token, Scope scope) {
        if (scope == null) {
            throw new IllegalArgumentException("logout: no such scope");
        }
        return logoutWith("/api/v2/logout?scope=" + scope.name().toLowerCase(Locale.ROOT), token, scope);
    }

    /** Logs out all tokens of the token's user. */
    public Outcome logoutAllDevices(String token) {
        return logoutWith("/api/v2/logout-all-device", token, null);
    }

    /** Logs out a user everywhere, without a token: password change, block, deletion. */
    public UserLogout logoutUser(String userId) {
        if (userId == null || userId.isBlank()) {
            throw new IllegalArgumentException("logoutUser: no user is given");
        }
        String body = "{\"user_id\":%s,\"app_id\":%s,\"app_key\":%s}".formatted(text(userId), text(appId), text(appKey));
        Answer answer = post(internalUrl + "/api/v2/lgt-all", null, body);
        if (!answer.saysLoggedOut()) {
            throw new NotConfirmed("The logout of the user is NOT confirmed", answer);
        }
        String tokens = answer.number("tokens");
        return new UserLogout(tokens.isEmpty() ? 0 : Long.parseLong(tokens), answer.isTrue("known"));
    }

    /**
     * At login and refresh, before the token is handed out, where your application issues it. Throws {@link NotConfirmed}
     * if it is not registered, or is logged out already: then do not hand it out.
     */
    public void register(String token, String userAgent) {
        String agent = userAgent == null ? "" : userAgent.substring(0, Math.min(userAgent.length(), 170));
        String body = "{\"tokens\":[{\"token\":%s,\"user_agent\":%s}]}".formatted(text(token), text(agent));
        Answer answer = post(internalUrl + "/internal/v1/tokens", secret, body);
        if (answer.status() != 200 || !answer.number("revoked").equals("0")) {
            boolean dead = answer.status() == 200 && !answer.number("revoked").isEmpty();
            throw new NotConfirmed(
                    dead ? "The token is logged out already: issue another one" : "The token is NOT registered", answer);
        }
    }

    private Outcome logoutWith(String path, String text, Scope scope) {
        String token = text == null ? "" : BEFORE.matcher(text).replaceFirst("").stripTrailing();
        if (!TOKEN.matcher(token).matches()) {
            return Outcome.REFUSED;
        }
        Answer answer = post(publicUrl + path, token, "");
        if (answer.saysLoggedOut()) {
            if (answer.isOf(scope)) {
                return Outcome.LOGGED_OUT;
            }
            throw new NotConfirmed("The logout is NOT confirmed, because the answer is for another scope", answer);
        }
        String problem = answer.text("code");
        if (answer.status() == 401 && problem.equals("token_revoked")) {
            return Outcome.ALREADY_LOGGED_OUT;
        }
        if (answer.status() == 401 && problem.startsWith("token_")) {
            return Outcome.REFUSED;
        }
        if (answer.status() == 400 && problem.equals("session_missing")) {
            throw new SessionMissing();
        }
        throw new NotConfirmed("The logout is NOT confirmed, and the token may still be valid", answer);
    }

    private Answer post(String url, String bearer, String body) {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).POST(BodyPublishers.ofString(body));
        if (bearer != null) {
            request.header("Authorization", "Bearer " + bearer);
        }
        if (!body.isEmpty()) {
            request.header("Content-Type", "application/json");
        }
        Answer answer = Answer.NONE;
        try {
            for (int attempt = 1; ; attempt++) {
                answer = send(request.build());
                int wait = answer.retryAfter() < 0 ? 1 : answer.retryAfter();
                boolean again = AGAIN.contains(answer.status());
                if (!again || attempt == ATTEMPTS || wait > LONGEST_WAIT_S) {
                    return answer;
                }
                TimeUnit.SECONDS.sleep(wait);
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            return answer;
        }
    }

    private Answer send(HttpRequest request) throws InterruptedException {
        CompletableFuture<HttpResponse<String>> sent = http.sendAsync(request, BodyHandlers.ofString());
        try {
            return Answer.of(sent.get(timeout.toMillis(), TimeUnit.MILLISECONDS)); // with the body
        } catch (ExecutionException | TimeoutException noAnswer) {
            return Answer.NONE;
        } finally {
            sent.cancel(true);
        }
    }

    /** An answer; without one, the status is 0. `retryAfter` is -1 if the answer does not say. */
    private record Answer(int status, int retryAfter, String body) {
        static final Answer NONE = new Answer(0, -1, "");

        static Answer of(HttpResponse<String> response) {
            String seconds = response.headers().firstValue("Retry-After").orElse("");
            int retryAfter = seconds.matches("[0-9]{1,9}") ? Integer.parseInt(seconds) : -1;
            return new Answer(response.statusCode(), retryAfter, Objects.requireNonNullElse(response.body(), ""));
        }

        /** The answer of another program, such as a page for every path, is no confirmation. */
        boolean saysLoggedOut() {
            return status == 200 && text("message").startsWith("Successfully Logged Out");
        }

        /** An older control plane ignores the scope, and logs out the token alone. */
        boolean isOf(Scope scope) {
            String asked = scope == null || scope == Scope.TOKEN ? "" : scope.name().toLowerCase(Locale.ROOT);
            return scope == null || text("scope").equals(asked);
        }

        String text(String member) {
            return find("\"" + member + "\"\\s*:\\s*\"([^\"\\\\]*)\"");
        }

        String number(String member) {
            return find("\"" + member + "\"\\s*:\\s*([0-9]{1,18})");
        }

        boolean isTrue(String member) {
            return find("\"" + member + "\"\\s*:\\s*(true)").equals("true");
        }

        private String find(String pattern) {
            Matcher matcher = Pattern.compile(pattern).matcher(body);
            return matcher.find() ? matcher.group(1) : "";
        }

        /** For a message: the body may hold anything, so it is not shown. */
        String shown() {
            return status == 0 ? "no answer" : (status + " " + text("code")).strip();
        }
    }

    /** A text in JSON. */
    private static String text(String value) {
        StringBuilder json = new StringBuilder("\"");
        for (char letter : value.toCharArray()) {
            boolean plain = letter >= ' ' && letter != '"' && letter != '\\' && !Character.isSurrogate(letter);
            json.append(plain ? String.valueOf(letter) : "\\u%04x".formatted((int) letter));
        }
        return json.append('"').toString();
    }
}
