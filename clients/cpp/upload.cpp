// Upload a file to OSS with a URL from the function. Needs C++17 and libcurl 7.42.
//
//     UPLOAD_ENDPOINT=https://... [UPLOAD_AUTHORIZATION='Bearer ...'] ./upload FILE [TYPE]
//
// prints the object's key. Exit codes: 0 stored, 1 refused or failed (the reason is on stderr), 2 wrong usage.
//
// As a library: define UPLOAD_LIBRARY, include this file, and `upload::put(answer.method, answer.url, answer.headers,
// path)` sends a file by an answer of the function; metadata, storage class and whatever else the URL binds are in
// `headers`.

#include <curl/curl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

namespace upload {

constexpr long connect_seconds = 10;
constexpr long ask_seconds = 60;
constexpr long silent_seconds = 300;  // with less than a byte a second; an upload may take as long as it needs
constexpr size_t max_answer_bytes = 65536;

// The function or OSS answered, but not with a yes. Any other std::runtime_error: there was no usable answer.
struct Refused : std::runtime_error {
    long status;
    std::string code;
    bool expired;

    Refused(long status, const std::string& code, const std::string& message, bool expired)
        : std::runtime_error(std::to_string(status) + (code.empty() ? "" : " " + code) + ": " + message),
          status(status), code(code), expired(expired) {}
};

using Headers = std::map<std::string, std::string>;
using Progress = std::function<void(long long sent, long long size)>;

// What the function says to an accepted question.
struct Answer {
    std::string method, url, key;
    Headers headers;
};

std::string upload(const std::string& endpoint, const std::string& file, const std::string& type, const Progress& = {},
                   const std::string& authorization = "");
Answer ask(const std::string& endpoint, const std::string& file, const std::string& type,
           const std::string& authorization = "");
void put(const std::string& method, const std::string& url, const Headers&, const std::string& file, const Progress& = {});
std::string one_line(const std::string& text);
void show(long long sent, long long size);

}  // namespace upload

#ifndef UPLOAD_LIBRARY
int main(int argc, char** argv) {
    const char* endpoint = std::getenv("UPLOAD_ENDPOINT");
    if (argc < 2 || argc > 3 || !*argv[1] || !endpoint || !*endpoint) {
        std::cerr << "usage: upload FILE [TYPE], with the function's address in UPLOAD_ENDPOINT\n";
        return 2;
    }
    try {
        upload::Progress progress;
        if (isatty(STDERR_FILENO)) progress = upload::show;
        const char* authorization = std::getenv("UPLOAD_AUTHORIZATION");
        std::cout << upload::upload(endpoint, argv[1], argc == 3 ? argv[2] : "", progress, authorization ? authorization : "")
                  << "\n";
        return 0;
    } catch (const std::runtime_error& error) {
        std::cerr << "upload: " << upload::one_line(error.what()) << "\n";
        return 1;
    }
}
#endif

namespace upload {

// Stores the file and gives its key. An expired URL is asked for again once: uploads may have queued.
std::string upload(const std::string& endpoint, const std::string& file, const std::string& type, const Progress& progress,
                   const std::string& authorization) {
    Answer answer = ask(endpoint, file, type, authorization);
    try {
        put(answer.method, answer.url, answer.headers, file, progress);
    } catch (const Refused& refused) {
        if (!refused.expired) throw;
        answer = ask(endpoint, file, type, authorization);
        put(answer.method, answer.url, answer.headers, file, progress);
    }
    return answer.key;
}

struct Reply {
    long status = 0;
    std::string text;
};

long long size_of(const std::string& file);
Reply send(const std::string& method, const std::string& url, const Headers&, long limit, const std::function<void(CURL*)>& body);
Refused refusal(const Reply&);
std::map<std::string, std::string> read_json(const std::string& text);
std::string quoted(const std::string& text);
bool plain(const std::string& text);
std::string text_of(const std::string& text);
std::string host(const std::string& url);

// Asks the function for a URL.
Answer ask(const std::string& endpoint, const std::string& file, const std::string& type, const std::string& authorization) {
    const std::string question = "{\"filename\":" + quoted(std::filesystem::path(file).filename().string()) +
                                 (type.empty() ? "" : ",\"contentType\":" + quoted(type)) +
                                 ",\"size\":" + std::to_string(size_of(file)) + "}";
    Headers headers = {{"Content-Type", "application/json"}};
    if (!authorization.empty()) {
        if (std::any_of(authorization.begin(), authorization.end(), [](char c) { return c < ' ' || c > '~'; }))
            throw std::runtime_error("the authorization is not printable ASCII");
        headers["Authorization"] = authorization;
    }
    const Reply reply = send("POST", endpoint, headers, ask_seconds, [&](CURL* curl) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(question.size()));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, question.c_str());
    });
    if (reply.status != 200) throw refusal(reply);
    auto said = read_json(reply.text);
    Answer answer{said["method"], said["url"], said["key"], {}};
    bool understood = plain(answer.method) && plain(answer.url) && plain(answer.key) && said["headers"] == "{";
    for (const auto& [name, value] : said) {
        if (name.rfind("headers.", 0) != 0) continue;
        answer.headers[name.substr(8)] = value;
        understood = understood && plain(name) && plain(value);
    }
    if (!understood)
        throw std::runtime_error(host(endpoint) + " answered something else than an upload: " + text_of(reply.text));
    return answer;
}

struct Body {
    std::FILE* file;
    long long sent, size;
    const Progress& progress;
};

size_t read_body(char* chunk, size_t size, size_t count, void* pointer) {
    Body& body = *static_cast<Body*>(pointer);
    const size_t bytes = std::fread(chunk, size, count, body.file);
    // libcurl would wait for an answer that the other side owes only to the whole body.
    if (bytes == 0 && body.sent < body.size) return CURL_READFUNC_ABORT;
    body.sent += static_cast<long long>(bytes);
    if (body.progress && bytes > 0) body.progress(body.sent, body.size);
    return bytes;
}

// libcurl starts over where a kept connection turns out to be closed.
int rewind_body(void* pointer, curl_off_t offset, int origin) {
    Body& body = *static_cast<Body*>(pointer);
    body.sent = offset;
    return fseeko(body.file, offset, origin) == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

// Sends the file to `url`: streamed, with its length, and with exactly `headers`.
void put(const std::string& method, const std::string& url, const Headers& headers, const std::string& file,
         const Progress& progress) {
    const long long size = size_of(file);
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> opened(std::fopen(file.c_str(), "rb"), std::fclose);
    if (!opened) throw std::runtime_error("cannot read " + file);
    Body body{opened.get(), 0, size, progress};
    const Reply reply = send(method, url, headers, 0, [&](CURL* curl) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(size));  // else it is sent chunked
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, read_body);
        curl_easy_setopt(curl, CURLOPT_READDATA, &body);
        curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, rewind_body);
        curl_easy_setopt(curl, CURLOPT_SEEKDATA, &body);
    });
    if (reply.status != 200) throw refusal(reply);
}

// An unreadable file is told before anybody is asked.
long long size_of(const std::string& file) {
    std::error_code error;
    const auto status = std::filesystem::status(file, error);
    if (!std::filesystem::exists(status)) throw std::runtime_error("cannot read " + file + ": no such file");
    if (!std::filesystem::is_regular_file(status)) throw std::runtime_error("cannot read " + file + ": not a file");
    if (access(file.c_str(), R_OK) != 0) throw std::runtime_error("cannot read " + file + ": permission denied");
    return static_cast<long long>(std::filesystem::file_size(file));
}

size_t write_text(char* chunk, size_t size, size_t count, void* pointer) {
    std::string& text = *static_cast<std::string*>(pointer);
    text.append(chunk, std::min(size * count, max_answer_bytes - text.size()));
    return text.size() < max_answer_bytes ? size * count : 0;  // 0 ends the transfer
}

// One request and what came back, the body cut at 64 KB. Redirects are answers: libcurl follows none unless told.
Reply send(const std::string& method, const std::string& url, const Headers& headers, long limit,
           const std::function<void(CURL*)>& body) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    const std::unique_ptr<CURL, void (*)(CURL*)> handle(curl_easy_init(), curl_easy_cleanup);
    if (ready != CURLE_OK || !handle) throw std::runtime_error("libcurl does not start");
    CURL* const curl = handle.get();
    std::string scheme = url.substr(0, url.find("://"));
    std::transform(scheme.begin(), scheme.end(), scheme.begin(), [](unsigned char c) { return std::tolower(c); });
    if ((scheme != "http" && scheme != "https") || host(url).empty())
        throw std::runtime_error("the address is not http or https");

    bool sendable = plain(method) && plain(url);
    curl_slist* lines = nullptr;
    for (const auto& [name, value] : headers) {
        sendable = sendable && plain(name) && plain(value);  // libcurl would send a line break as it is
        lines = curl_slist_append(lines, (name + ": " + value).c_str());
    }
    const std::unique_ptr<curl_slist, void (*)(curl_slist*)> freed(lines, curl_slist_free_all);
    if (!sendable) throw std::runtime_error("the URL or a header cannot be sent");

    Reply reply;
    char reason[CURL_ERROR_SIZE] = "";
    body(curl);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, connect_seconds);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, limit);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, silent_seconds);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, write_text);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.text);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    const CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    if (result != CURLE_OK && reply.text.size() < max_answer_bytes)
        throw std::runtime_error("no answer from " + host(url) + ": " + (*reason ? reason : curl_easy_strerror(result)));
    return reply;
}

std::string element(const std::string& name, const std::string& xml) {
    const size_t open = xml.find("<" + name + ">");
    if (open == std::string::npos) return "";
    const size_t start = open + name.size() + 2, end = xml.find('<', start);
    if (end == std::string::npos || xml.compare(end, name.size() + 3, "</" + name + ">") != 0) return "";
    std::string text = xml.substr(start, end - start);
    static const std::vector<std::pair<std::string, std::string>> signs = {
        {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}, {"&amp;", "&"}};
    for (const auto& [written, sign] : signs)
        for (size_t at = text.find(written); at != std::string::npos; at = text.find(written, at + 1))
            text.replace(at, written.size(), sign);
    return text;
}

// What the function (JSON) or OSS (XML) says against it, or else the beginning of what came. OSS's two elements are
// flat, and C++ has no XML parser.
Refused refusal(const Reply& reply) {
    auto said = read_json(reply.text);
    if (!said.empty()) {
        // Of the function's own names and of those that Function Compute uses when it answers for it.
        const auto first = [&](const std::vector<std::string>& names) {
            for (const auto& name : names)
                if (!said[name].empty()) return said[name];
            return std::string();
        };
        return Refused(reply.status, first({"code", "errorType", "ErrorCode"}), first({"detail", "errorMessage", "ErrorMessage", "title"}), false);
    }
    const std::string message = element("Message", reply.text);
    const bool expired = reply.status == 403 && (message.find("has expired") != std::string::npos ||
                                                 element("EC", reply.text) == "0002-00000236");
    return Refused(reply.status, element("Code", reply.text), message.empty() ? text_of(reply.text) : message, expired);
}

// A reader of JSON, because C++ has none and these answers are not worth a library: an object's strings by name, those of
// an object in it by "name.name"; an object is "{" and any other value a control character. Not an object: std::out_of_range.
class Json {
public:
    std::map<std::string, std::string> found;

    explicit Json(const std::string& text) : text(text) {
        if (next() != '{') throw std::out_of_range("not an object");
        value('{', "", 0);
        if (text.find_first_not_of(" \t\r\n", at) != std::string::npos) throw std::out_of_range("more than one");
    }

private:
    const std::string& text;
    size_t at = 0;

    char next() {
        while (text.at(at) == ' ' || text.at(at) == '\t' || text.at(at) == '\r' || text.at(at) == '\n') at++;
        return text.at(at++);
    }

    void value(char sign, const std::string& path, int depth) {
        if (depth > 32) throw std::out_of_range("too deep");
        std::string text_value = "\1";
        if (sign == '"') {
            text_value = string();
        } else if (sign == '{' || sign == '[') {
            if (sign == '{') text_value = "{";
            members(sign == '{', path.empty() ? "" : path + ".", depth);
        } else {
            const size_t end = std::min(text.find_first_not_of("+-.0123456789eEaflnrstu", at - 1), text.size());
            if (end < at) throw std::out_of_range("no value");
            at = end;
        }
        if (depth == 1 || depth == 2) found[path] = text_value;
    }

    void members(bool named, const std::string& prefix, int depth) {
        const char end = named ? '}' : ']';
        for (char sign = next(); sign != end;) {
            std::string name = "\1";
            if (named) {
                if (sign != '"') throw std::out_of_range("no name");
                name = string();
                if (next() != ':') throw std::out_of_range("no colon");
                sign = next();
            }
            value(sign, prefix + name, depth + 1);
            sign = next();
            if (sign == ',')
                sign = next();
            else if (sign != end)
                throw std::out_of_range("no comma");
        }
    }

    std::string string() {
        static const std::string escapes = "\"\\/bfnrt", signs = "\"\\/\b\f\n\r\t";
        std::string result;
        for (char sign = text.at(at++); sign != '"'; sign = text.at(at++)) {
            if (sign != '\\') {
                result += sign;
            } else if (text.at(at) != 'u') {
                result += signs.at(escapes.find(text.at(at++)));
            } else {
                unsigned long code = unit();
                const size_t after = at;
                if (code >= 0xD800 && code < 0xDC00 && text.compare(at, 2, "\\u") == 0) {
                    at++;
                    const unsigned long low = unit();
                    if (low >= 0xDC00 && low < 0xE000) code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                }
                if (code >= 0xD800 && code < 0xE000) {  // half a pair
                    code = 0xFFFD;
                    at = after;
                }
                append_utf8(result, code);
            }
        }
        return result;
    }

    unsigned long unit() {  // the XXXX of a \uXXXX
        if (text.find_first_not_of("0123456789abcdefABCDEF", at + 1) < at + 5 || text.size() < at + 5)
            throw std::out_of_range("no hex digits");
        const unsigned long code = std::stoul(text.substr(at + 1, 4), nullptr, 16);
        at += 5;
        return code;
    }

    static void append_utf8(std::string& text, unsigned long code) {
        if (code < 0x80) {
            text += static_cast<char>(code);
            return;
        }
        const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        text += static_cast<char>((more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0) | code >> 6 * more);
        for (int i = more - 1; i >= 0; i--) text += static_cast<char>(0x80 | (code >> 6 * i & 0x3F));
    }
};

// Nothing is found in what is not a JSON object.
std::map<std::string, std::string> read_json(const std::string& text) {
    try {
        return Json(text).found;
    } catch (const std::out_of_range&) {
        return {};
    }
}

std::string quoted(const std::string& text) {
    std::string result = "\"";
    for (const unsigned char sign : text) {
        char escape[8] = {'\\', static_cast<char>(sign)};
        if (sign < ' ') std::snprintf(escape, sizeof escape, "\\u%04x", sign);
        if (sign < ' ' || sign == '"' || sign == '\\')
            result += escape;
        else
            result += static_cast<char>(sign);
    }
    return result + "\"";
}

// How many bytes the control character takes that stands there; 0: none does. Those above 127 take two in UTF-8.
size_t control(const std::string& text, size_t at) {
    const unsigned char sign = text[at], next = at + 1 < text.size() ? text[at + 1] : 0;
    return sign < ' ' || sign == 127 ? 1 : sign == 0xC2 && next >= 0x80 && next < 0xA0 ? 2 : 0;
}

bool plain(const std::string& text) {
    for (size_t at = 0; at < text.size(); at++)
        if (control(text, at)) return false;
    return !text.empty();
}

std::string text_of(const std::string& text) {
    const std::string start = one_line(text.substr(0, 200));
    return start.empty() ? "an empty answer" : start;
}

// Whoever answered does not get to move the cursor: control characters become blanks.
std::string one_line(const std::string& text) {
    std::string line;
    for (size_t at = 0, length; at < text.size(); at += std::max<size_t>(length, 1)) {
        length = control(text, at);
        if (!length && text[at] != ' ')
            line += text[at];
        else if (!line.empty() && line.back() != ' ')
            line += ' ';
    }
    return line.substr(0, std::min<size_t>(line.find_last_not_of(' ') + 1, 1000));
}

// What may be shown of an address: no user, no query.
std::string host(const std::string& url) {
    const size_t scheme = url.find("//"), start = scheme == std::string::npos ? 0 : scheme + 2;
    const std::string authority = url.substr(start, url.find_first_of("/?#", start) - start);
    return authority.substr(authority.rfind('@') + 1);
}

// The progress line; it ends at its own beginning, so that whatever comes next replaces it.
void show(long long sent, long long size) {
    std::fprintf(stderr, "%3lld %%\r", sent * 100 / size);
}

}  // namespace upload
