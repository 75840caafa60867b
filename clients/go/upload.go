// Package upload uploads a file to OSS with a URL from the function. It needs Go 1.16 and nothing else.
//
//	UPLOAD_ENDPOINT=https://... [UPLOAD_AUTHORIZATION='Bearer ...'] go run ./cmd/upload FILE [TYPE]
//
// prints the object's key. Exit codes: 0 stored, 1 refused or failed (the reason is on stderr), 2 wrong usage.
//
// As a library: Put(answer.Method, answer.URL, answer.Headers, path, nil) sends a file by an answer of the
// function; metadata, storage class and whatever else the URL binds are in Headers.
package upload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"
)

const (
	connectTime    = 10 * time.Second
	askTime        = 60 * time.Second
	silentTime     = 300 * time.Second // nothing sent or received for so long; an upload may take as long as it needs
	maxAnswerBytes = 65536
)

// Refused says that the function or OSS answered, but not with a yes.
type Refused struct {
	Status        int
	Code, Message string
	Expired       bool
}

func (r *Refused) Error() string {
	if r.Code == "" {
		return fmt.Sprintf("%d: %s", r.Status, r.Message)
	}
	return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Message)
}

// Answer is what the function says to an accepted question.
type Answer struct {
	Method  string
	URL     string
	Headers map[string]string
	Key     string
}

// Option changes the headers of the question to the function.
type Option func(headers map[string]string)

// Authorization goes with the question to the function, and never with the file; "" is none.
func Authorization(value string) Option {
	return func(headers map[string]string) {
		if value != "" {
			headers["Authorization"] = value
		}
	}
}

// Progress is called while the body is sent.
type Progress func(sent, size int64)

// Main is the command: one line on stdout or stderr, and the exit code.
func Main(args []string) int {
	endpoint := os.Getenv("UPLOAD_ENDPOINT")
	if len(args) < 1 || len(args) > 2 || args[0] == "" || endpoint == "" {
		fmt.Fprintln(os.Stderr, "usage: upload FILE [TYPE], with the function's address in UPLOAD_ENDPOINT")
		return 2
	}
	contentType := ""
	if len(args) == 2 {
		contentType = args[1]
	}
	var progress Progress
	if stderr, err := os.Stderr.Stat(); err == nil && stderr.Mode()&os.ModeCharDevice != 0 {
		progress = show
	}
	key, err := Upload(endpoint, args[0], contentType, progress, Authorization(os.Getenv("UPLOAD_AUTHORIZATION")))
	if err != nil {
		fmt.Fprintln(os.Stderr, "upload: "+oneLine(err.Error()))
		return 1
	}
	fmt.Println(key)
	return 0
}

// Upload stores the file and gives its key. An expired URL is asked for again once: uploads may have queued.
func Upload(endpoint, file, contentType string, progress Progress, options ...Option) (string, error) {
	answer, err := Ask(endpoint, file, contentType, options...)
	if err != nil {
		return "", err
	}
	err = Put(answer.Method, answer.URL, answer.Headers, file, progress)
	var refused *Refused
	if errors.As(err, &refused) && refused.Expired {
		if answer, err = Ask(endpoint, file, contentType, options...); err != nil {
			return "", err
		}
		err = Put(answer.Method, answer.URL, answer.Headers, file, progress)
	}
	if err != nil {
		return "", err
	}
	return answer.Key, nil
}

// Ask asks the function for a URL.
func Ask(endpoint, file, contentType string, options ...Option) (*Answer, error) {
	opened, size, err := open(file)
	if err != nil {
		return nil, err
	}
	opened.Close()
	question, err := json.Marshal(struct {
		Filename    string `json:"filename"`
		ContentType string `json:"contentType,omitempty"`
		Size        int64  `json:"size"`
	}{filepath.Base(file), contentType, size})
	if err != nil {
		return nil, err
	}
	headers := map[string]string{"Content-Type": "application/json"}
	for _, option := range options {
		option(headers)
	}
	if !regexp.MustCompile(`^[ -~]*$`).MatchString(headers["Authorization"]) {
		return nil, errors.New("the authorization is not printable ASCII") // net/http's error may quote it
	}
	status, body, err := send("POST", endpoint, headers, bytes.NewReader(question), int64(len(question)), askTime)
	if err != nil {
		return nil, err
	}
	if status != 200 {
		return nil, refusal(status, body)
	}
	var answer Answer
	err = json.Unmarshal(body, &answer)
	values := []string{answer.Method, answer.URL, answer.Key}
	for name, value := range answer.Headers {
		values = append(values, name, value)
	}
	if err != nil || answer.Headers == nil || !plain(values) {
		return nil, fmt.Errorf("%s answered something else than an upload: %s", host(endpoint), textOf(body))
	}
	return &answer, nil
}

// Put sends the file to target: streamed, with its length, and with exactly headers.
func Put(method, target string, headers map[string]string, file string, progress Progress) error {
	opened, size, err := open(file)
	if err != nil {
		return err
	}
	defer opened.Close()
	var sent int64
	reader := io.Reader(opened)
	if progress != nil {
		reader = io.TeeReader(opened, writer(func(chunk []byte) {
			sent += int64(len(chunk))
			progress(sent, size)
		}))
	}
	status, body, err := send(method, target, headers, reader, size, 0)
	if err != nil {
		return err
	}
	if status != 200 {
		return refusal(status, body)
	}
	return nil
}

type writer func([]byte)

func (w writer) Write(chunk []byte) (int, error) {
	w(chunk)
	return len(chunk), nil
}

func open(file string) (*os.File, int64, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read %s: %w", file, errors.Unwrap(err))
	}
	found, err := opened.Stat()
	if err == nil && !found.Mode().IsRegular() {
		err = errors.New("not a file")
	}
	if err != nil {
		opened.Close()
		return nil, 0, fmt.Errorf("cannot read %s: %w", file, err)
	}
	return opened, found.Size(), nil
}

var client = &http.Client{
	Transport:     transport(),
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func transport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	dialer := &net.Dialer{Timeout: connectTime}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return impatient{connection}, nil
	}
	return transport
}

// impatient is a connection that fails when nothing has moved on it for silentTime.
type impatient struct{ net.Conn }

func (c impatient) Read(into []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(silentTime))
	return c.Conn.Read(into)
}

func (c impatient) Write(from []byte) (int, error) {
	c.SetDeadline(time.Now().Add(silentTime)) // who waits for the answer waits on
	return c.Conn.Write(from)
}

// send makes one request and gives what came back, the body cut at 64 KB. Redirects are answers, not followed.
func send(method, target string, headers map[string]string, body io.Reader, size int64, limit time.Duration) (int, []byte, error) {
	if !regexp.MustCompile(`(?i)^https?://[^/]`).MatchString(target) {
		return 0, nil, errors.New("the address is not http or https")
	}
	if size == 0 {
		body = http.NoBody // any other reader with ContentLength 0 is of unknown length, and sent chunked
	}
	request, err := http.NewRequest(method, target, body)
	if err != nil {
		return 0, nil, errors.New("the address or the method cannot be sent")
	}
	request.ContentLength = size // net/http knows it of a bytes.Reader, but not of a file
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	limited := *client
	limited.Timeout = limit
	response, err := limited.Do(request)
	if err != nil {
		// The outer error quotes the whole URL, and that is a secret.
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return 0, nil, fmt.Errorf("no answer from %s: %w", host(target), err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil && response.StatusCode == 200 {
		return 0, nil, fmt.Errorf("no answer from %s: %w", host(target), err)
	}
	return response.StatusCode, answer, nil
}

// refusal gives what the function (JSON) or OSS (XML) says against it, or else the beginning of what came.
// OSS's two elements are flat: an XML parser would refuse what was cut.
func refusal(status int, body []byte) *Refused {
	var said struct{ Code, Detail, Title, ErrorType, ErrorCode, ErrorMessage string }
	if json.Unmarshal(body, &said) == nil {
		return &Refused{Status: status, Code: first(said.Code, said.ErrorType, said.ErrorCode), Message: first(said.Detail, said.ErrorMessage, said.Title)}
	}
	code, message, ec := element("Code", body), element("Message", body), element("EC", body)
	expired := status == 403 && (strings.Contains(message, "has expired") || ec == "0002-00000236")
	return &Refused{Status: status, Code: code, Message: first(message, textOf(body)), Expired: expired}
}

func element(name string, body []byte) string {
	found := regexp.MustCompile("<" + name + ">([^<]*)</" + name + ">").FindSubmatch(body)
	if found == nil {
		return ""
	}
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&amp;", "&").Replace(string(found[1]))
}

func plain(texts []string) bool {
	for _, text := range texts {
		if text == "" || strings.IndexFunc(text, unicode.IsControl) >= 0 {
			return false
		}
	}
	return true
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func textOf(body []byte) string {
	if len(body) > 200 {
		body = body[:200]
	}
	return first(oneLine(string(body)), "an empty answer")
}

// oneLine makes control characters blanks: whoever answered does not get to move the cursor.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == ' ' }), " ")
	if len(text) > 1000 {
		text = text[:1000]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// host gives what may be shown of an address: no user, no query.
func host(address string) string {
	if parsed, err := url.Parse(address); err == nil {
		return parsed.Host
	}
	return "the address"
}

// show is the progress line; it ends at its own beginning, so that whatever comes next replaces it.
func show(sent, size int64) {
	fmt.Fprintf(os.Stderr, "%3d %%\r", sent*100/size)
}
