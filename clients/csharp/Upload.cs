// Upload a file to OSS with a URL from the function. Needs .NET Framework 4.7.1, Mono 6 or any later .NET.
//
//     UPLOAD_ENDPOINT=https://... [UPLOAD_AUTHORIZATION='Bearer ...'] mono Upload.exe FILE [TYPE]
//
// prints the object's key. Exit codes: 0 stored, 1 refused or failed (the reason is on stderr), 2 wrong usage.
//
// As a library: `await Uploader.Put(answer.Method, answer.Url, answer.Headers, path)` sends a file by an answer of the
// function; metadata, storage class and whatever else the URL binds are in `Headers`.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.InteropServices;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;

/// <summary>The function or OSS answered, but not with a yes. Any other IOException: there was no usable answer.</summary>
public sealed class RefusedException : IOException
{
    public int Status { get; }
    public string Code { get; }
    public bool Expired { get; }

    internal RefusedException(int status, string code, string message, bool expired)
        : base(string.IsNullOrEmpty(code) ? $"{status}: {message}" : $"{status} {code}: {message}")
    {
        Status = status;
        Code = code;
        Expired = expired;
    }
}

/// <summary>What the function says to an accepted question.</summary>
[DataContract]
public sealed class Answer
{
    [DataMember(Name = "method")] public string Method { get; set; }
    [DataMember(Name = "url")] public string Url { get; set; }
    [DataMember(Name = "key")] public string Key { get; set; }
    [DataMember(Name = "headers")] public Dictionary<string, string> Headers { get; set; }
}

public static class Uploader
{
    static readonly TimeSpan ConnectTime = TimeSpan.FromSeconds(10);
    static readonly TimeSpan AskTime = TimeSpan.FromSeconds(60);
    static readonly TimeSpan SilentTime = TimeSpan.FromSeconds(300); // an upload may take as long as it needs
    const int MaxAnswerBytes = 65536;

    // HttpClient's own 100 seconds are for the whole upload.
    static readonly HttpClient Client =
        new HttpClient(new HttpClientHandler { AllowAutoRedirect = false, UseCookies = false }) { Timeout = Timeout.InfiniteTimeSpan };

    public static int Main(string[] args)
    {
        var code = Run(args, Environment.GetEnvironmentVariable("UPLOAD_ENDPOINT"));
        // Mono aborts its thread pool in the end, and one run in fifty hangs or crashes over that.
        if (Type.GetType("Mono.Runtime") != null && Environment.OSVersion.Platform == PlatformID.Unix) ExitAtOnce(code);
        return code;
    }

    [DllImport("libc", EntryPoint = "_exit")]
    internal static extern void ExitAtOnce(int code);

    static int Run(string[] args, string endpoint)
    {
        if (args.Length < 1 || args.Length > 2 || args[0] == "" || string.IsNullOrEmpty(endpoint))
        {
            WriteLine(Console.OpenStandardError(), "usage: upload FILE [TYPE], with the function's address in UPLOAD_ENDPOINT");
            return 2;
        }
        try
        {
            var progress = Console.IsErrorRedirected ? null : (Action<long, long>)Show;
            var type = args.Length == 2 ? args[1] : "";
            var authorization = Environment.GetEnvironmentVariable("UPLOAD_AUTHORIZATION");
            var key = Upload(endpoint, args[0], type, progress, authorization).GetAwaiter().GetResult();
            WriteLine(Console.OpenStandardOutput(), key);
            return 0;
        }
        catch (IOException error)
        {
            WriteLine(Console.OpenStandardError(), "upload: " + OneLine(error.Message));
            return 1;
        }
    }

    /// <summary>Stores the file and gives its key. An expired URL is asked for again once: uploads may have queued.</summary>
    public static async Task<string> Upload(string endpoint, string file, string type = "", Action<long, long> progress = null,
        string authorization = "")
    {
        var answer = await Ask(endpoint, file, type, authorization).ConfigureAwait(false);
        try
        {
            await Put(answer.Method, answer.Url, answer.Headers, file, progress).ConfigureAwait(false);
        }
        catch (RefusedException refused) when (refused.Expired)
        {
            answer = await Ask(endpoint, file, type, authorization).ConfigureAwait(false);
            await Put(answer.Method, answer.Url, answer.Headers, file, progress).ConfigureAwait(false);
        }
        return answer.Key;
    }

    /// <summary>Asks the function for a URL.</summary>
    public static async Task<Answer> Ask(string endpoint, string file, string type = "", string authorization = "")
    {
        var question = new Question
        {
            Filename = Path.GetFileName(file),
            ContentType = string.IsNullOrEmpty(type) ? null : type,
            Size = SizeOf(file),
        };
        var json = new MemoryStream();
        new DataContractJsonSerializer(typeof(Question)).WriteObject(json, question);
        var headers = new Dictionary<string, string> { { "Content-Type", "application/json" } };
        if (!string.IsNullOrEmpty(authorization))
        {
            if (!Regex.IsMatch(authorization, @"\A[ -~]+\z")) throw new IOException("the authorization is not printable ASCII");
            headers["Authorization"] = authorization;
        }
        var reply = await Send("POST", endpoint, headers, () => new MemoryStream(json.ToArray()), json.Length, AskTime, null)
            .ConfigureAwait(false);
        if (reply.Status != 200) throw Refusal(reply);
        var answer = ReadJson<Answer>(reply.Text);
        if (answer?.Headers == null || !Plain(answer.Method) || !Plain(answer.Url) || !Plain(answer.Key)
            || !answer.Headers.All(header => Plain(header.Key) && Plain(header.Value)))
            throw new IOException($"{Host(endpoint)} answered something else than an upload: {TextOf(reply.Text)}");
        return answer;
    }

    /// <summary>Sends the file to `url`: streamed, with its length, and with exactly `headers`.</summary>
    public static async Task Put(string method, string url, IReadOnlyDictionary<string, string> headers, string file,
        Action<long, long> progress = null)
    {
        var size = SizeOf(file);
        var reply = await Send(method, url, headers, () => File.OpenRead(file), size, SilentTime, progress).ConfigureAwait(false);
        if (reply.Status != 200) throw Refusal(reply);
    }

    [DataContract]
    sealed class Question
    {
        [DataMember(Name = "filename")] public string Filename { get; set; }
        [DataMember(Name = "contentType", EmitDefaultValue = false)] public string ContentType { get; set; }
        [DataMember(Name = "size")] public long Size { get; set; }
    }

    /// <summary>A body that knows its length (else it is sent chunked) and says that it is being sent.</summary>
    sealed class Body : HttpContent
    {
        readonly Func<Stream> open;
        readonly long size;
        readonly Action<long> sending;

        public Body(Func<Stream> open, long size, Action<long> sending)
        {
            this.open = open;
            this.size = size;
            this.sending = sending;
        }

        protected override bool TryComputeLength(out long length)
        {
            length = size;
            return true;
        }

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext context)
        {
            using (var source = open())
            {
                var chunk = new byte[65536];
                long sent = 0;
                do
                {
                    sending(sent);
                    var wanted = (int)Math.Min(chunk.Length, size - sent); // the file may have grown
                    var count = await source.ReadAsync(chunk, 0, wanted).ConfigureAwait(false);
                    if (count < 1 && sent < size) throw new IOException("the file has become shorter");
                    await stream.WriteAsync(chunk, 0, count).ConfigureAwait(false);
                    sent += count;
                } while (sent < size);
                sending(sent);
            }
        }
    }

    /// <summary>An unreadable file is told before anybody is asked.</summary>
    static long SizeOf(string file)
    {
        try
        {
            if (Directory.Exists(file)) throw new IOException("not a file");
            using (var opened = File.OpenRead(file)) return opened.Length;
        }
        catch (Exception error) when (error is IOException || error is UnauthorizedAccessException || error is ArgumentException)
        {
            var reason = error is FileNotFoundException || error is DirectoryNotFoundException ? "no such file" : error.Message;
            throw new IOException($"cannot read {file}: {reason}");
        }
    }

    struct Reply
    {
        public int Status;
        public string Text;
    }

    /// <summary>One request and what came back, the body cut at 64 KB. Redirects are answers, not followed.</summary>
    static async Task<Reply> Send(string method, string url, IReadOnlyDictionary<string, string> headers, Func<Stream> open,
        long size, TimeSpan silence, Action<long, long> progress)
    {
        if (!Regex.IsMatch(url, "^https?://[^/]", RegexOptions.IgnoreCase)) throw new IOException("the address is not http or https");
        using (var patience = new CancellationTokenSource(ConnectTime)) // renewed when the body is asked for: we are connected
        using (var request = new HttpRequestMessage())
        {
            request.Content = new Body(open, size, sent =>
            {
                patience.CancelAfter(silence);
                if (sent > 0) progress?.Invoke(sent, size);
            });
            try
            {
                request.Method = new HttpMethod(method);
                request.RequestUri = new Uri(url);
            }
            catch (FormatException)
            {
                throw new IOException("the URL or the method cannot be sent");
            }
            foreach (var header in headers)
            {
                if (!Plain(header.Key) || !Plain(header.Value) || !Add(request, header.Key, header.Value))
                    throw new IOException("a header cannot be sent");
            }
            try
            {
                using (var response = await Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, patience.Token)
                           .ConfigureAwait(false))
                using (var answer = await response.Content.ReadAsStreamAsync().ConfigureAwait(false))
                {
                    var start = new byte[MaxAnswerBytes];
                    int length = 0, count = 1;
                    while (count > 0 && length < start.Length)
                    {
                        count = await answer.ReadAsync(start, length, start.Length - length, patience.Token).ConfigureAwait(false);
                        length += count;
                    }
                    return new Reply { Status = (int)response.StatusCode, Text = Encoding.UTF8.GetString(start, 0, length) };
                }
            }
            catch (OperationCanceledException)
            {
                throw new IOException($"no answer from {Host(url)} in time");
            }
            catch (Exception error) when (error is HttpRequestException || error is IOException || error is WebException)
            {
                throw new IOException($"no answer from {Host(url)}: {error.GetBaseException().Message}");
            }
        }
    }

    /// <summary>
    /// Adds a header exactly. Before .NET 5, even a value added "without validation" is parsed and written anew:
    /// `text/html;charset=UTF-8` gets a blank and breaks the signature. So those that have a class bring their own text;
    /// `Content-Encoding` and `Content-Language` have none, and lists in them must be bound in .NET's form, `a, b`.
    /// </summary>
    static bool Add(HttpRequestMessage request, string name, string value)
    {
        switch (name.ToLowerInvariant())
        {
            case "content-type":
                request.Content.Headers.ContentType = new ExactType(value);
                return true;
            case "content-disposition":
                request.Content.Headers.ContentDisposition = new ExactDisposition(value);
                return true;
            case "cache-control":
                request.Headers.CacheControl = new ExactCacheControl(value);
                return true;
            default: // .NET keeps the content's headers and the request's apart, and knows which is which
                return request.Headers.TryAddWithoutValidation(name, value)
                       || request.Content.Headers.TryAddWithoutValidation(name, value);
        }
    }

    sealed class ExactType : MediaTypeHeaderValue
    {
        readonly string text;
        public ExactType(string text) : base("application/octet-stream") { this.text = text; }
        public override string ToString() => text;
    }

    sealed class ExactDisposition : ContentDispositionHeaderValue
    {
        readonly string text;
        public ExactDisposition(string text) : base("attachment") { this.text = text; }
        public override string ToString() => text;
    }

    sealed class ExactCacheControl : CacheControlHeaderValue
    {
        readonly string text;
        public ExactCacheControl(string text) { this.text = text; }
        public override string ToString() => text;
    }

    [DataContract]
    sealed class Problem
    {
        [DataMember(Name = "code")] public string Code { get; set; }
        [DataMember(Name = "detail")] public string Detail { get; set; }
        [DataMember(Name = "title")] public string Title { get; set; }
        [DataMember(Name = "errorType")] public string ErrorType { get; set; }
        [DataMember(Name = "errorMessage")] public string ErrorMessage { get; set; }

        // Function Compute's own words, when it answers for the function.
        [DataMember(Name = "ErrorCode")] public string FcCode { get; set; }
        [DataMember(Name = "ErrorMessage")] public string FcMessage { get; set; }
    }

    /// <summary>
    /// What the function (JSON) or OSS (XML) says against it, or else the beginning of what came. OSS's two elements are
    /// flat: an XML parser would refuse what was cut.
    /// </summary>
    static RefusedException Refusal(Reply reply)
    {
        var said = ReadJson<Problem>(reply.Text);
        if (said != null)
            return new RefusedException(reply.Status, said.Code ?? said.ErrorType ?? said.FcCode,
                said.Detail ?? said.ErrorMessage ?? said.FcMessage ?? said.Title ?? "", false);
        var message = Element("Message", reply.Text);
        var expired = reply.Status == 403 && (message.Contains("has expired") || Element("EC", reply.Text) == "0002-00000236");
        return new RefusedException(reply.Status, Element("Code", reply.Text), message == "" ? TextOf(reply.Text) : message, expired);
    }

    static string Element(string name, string xml) =>
        WebUtility.HtmlDecode(Regex.Match(xml, $"<{name}>([^<]*)</{name}>").Groups[1].Value);

    /// <summary>An object, or null. This serializer is in every .NET; System.Text.Json is not.</summary>
    static T ReadJson<T>(string text) where T : class
    {
        try
        {
            if (!text.TrimStart().StartsWith("{", StringComparison.Ordinal)) return null;
            var settings = new DataContractJsonSerializerSettings { UseSimpleDictionaryFormat = true };
            using (var stream = new MemoryStream(Encoding.UTF8.GetBytes(text)))
                return (T)new DataContractJsonSerializer(typeof(T), settings).ReadObject(stream);
        }
        catch (Exception) // a SerializationException, but for Mono, which lets through what caused it
        {
            return null;
        }
    }

    static bool Plain(string text) => !string.IsNullOrEmpty(text) && !text.Any(char.IsControl);

    static string TextOf(string text)
    {
        var start = OneLine(text.Length > 200 ? text.Substring(0, 200) : text);
        return start == "" ? "an empty answer" : start;
    }

    /// <summary>Whoever answered does not get to move the cursor: control characters become blanks.</summary>
    static string OneLine(string text)
    {
        var line = Regex.Replace(text, @"[\p{Cc} ]+", " ").Trim();
        return line.Length > 1000 ? line.Substring(0, 1000) : line;
    }

    /// <summary>What may be shown of an address: no user, no query.</summary>
    static string Host(string url) => Regex.Match(url, @"//(?:[^/?#]*@)?([^/?#]*)").Groups[1].Value;

    /// <summary>The progress line; it ends at its own beginning, so that whatever comes next replaces it.</summary>
    static void Show(long sent, long size) => Console.Error.Write($"{sent * 100 / size,3} %\r");

    /// <summary>In UTF-8: a key may be Chinese and the terminal's encoding Latin-1.</summary>
    static void WriteLine(Stream stream, string line)
    {
        var bytes = Encoding.UTF8.GetBytes(line + "\n");
        stream.Write(bytes, 0, bytes.Length);
        stream.Flush();
    }
}
