import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Flow;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Upload a file to OSS with a URL from the function. Needs Java 11 and nothing else.
 *
 * <pre>UPLOAD_ENDPOINT=https://... [UPLOAD_AUTHORIZATION='Bearer ...'] java Upload.java FILE [TYPE]</pre>
 *
 * prints the object's key. Exit codes: 0 stored, 1 refused or failed (the reason is on stderr), 2 wrong usage.
 *
 * <p>As a library: {@code Upload.put(answer.method, answer.url, answer.headers, path, null)} sends a file by an answer
 * of the function; metadata, storage class and whatever else the URL binds are in {@code headers}.
 */
public final class Upload {
    private static final Duration CONNECT_TIME = Duration.ofSeconds(10);
    private static final Duration ASK_TIME = Duration.ofSeconds(60);
    private static final Duration SILENT_TIME = Duration.ofSeconds(300); // an upload may take as long as it needs
    private static final int MAX_ANSWER_BYTES = 65536;

    // HTTP/1.1: over plain http the client would otherwise ask every server, and every proxy, for an upgrade to h2c.
    private static final HttpClient CLIENT = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(CONNECT_TIME)
            .build();

    /** The function or OSS answered, but not with a yes. Any other IOException: there was no usable answer. */
    public static final class Refused extends IOException {
        public final int status;
        public final String code;
        public final boolean expired;

        Refused(int status, String code, String message, boolean expired) {
            super(status + (code.isEmpty() ? "" : " " + code) + ": " + message);
            this.status = status;
            this.code = code;
            this.expired = expired;
        }
    }

    /** What the function says to an accepted question. */
    public static final class Answer {
        public final String method;
        public final String url;
        public final String key;
        public final Map<String, String> headers;

        Answer(String method, String url, String key, Map<String, String> headers) {
            this.method = method;
            this.url = url;
            this.key = key;
            this.headers = headers;
        }
    }

    /** Told while the body is sent. */
    public interface Progress {
        void sent(long bytes, long size);
    }

    public static void main(String[] args) throws InterruptedException {
        // A key may be Chinese and the terminal's encoding Latin-1.
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        PrintStream err = new PrintStream(System.err, true, StandardCharsets.UTF_8);
        String endpoint = System.getenv("UPLOAD_ENDPOINT");
        if (args.length < 1 || args.length > 2 || args[0].isEmpty() || endpoint == null || endpoint.isEmpty()) {
            err.println("usage: upload FILE [TYPE], with the function's address in UPLOAD_ENDPOINT");
            System.exit(2);
        }
        String authorization = System.getenv("UPLOAD_AUTHORIZATION");
        // Java cannot ask whether stderr is a terminal; `run` can.
        Progress progress = Boolean.getBoolean("upload.terminal") ? (sent, size) -> show(err, sent, size) : null;
        try {
            out.println(upload(endpoint, args[0], args.length == 2 ? args[1] : "", authorization, progress));
        } catch (IOException error) {
            err.println("upload: " + oneLine(reason(error)));
            System.exit(1);
        }
    }

    /** Stores the file and gives its key. An expired URL is asked for again once: uploads may have queued. */
    public static String upload(String endpoint, String file, String contentType, Progress progress)
            throws IOException, InterruptedException {
        return upload(endpoint, file, contentType, null, progress);
    }

    /** The same with an {@code Authorization} for the function; null or empty: none. */
    public static String upload(String endpoint, String file, String contentType, String authorization, Progress progress)
            throws IOException, InterruptedException {
        Path path = path(file);
        Answer answer = ask(endpoint, path, contentType, authorization);
        try {
            put(answer.method, answer.url, answer.headers, path, progress);
        } catch (Refused refused) {
            if (!refused.expired) {
                throw refused;
            }
            answer = ask(endpoint, path, contentType, authorization);
            put(answer.method, answer.url, answer.headers, path, progress);
        }
        return answer.key;
    }

    /** Asks the function for a URL. */
    public static Answer ask(String endpoint, Path file, String contentType) throws IOException, InterruptedException {
        return ask(endpoint, file, contentType, null);
    }

    /** The same with an {@code Authorization} for the function; null or empty: none. */
    public static Answer ask(String endpoint, Path file, String contentType, String authorization)
            throws IOException, InterruptedException {
        String question = "{\"filename\":" + quoted(file.getFileName().toString())
                + (contentType.isEmpty() ? "" : ",\"contentType\":" + quoted(contentType))
                + ",\"size\":" + Files.size(file) + "}";
        Map<String, String> json = new LinkedHashMap<>();
        json.put("Content-Type", "application/json");
        if (authorization != null && !authorization.isEmpty()) {
            if (!authorization.matches("[ -~]+")) {
                throw new IOException("the authorization is not printable ASCII");
            }
            json.put("Authorization", authorization);
        }
        Reply reply = send("POST", endpoint, json, BodyPublishers.ofString(question), null, ASK_TIME);
        if (reply.status != 200) {
            throw refusal(reply);
        }
        try {
            Map<String, Object> said = Json.object(reply.text);
            Map<String, String> headers = new LinkedHashMap<>();
            for (Map.Entry<?, ?> header : ((Map<?, ?>) said.get("headers")).entrySet()) {
                headers.put(plain(header.getKey()), plain(header.getValue()));
            }
            return new Answer(plain(said.get("method")), plain(said.get("url")), plain(said.get("key")), headers);
        } catch (RuntimeException error) {
            throw new IOException(host(endpoint) + " answered something else than an upload: " + textOf(reply.text));
        }
    }

    /** Sends the file to {@code url}: streamed, with its length, and with exactly {@code headers}. */
    public static void put(String method, String url, Map<String, String> headers, Path file, Progress progress)
            throws IOException, InterruptedException {
        BodyPublisher body = BodyPublishers.ofFile(file); // knows its length; ofInputStream does not, and is sent chunked
        Reply reply = send(method, url, headers, body, progress, SILENT_TIME);
        if (reply.status != 200) {
            throw refusal(reply);
        }
    }

    /** The body, noting in {@code moved} when something of it was sent last; it breaks off when all is {@code over}. */
    private static BodyPublisher watched(BodyPublisher body, AtomicLong moved, AtomicBoolean over, Progress progress) {
        return new BodyPublisher() {
            @Override
            public long contentLength() {
                return body.contentLength();
            }

            @Override
            public void subscribe(Flow.Subscriber<? super ByteBuffer> subscriber) {
                body.subscribe(new Flow.Subscriber<>() {
                    private long sent;
                    private Flow.Subscription subscription;

                    @Override
                    public void onSubscribe(Flow.Subscription subscription) {
                        this.subscription = subscription;
                        subscriber.onSubscribe(subscription);
                    }

                    @Override
                    public void onNext(ByteBuffer chunk) {
                        if (over.get()) { // before Java 16, to cancel the exchange ends nothing
                            subscription.cancel();
                            subscriber.onError(new IOException("given up"));
                            return;
                        }
                        sent += chunk.remaining();
                        moved.set(System.nanoTime());
                        if (progress != null) {
                            progress.sent(sent, body.contentLength());
                        }
                        subscriber.onNext(chunk);
                    }

                    @Override
                    public void onError(Throwable error) {
                        subscriber.onError(error);
                    }

                    @Override
                    public void onComplete() {
                        subscriber.onComplete();
                    }
                });
            }
        };
    }

    /** The file, told to be unreadable before anybody is asked. */
    private static Path path(String file) throws IOException {
        try {
            Path path = Path.of(file);
            if (!Files.exists(path)) {
                throw new IOException("cannot read " + file + ": no such file");
            }
            if (!Files.isRegularFile(path)) {
                throw new IOException("cannot read " + file + ": not a file");
            }
            if (!Files.isReadable(path)) {
                throw new IOException("cannot read " + file + ": permission denied");
            }
            return path;
        } catch (InvalidPathException error) {
            throw new IOException("cannot read " + file + ": not a name in this locale");
        }
    }

    private static final class Reply {
        final int status;
        final String text;

        Reply(int status, String text) {
            this.status = status;
            this.text = text;
        }
    }

    /**
     * One request and what came back, the body cut at 64 KB. Redirects are answers, not followed. Whoever sends and
     * hears nothing for {@code silence} is told so: a connection that died unnoticed would keep him waiting for ever.
     */
    private static Reply send(String method, String url, Map<String, String> headers, BodyPublisher body, Progress progress,
            Duration silence) throws IOException, InterruptedException {
        if (!url.matches("(?is)https?://[^/].*")) {
            throw new IOException("the address is not http or https");
        }
        AtomicLong moved = new AtomicLong(System.nanoTime());
        AtomicBoolean over = new AtomicBoolean();
        HttpRequest request;
        try {
            HttpRequest.Builder builder = HttpRequest.newBuilder(URI.create(url));
            headers.forEach(builder::header);
            request = builder.method(method, watched(body, moved, over, progress)).build();
        } catch (IllegalArgumentException error) {
            throw new IOException("the URL or a header cannot be sent"); // its message quotes the URL, and that is a secret
        }
        CompletableFuture<HttpResponse<InputStream>> response = null;
        try {
            response = CLIENT.sendAsync(request, BodyHandlers.ofInputStream());
            return heard(response.thenApplyAsync(Upload::cut), moved, silence);
        } catch (IllegalArgumentException error) {
            throw new IOException("the URL cannot be sent"); // its port is looked at only now
        } catch (IOException error) {
            // Java's ConnectException has no message.
            String reason = error instanceof ConnectException ? "could not connect" : reason(error);
            throw new IOException("no answer from " + host(url) + ": " + reason);
        } finally {
            over.set(true);
            if (response != null) {
                response.thenAccept(Upload::close); // a reader of it that waits for more ends
                response.cancel(true); // from Java 16 on it closes the connection, if there is still one
            }
        }
    }

    private static Reply heard(Future<Reply> reply, AtomicLong moved, Duration silence) throws IOException, InterruptedException {
        while (true) {
            long left = silence.toNanos() - (System.nanoTime() - moved.get());
            try {
                return reply.get(Math.max(left, 0), TimeUnit.NANOSECONDS);
            } catch (TimeoutException error) {
                if (left <= 0) {
                    throw new IOException("nothing for " + silence.toSeconds() + " seconds");
                }
            } catch (ExecutionException error) {
                Throwable cause = error.getCause();
                if (cause instanceof UncheckedIOException) {
                    cause = cause.getCause();
                }
                if (cause instanceof IllegalArgumentException) {
                    throw (IllegalArgumentException) cause;
                }
                throw cause instanceof IOException ? (IOException) cause : new IOException(cause);
            }
        }
    }

    private static void close(HttpResponse<InputStream> response) {
        try {
            response.body().close();
        } catch (IOException error) {
            // There is nothing more to read.
        }
    }

    private static Reply cut(HttpResponse<InputStream> response) {
        try (InputStream answer = response.body()) {
            byte[] start = answer.readNBytes(MAX_ANSWER_BYTES);
            return new Reply(response.statusCode(), new String(start, StandardCharsets.UTF_8));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static String reason(IOException error) {
        return error.getMessage() != null ? error.getMessage() : error.getClass().getSimpleName();
    }

    /**
     * What the function (JSON) or OSS (XML) says against it, or else the beginning of what came. OSS's two elements are
     * flat: an XML parser would refuse what was cut and bring entities along.
     */
    private static Refused refusal(Reply reply) {
        try {
            Map<String, Object> said = Json.object(reply.text);
            return new Refused(reply.status, first(said, "code", "errorType", "ErrorCode"),
                    first(said, "detail", "errorMessage", "ErrorMessage", "title"), false);
        } catch (RuntimeException error) {
            String message = element("Message", reply.text);
            boolean expired = reply.status == 403
                    && (message.contains("has expired") || element("EC", reply.text).equals("0002-00000236"));
            return new Refused(reply.status, element("Code", reply.text),
                    message.isEmpty() ? textOf(reply.text) : message, expired);
        }
    }

    /** Of the function's own names and of those that Function Compute uses when it answers for it. */
    private static String first(Map<String, Object> said, String... names) {
        for (String name : names) {
            if (said.get(name) instanceof String) {
                return (String) said.get(name);
            }
        }
        return "";
    }

    private static String element(String name, String xml) {
        Matcher found = Pattern.compile("<" + name + ">([^<]*)</" + name + ">").matcher(xml);
        return !found.find() ? "" : found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
                .replace("&apos;", "'").replace("&amp;", "&");
    }

    /** A reader of JSON, because the JDK has none: objects are maps, strings are strings, the rest is null. */
    private static final class Json {
        private final String text;
        private int at;
        private int depth;

        private Json(String text) {
            this.text = text;
        }

        /** Throws a RuntimeException if that is not a JSON object. */
        @SuppressWarnings("unchecked")
        static Map<String, Object> object(String text) {
            Json json = new Json(text + " ");
            Map<String, Object> object = (Map<String, Object>) json.value(json.next());
            if (object == null || !text.substring(Math.min(json.at, text.length())).isBlank()) {
                throw new IllegalArgumentException("not an object, or more than one");
            }
            return object;
        }

        private char next() {
            while (" \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            return text.charAt(at++);
        }

        private Object value(char sign) {
            if (sign == '"') {
                return string();
            }
            if (sign == '{' || sign == '[') {
                return members(sign == '{');
            }
            for (at--; "+-.0123456789eEaflnrstu".indexOf(text.charAt(at)) >= 0; sign = 0) {
                at++;
            }
            if (sign != 0) {
                throw new IllegalArgumentException("no value");
            }
            return null;
        }

        private Map<String, Object> members(boolean named) {
            if (++depth > 32) {
                throw new IllegalArgumentException("too deep");
            }
            Map<String, Object> members = new LinkedHashMap<>();
            char end = named ? '}' : ']';
            for (char sign = next(); sign != end; ) {
                String name = "";
                if (named) {
                    if (sign != '"') {
                        throw new IllegalArgumentException("no name");
                    }
                    name = string();
                    if (next() != ':') {
                        throw new IllegalArgumentException("no colon");
                    }
                    sign = next();
                }
                members.put(name, value(sign));
                sign = next();
                if (sign == ',') {
                    sign = next();
                } else if (sign != end) {
                    throw new IllegalArgumentException("no comma");
                }
            }
            depth--;
            return named ? members : null;
        }

        private String string() {
            StringBuilder string = new StringBuilder();
            for (char sign = text.charAt(at++); sign != '"'; sign = text.charAt(at++)) {
                if (sign != '\\') {
                    string.append(sign);
                    continue;
                }
                char escape = text.charAt(at++);
                if (escape == 'u') {
                    string.append((char) Integer.parseInt(text.substring(at, at += 4), 16));
                } else {
                    string.append("\"\\/\b\f\n\r\t".charAt("\"\\/bfnrt".indexOf(escape)));
                }
            }
            return string.toString();
        }
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char sign : text.toCharArray()) {
            if (sign == '"' || sign == '\\') {
                quoted.append('\\').append(sign);
            } else if (sign < ' ' || Character.isSurrogate(sign)) {
                quoted.append(String.format("\\u%04x", (int) sign)); // a lone surrogate is no UTF-8
            } else {
                quoted.append(sign);
            }
        }
        return quoted.append('"').toString();
    }

    private static String plain(Object value) {
        String text = (String) value;
        if (text.isEmpty() || text.codePoints().anyMatch(Character::isISOControl)) {
            throw new IllegalArgumentException("not a plain text");
        }
        return text;
    }

    private static String textOf(String text) {
        String start = oneLine(text.substring(0, Math.min(text.length(), 200)));
        return start.isEmpty() ? "an empty answer" : start;
    }

    /** Whoever answered does not get to move the cursor: control characters become blanks. */
    private static String oneLine(String text) {
        String line = text.replaceAll("[\\p{Cntrl}\\x80-\\x9f ]+", " ").trim();
        return line.substring(0, Math.min(line.length(), 1000));
    }

    /** What may be shown of an address: no user, no query. */
    private static String host(String url) {
        return url.replaceFirst("^[^/]*//", "").replaceFirst("(?s)[/?#].*", "").replaceFirst(".*@", "");
    }

    /** The progress line; it ends at its own beginning, so that whatever comes next replaces it. */
    private static void show(PrintStream err, long sent, long size) {
        err.printf("%3d %%\r", sent * 100 / size);
    }
}
