import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Upload a file to OSS with a URL from the function. Needs Android 5 or Java 8 and nothing else.
 *
 * <pre>UPLOAD_ENDPOINT=https://... [UPLOAD_AUTHORIZATION='Bearer ...'] java -cp build Upload FILE [TYPE]</pre>
 *
 * prints the object's key. Exit codes: 0 stored, 1 refused or failed (the reason is on stderr), 2 wrong usage.
 *
 * <p>In an app, from any thread: {@code Upload.start(endpoint, source, type, context.getMainExecutor(), listener)} (before
 * Android 9: {@code new Handler(Looper.getMainLooper())::post}), and {@code cancel()} on what it gives. For a content:
 * URI, write a {@link Source} on {@code ContentResolver.openInputStream} and {@code OpenableColumns}.
 *
 * <p>As a library: {@code new Upload().put(answer.method, answer.url, answer.headers, source, null)} sends a file by an
 * answer of the function; metadata, storage class and whatever else the URL binds are in {@code headers}. It blocks, so
 * not on the main thread; {@code cancel()} works here too.
 */
public final class Upload {
    private static final int CONNECT_MILLIS = 10_000;
    private static final int ASK_MILLIS = 60_000;
    private static final int SILENT_MILLIS = 300_000; // nothing sent or received; an upload may take as long as it needs
    private static final int MAX_ANSWER_BYTES = 65536;

    private volatile boolean cancelled;
    private volatile HttpURLConnection connection;
    private volatile long moved; // System.nanoTime() when something was sent last

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

    /** What is uploaded. It is opened again when an expired URL is asked for again. */
    public interface Source {
        String name();

        long size() throws IOException;

        InputStream open() throws IOException;
    }

    /** Told while the body is sent, once for every whole percent. */
    public interface Progress {
        void sent(long bytes, long size);
    }

    /** Called on the executor that {@link #start} was given. After {@link #cancel}, {@code failed} says so. */
    public interface Listener extends Progress {
        void stored(String key);

        void failed(IOException reason);
    }

    public static void main(String[] args) throws Exception {
        // A key may be Chinese and the terminal's encoding Latin-1.
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        PrintStream err = new PrintStream(System.err, true, "UTF-8");
        String endpoint = System.getenv("UPLOAD_ENDPOINT");
        if (args.length < 1 || args.length > 2 || args[0].isEmpty() || endpoint == null || endpoint.isEmpty()) {
            err.println("usage: upload FILE [TYPE], with the function's address in UPLOAD_ENDPOINT");
            System.exit(2);
        }
        CountDownLatch end = new CountDownLatch(1);
        int[] code = {1};
        String authorization = System.getenv("UPLOAD_AUTHORIZATION");
        String type = args.length == 2 ? args[1] : "";
        start(endpoint, file(new File(args[0])), type, authorization, Runnable::run, new Listener() {
            @Override
            public void sent(long bytes, long size) {
                if (Boolean.getBoolean("upload.terminal")) { // Java cannot ask whether stderr is one; `run` can
                    show(err, bytes, size);
                }
            }

            @Override
            public void stored(String key) {
                out.println(key);
                code[0] = 0;
                end.countDown();
            }

            @Override
            public void failed(IOException reason) {
                err.println("upload: " + oneLine(reason(reason)));
                end.countDown();
            }
        });
        end.await();
        System.exit(code[0]);
    }

    /** {@link #upload} on a thread of its own; the listener is called on {@code callbacks}. */
    public static Upload start(String endpoint, Source source, String contentType, Executor callbacks, Listener listener) {
        return start(endpoint, source, contentType, null, callbacks, listener);
    }

    /** The same with an {@code Authorization} for the function; null or empty: none. */
    public static Upload start(String endpoint, Source source, String contentType, String authorization,
            Executor callbacks, Listener listener) {
        Upload upload = new Upload();
        new Thread(() -> {
            try {
                String key = upload.upload(endpoint, source, contentType, authorization,
                        (sent, size) -> callbacks.execute(() -> listener.sent(sent, size)));
                callbacks.execute(() -> listener.stored(key));
            } catch (IOException | RuntimeException error) {
                IOException reason = error instanceof IOException ? (IOException) error : new IOException(error);
                callbacks.execute(() -> listener.failed(upload.cancelled ? new IOException("cancelled") : reason));
            }
        }, "upload").start();
        return upload;
    }

    /** Ends what is going on, from any thread; what was sent so far is thrown away by OSS. */
    public void cancel() {
        cancelled = true;
        HttpURLConnection open = connection;
        if (open != null) {
            disconnect(open);
        }
    }

    /** Stores the file and gives its key. An expired URL is asked for again once: uploads may have queued. */
    public String upload(String endpoint, Source source, String contentType, Progress progress) throws IOException {
        return upload(endpoint, source, contentType, null, progress);
    }

    /** The same with an {@code Authorization} for the function; null or empty: none. */
    public String upload(String endpoint, Source source, String contentType, String authorization, Progress progress)
            throws IOException {
        Answer answer = ask(endpoint, source, contentType, authorization);
        try {
            put(answer.method, answer.url, answer.headers, source, progress);
        } catch (Refused refused) {
            if (!refused.expired) {
                throw refused;
            }
            answer = ask(endpoint, source, contentType, authorization);
            put(answer.method, answer.url, answer.headers, source, progress);
        }
        return answer.key;
    }

    /**
     * Asks the function for a URL, and always for a type: Android's HttpURLConnection gives a body without one the type
     * application/x-www-form-urlencoded, and OSS then refuses the signature.
     */
    public Answer ask(String endpoint, Source source, String contentType) throws IOException {
        return ask(endpoint, source, contentType, null);
    }

    /** The same with an {@code Authorization} for the function; null or empty: none. */
    public Answer ask(String endpoint, Source source, String contentType, String authorization) throws IOException {
        String type = contentType.isEmpty() ? "application/octet-stream" : contentType;
        byte[] question = ("{\"filename\":" + quoted(source.name()) + ",\"contentType\":" + quoted(type) + ",\"size\":"
                + source.size() + "}").getBytes(StandardCharsets.UTF_8);
        Map<String, String> json = new LinkedHashMap<>();
        json.put("Content-Type", "application/json");
        if (authorization != null && !authorization.isEmpty()) {
            if (!authorization.matches("[ -~]+")) {
                throw new IOException("the authorization is not printable ASCII");
            }
            json.put("Authorization", authorization);
        }
        Reply reply = send("POST", endpoint, json, question.length, out -> out.write(question), ASK_MILLIS);
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
    public void put(String method, String url, Map<String, String> headers, Source source, Progress progress)
            throws IOException {
        long size = source.size();
        Reply reply = send(method, url, headers, size, out -> {
            try (InputStream in = source.open()) {
                copy(in, out, size, progress);
            }
        }, SILENT_MILLIS);
        if (reply.status != 200) {
            throw refusal(reply);
        }
    }

    private void copy(InputStream in, OutputStream out, long size, Progress progress) throws IOException {
        byte[] chunk = new byte[65536];
        long sent = 0;
        for (int count = in.read(chunk); count > 0 && !cancelled; count = in.read(chunk)) {
            out.write(chunk, 0, count);
            moved = System.nanoTime();
            long before = sent * 100 / size;
            sent += count;
            if (progress != null && sent * 100 / size != before) {
                progress.sent(sent, size);
            }
        }
    }

    /** A file of the file system, told to be unreadable before anybody is asked. */
    public static Source file(File file) {
        return new Source() {
            @Override
            public String name() {
                return file.getName();
            }

            @Override
            public long size() throws IOException {
                if (!file.isFile() || !file.canRead()) {
                    String reason = !file.exists() ? "no such file" : !file.isFile() ? "not a file" : "permission denied";
                    throw new IOException("cannot read " + file + ": " + reason);
                }
                return file.length();
            }

            @Override
            public InputStream open() throws IOException {
                return new FileInputStream(file);
            }
        };
    }

    private static final class Reply {
        final int status;
        final String text;

        Reply(int status, String text) {
            this.status = status;
            this.text = text;
        }
    }

    private interface Writer {
        void write(OutputStream out) throws IOException;
    }

    /**
     * One request and what came back, the body cut at 64 KB. Redirects are answers, not followed. It fails where nothing
     * is sent or received for {@code silence} milliseconds.
     */
    private Reply send(String method, String url, Map<String, String> headers, long size, Writer body, int silence)
            throws IOException {
        if (!url.matches("(?is)https?://[^/].*")) {
            throw new IOException("the address is not http or https");
        }
        HttpURLConnection open = (HttpURLConnection) new URL(url).openConnection();
        if (open.getURL().getPort() > 65535) { // to connect would be an IllegalArgumentException
            throw new IOException("the URL cannot be sent");
        }
        try {
            open.setRequestMethod(method);
            for (Map.Entry<String, String> header : headers.entrySet()) {
                open.setRequestProperty(plain(header.getKey()), plain(header.getValue()));
            }
            if (open.getRequestProperty("Content-Type") == null) {
                throw new IllegalArgumentException("Android would add one");
            }
        } catch (IOException | IllegalArgumentException error) {
            throw new IOException("the method or a header cannot be sent, or there is no Content-Type");
        }
        open.setInstanceFollowRedirects(false);
        open.setConnectTimeout(CONNECT_MILLIS);
        open.setReadTimeout(silence);
        open.setDoOutput(true);
        if (!method.equals("POST")) { // a question may be held in memory: if streamed, the JDK hides a 401's answer
            open.setFixedLengthStreamingMode(size); // else the body is held in memory, or sent chunked
        }
        connection = open;
        moved = System.nanoTime();
        // On a thread of its own: HttpURLConnection has no limit for writing, and to disconnect may wait for what is written.
        FutureTask<Reply> exchange = new FutureTask<>(() -> exchange(open, body));
        Thread thread = new Thread(exchange, "upload-exchange");
        try {
            if (cancelled) {
                throw new IOException("cancelled");
            }
            thread.start();
            return heard(exchange, silence);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted");
        } catch (IOException error) {
            throw new IOException("no answer from " + host(url) + ": " + reason(error));
        } finally {
            connection = null;
            if (!exchange.isDone()) {
                disconnect(open);
            }
        }
    }

    private static Reply exchange(HttpURLConnection open, Writer body) throws IOException {
        try {
            try (OutputStream out = open.getOutputStream()) {
                body.write(out);
            }
            int status = open.getResponseCode();
            try (InputStream answer = status >= 400 ? open.getErrorStream() : open.getInputStream()) {
                return new Reply(status, answer == null ? "" : start(answer));
            }
        } finally {
            open.disconnect();
        }
    }

    /** What came back, unless nothing has moved for {@code silence} milliseconds. */
    private Reply heard(FutureTask<Reply> exchange, int silence) throws IOException, InterruptedException {
        while (true) {
            try {
                return exchange.get(100, TimeUnit.MILLISECONDS);
            } catch (TimeoutException error) {
                if (cancelled) {
                    throw new IOException("cancelled");
                }
                if (System.nanoTime() - moved > silence * 1_000_000L) {
                    throw new IOException("nothing for " + silence / 1000 + " seconds");
                }
            } catch (ExecutionException error) {
                if (error.getCause() instanceof RuntimeException) { // a source's, such as Android's SecurityException
                    throw (RuntimeException) error.getCause();
                }
                throw error.getCause() instanceof IOException ? (IOException) error.getCause() : new IOException(error);
            }
        }
    }

    /** Without waiting: it may take the network, which Android forbids on the main thread. */
    private static void disconnect(HttpURLConnection open) {
        Thread thread = new Thread(open::disconnect, "upload-disconnect");
        thread.setDaemon(true);
        thread.start();
    }

    private static String start(InputStream answer) throws IOException {
        ByteArrayOutputStream start = new ByteArrayOutputStream();
        byte[] chunk = new byte[8192];
        for (int count = answer.read(chunk); count > 0 && start.size() < MAX_ANSWER_BYTES; count = answer.read(chunk)) {
            start.write(chunk, 0, count);
        }
        return new String(start.toByteArray(), StandardCharsets.UTF_8);
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

    /** A reader of JSON, because java.* has none (org.json is Android's own): objects are maps, strings are strings, the rest is null. */
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
            if (object == null || !text.substring(Math.min(json.at, text.length())).trim().isEmpty()) {
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
        boolean plain = !text.isEmpty();
        for (char sign : text.toCharArray()) {
            plain &= !Character.isISOControl(sign);
        }
        if (!plain) {
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
